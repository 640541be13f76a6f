"""What each torch function means in a graph of layers.

One handler for each family of functions. A function that has no handler is remembered as unsupported and
refused only if an output or a neuron depends on it, so that statistics kept on the side do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnax.errors import ConversionError, ShapeError, TrainingModeError
from snnax.interop.snntorch.records import Value

if TYPE_CHECKING:
    from snnax.interop.snntorch.recorder import Recorder

_READS = {
    "bool", "item", "int", "float__", "index", "tolist", "numpy", "array", "nonzero", "is_nonzero", "equal",
    "allclose", "complex", "contains",
}  # fmt: skip
_SHAPE_ONLY = {
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_empty", "new_full", "new_tensor",
}  # fmt: skip
_REMEDIES = {
    "sum": "Return the per-step outputs, as torch.stack(spk_rec), and reduce them outside the network.",
    "mean": "Return the per-step outputs, as torch.stack(spk_rec), and reduce them outside the network.",
    "cat": "Add the branches, or give each its own nn.Linear and add the results.",
    "matmul": "Use nn.Linear.",
    "bernoulli": "Encode the input before the network: net(spikegen.rate(x, num_steps)).",
    "repeat": "Call the layers on the same frame in each step of the loop.",
    "expand": "Call the layers on the same frame in each step of the loop.",
}
_REMEDY = (
    "Between layers, forward may add and subtract signals, scale them by numbers, flatten and reshape, pool, and "
    "index time; move anything else outside the network."
)


@dataclass
class Call:
    """One call of a torch function: its plain name, what it was given and what it returned."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    def bind(self, *names: str) -> dict[str, Any]:
        """Arguments by name, whether they were given by position or by keyword."""
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


def handle(rec: Recorder, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``func`` and record what it did to the tensors that are followed."""
    raw = getattr(func, "__name__", str(func))
    if raw == "__get__":
        raw = getattr(getattr(func, "__self__", None), "__name__", raw)
    name = "float__" if raw == "__float__" else raw.strip("_")
    known = [t for t in _tensors((args, kwargs)) if rec.ledger.find(t)]
    if not known:
        return func(*args, **kwargs)
    if name in _READS:
        raise ConversionError(
            rec.where,
            f"its forward reads the value of a signal with {raw}, so what it computes may depend on the data",
            "Take control flow and .item() out of forward.",
        )
    try:
        result = func(*args, **kwargs)
    except (RuntimeError, IndexError, ValueError) as error:
        shapes = [tuple(t.shape) for t in _tensors((args, kwargs))]
        raise ShapeError(
            f"{name} in the forward of {rec.where!r} was given tensors of shape {shapes}, on which torch fails: "
            f"{error}. Pass a sample of the shape that the network was trained on, with its batch axis."
        ) from error
    call = Call(name.removeprefix("i") if raw.startswith("__i") else name, args, kwargs, result)
    if call.name == "setitem":
        _setitem(rec, call)
        return result
    outputs = list(_tensors(result))
    if not outputs or call.name in _SHAPE_ONLY:
        return result
    in_place = raw.startswith("__i") or (raw.endswith("_") and not raw.endswith("__"))
    in_place = in_place or bool(kwargs.get("inplace")) or "out" in kwargs
    if "out" in kwargs or not HANDLERS.get(call.name, _unsupported)(rec, call):
        _unsupported(rec, call)
    if in_place and call.name != "detach":
        for tensor in outputs:
            rec.ledger.spoil_aliases(tensor, raw, rec.where)
    return result


def _tensors(thing: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from _tensors(part)
    elif isinstance(thing, dict):
        yield from _tensors(list(thing.values()))


def _unsupported(rec: Recorder, call: Call, problem: str = "", remedy: str = "") -> bool:
    """Remember a function that has no equal in a graph of layers."""
    inputs = tuple(v for v in map(rec.ledger.find, _tensors((call.args, call.kwargs))) if v)
    for tensor in _tensors(call.result):
        rec.ledger.emit(
            tensor,
            "unsupported",
            call.name,
            rec.where,
            inputs=inputs,
            problem=problem or f"its forward applies {call.name} to a signal, which has no equal in a graph of layers",
            remedy=remedy or _REMEDIES.get(call.name, _REMEDY),
        )
    return True


def _same(rec: Recorder, call: Call) -> bool:
    """clone, detach, to...: the same signal, as long as its type stays."""
    value = rec.ledger.find(call.args[0])
    if value is None or not isinstance(call.result, Tensor) or call.result.dtype != call.args[0].dtype:
        return False
    rec.ledger.bind(call.result, value)
    return True


def _is_number(rec: Recorder, thing: Any) -> bool:
    """True for Python numbers and constant 0-d tensors that are not parameters of the network."""
    if isinstance(thing, Tensor):
        return thing.ndim == 0 and rec.ledger.find(thing) is None and id(thing) not in rec.owned
    return isinstance(thing, int | float)


def _scaled(rec: Recorder, value: Value, factor: float) -> Value:
    """``factor * value``."""
    if factor == 1.0:
        return value
    op = rec.ledger.add("scale", "scale", rec.where, inputs=(value,), factor=factor)
    return Value(op, "out", value.shape)


def _add(rec: Recorder, call: Call) -> bool:
    """a + b, a - b, with alpha; adding the number 0, as ``sum(list)`` does, changes nothing."""
    given = call.bind("input", "other")
    a, b = (given["other"], given["input"]) if call.name.startswith("r") else (given["input"], given["other"])
    sign = (-1.0 if call.name.endswith("sub") else 1.0) * float(given.get("alpha", 1))
    if _is_number(rec, b) and float(b) == 0.0:
        return _same(rec, Call(call.name, (a,), {}, call.result))
    if _is_number(rec, a) and float(a) == 0.0:
        rec.ledger.bind(call.result, _scaled(rec, rec.signal(b, ""), sign))
        return True
    if _is_number(rec, a) or _is_number(rec, b):
        return _unsupported(
            rec, call, "its forward adds a number to a signal", "Put it into the bias of the layer before."
        )
    if a.shape != b.shape:
        return _unsupported(
            rec,
            call,
            f"its forward adds tensors of shapes {tuple(a.shape)} and {tuple(b.shape)}, where one is broadcast",
            "Make both branches the same shape; use a layer's bias for a constant per channel.",
        )
    left, right = (rec.signal(t, f"a term of {call.name}") for t in (a, b))
    rec.ledger.emit(call.result, "add", "add", rec.where, inputs=(left, _scaled(rec, right, sign)))
    return True


def _scale(rec: Recorder, call: Call) -> bool:
    """Multiplication and division by a number."""
    given = call.bind("input", "other")
    a, b = given["input"], given["other"]
    divide = call.name.endswith("div") or call.name == "divide"
    if given.get("rounding_mode") is not None or (call.name == "rdiv"):
        return False
    if _is_number(rec, a):
        a, b = b, a
    if not _is_number(rec, b):
        return _unsupported(
            rec,
            call,
            f"its forward multiplies two tensors ({call.name})",
            "Scale by a Python number, or put the factors into a layer's weights.",
        )
    rec.ledger.bind(call.result, _scaled(rec, rec.signal(a, ""), 1.0 / float(b) if divide else float(b)))
    return True


def _negate(rec: Recorder, call: Call) -> bool:
    rec.ledger.bind(call.result, _scaled(rec, rec.signal(call.args[0], ""), -1.0))
    return True


def _reshape(rec: Recorder, call: Call) -> bool:
    """flatten, view, squeeze...; what it does to time and batch is decided once the loop is known."""
    given = call.bind("input", "a", "b")
    hint = ""
    if call.name == "flatten" and given.get("a", given.get("start_dim", 0)) == 0:
        hint = "merge" if given.get("b", given.get("end_dim", -1)) == 1 else ""
    elif call.name in ("squeeze", "unsqueeze") and given.get("a", given.get("dim")) == 0:
        hint = call.name
    name = call.name if call.name in ("flatten", "unflatten") else "reshape"
    rec.ledger.emit(call.result, "reshape", name, rec.where, inputs=(rec.signal(call.args[0], ""),), hint=hint)
    return True


def _transpose(rec: Recorder, call: Call) -> bool:
    """Only time and batch may change places."""
    x = call.args[0]
    dims = [d for a in call.args[1:] for d in (a if isinstance(a, list | tuple) else [a])]
    dims = [d % x.ndim for d in dims if isinstance(d, int)]
    order = list(range(x.ndim))
    if call.name == "permute":
        order = dims
    elif len(dims) == 2:
        order[dims[0]], order[dims[1]] = order[dims[1]], order[dims[0]]
    if order == list(range(x.ndim)) and dims:
        return _same(rec, call)
    if order != [1, 0, *range(2, x.ndim)]:
        return False
    rec.ledger.emit(call.result, "transpose", call.name, rec.where, inputs=(rec.signal(x, ""),))
    return True


def _take(rec: Recorder, tensor: Tensor, source: Tensor, axis: int, position: int, kind: Any = "index") -> None:
    """``tensor`` is ``source`` at one position of one axis."""
    value = rec.signal(source, "")
    if kind == "index" and axis > 0 and source.shape[axis] == 1:
        rec.ledger.emit(tensor, "reshape", "reshape", rec.where, inputs=(value,))
        return
    position %= source.shape[axis]
    rec.ledger.emit(tensor, kind, "indexing", rec.where, inputs=(value,), axis=axis, position=position)


def _getitem(rec: Recorder, call: Call) -> bool:
    """x[t], x[t, ...], x[:, t], x[t:t+1]."""
    x, key = call.args
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(k is None or isinstance(k, bool | Tensor) and getattr(k, "ndim", 1) for k in keys):
        return False
    if Ellipsis in [k for k in keys if not isinstance(k, Tensor)]:
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.ndim - len(keys) + 1)
    picked = [(axis, k) for axis, k in enumerate(keys) if not (isinstance(k, slice) and _is_whole(k, x.shape[axis]))]
    if not picked:
        return _same(rec, call)
    (axis, k), *more = picked
    if more:
        return False
    if not isinstance(k, slice):
        _take(rec, call.result, x, axis, int(k))
        return True
    start, stop, _ = k.indices(x.shape[axis])
    if stop - start != 1:
        return False
    _take(rec, call.result, x, axis, start, "slice")
    return True


def _is_whole(key: slice, size: int) -> bool:
    return key.indices(size) == (0, size, 1)


def _select(rec: Recorder, call: Call) -> bool:
    given = call.bind("input", "dim", "index")
    axis = given["dim"] % given["input"].ndim
    _take(rec, call.result, given["input"], axis, given["index"])
    return True


def _unbind(rec: Recorder, call: Call) -> bool:
    """unbind and iteration; split and chunk into single steps."""
    given = call.bind("input", "dim" if call.name == "unbind" else "size", "dim")
    axis = given.get("dim", 0) % given["input"].ndim
    whole = len(call.result) == given["input"].shape[axis]
    for position, part in enumerate(call.result):
        if call.name == "unbind":
            _take(rec, part, given["input"], axis, position)
        elif whole:
            _take(rec, part, given["input"], axis, position, "slice")
    return whole


def _join(rec: Recorder, call: Call) -> bool:
    """stack and cat of per-step results along time."""
    given = call.bind("tensors", "dim")
    tensors = list(given["tensors"])
    kind: Any = "stack" if call.name == "stack" else "cat"
    axis = given.get("dim", given.get("axis", 0)) % call.result.ndim
    if axis > 1 or (kind == "cat" and axis == 1):
        return False
    if kind == "cat":
        tensors = [t for t in tensors if t.numel() or rec.ledger.find(t)]
    inputs = tuple(rec.signal(t, f"an entry of {call.name}") for t in tensors)
    rec.ledger.emit(call.result, kind, call.name, rec.where, inputs=inputs, axis=axis)
    return True


def _setitem(rec: Recorder, call: Call) -> None:
    """rec[t] = spk, which builds a stack in a tensor made before the loop."""
    target, key, part = call.args
    key = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    old = rec.ledger.find(target)
    items = old.op.inputs if old is not None and old.op.kind == "stack" else ()
    fits = isinstance(key, int) and key == len(items) and (old is None or items) and isinstance(part, Tensor)
    if fits and target.shape[1:] == part.shape:
        inputs = (*items, rec.signal(part, "an entry of a result"))
        rec.ledger.emit(target, "stack", "stack", rec.where, inputs=inputs)
    else:
        _unsupported(rec, Call("assignment to an index", call.args, {}, target))


def _dropout(rec: Recorder, call: Call) -> bool:
    given = call.bind("input", "p", "training", "inplace")
    if given.get("training", given.get("train", True)) and given.get("p", 0.5) > 0:
        raise TrainingModeError(
            rec.where,
            f"its forward calls {call.name} with training=True",
            "Write F.dropout(x, p, training=self.training) and call net.eval() first.",
        )
    return _same(rec, call)


def _module(rec: Recorder, call: Call, module: nn.Module) -> bool:
    """A functional layer, as the module that computes the same."""
    value = rec.signal(call.args[0], "")
    rec.ledger.emit(call.result, "module", call.name, rec.where, inputs=(value,), module=module)
    return True


_POOLS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "avg_pool1d": (nn.AvgPool1d, ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")),
    "avg_pool2d": (
        nn.AvgPool2d,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    "max_pool1d": (nn.MaxPool1d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    "max_pool2d": (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    "lp_pool1d": (nn.LPPool1d, ("norm_type", "kernel_size", "stride", "ceil_mode")),
    "lp_pool2d": (nn.LPPool2d, ("norm_type", "kernel_size", "stride", "ceil_mode")),
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d, ("output_size",)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
}
