"""What each torch function means in a graph of layers.

A function that has no handler is remembered as unsupported and refused only if an output or a neuron
depends on it, so that statistics kept on the side do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from snnax.errors import ConversionError, ShapeError, TrainingModeError
from snnax.interop.torch.frames import HOOK
from snnax.interop.torch.held import held
from snnax.interop.torch.records import Value, place

if TYPE_CHECKING:
    from snnax.interop.torch.recorder import Recorder


# --- A call of a torch function on tensors that are followed, and the answers that fit any function

_OUTSIDE = "Return the per-step outputs, as torch.stack(spk_rec), and reduce them outside the network."
_FRAME = "Encode the input before the network, or call the layers on the same frame in each step."
_REMEDIES = {
    "sum": _OUTSIDE,
    "mean": _OUTSIDE,
    "cat": "Give each branch its own nn.Linear and add the results.",
    "matmul": "Use nn.Linear.",
    "linear": "Use parameters of the network as they are: F.linear(x, self.weight, self.bias).",
    "conv1d": "Use parameters of the network as they are: F.conv1d(x, self.weight, self.bias).",
    "conv2d": "Use parameters of the network as they are: F.conv2d(x, self.weight, self.bias).",
    "getitem": "Only time may be indexed, x[t] of x[T, B, ...]; select channels outside the network.",
    "bernoulli": "Encode the input before the network: net(spikegen.rate(x, num_steps)).",
    "repeat": _FRAME,
    "expand": _FRAME,
}
_REMEDY = (
    "Between layers, forward may add and subtract signals, scale them by numbers, flatten and reshape, "
    "pool, and index time; move anything else outside the network."
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
        given = {**dict(zip(names, self.args, strict=False)), **self.kwargs}
        if "self" in given:
            given[names[0]] = given.pop("self")
        return given


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from tensors_in(part)
    elif isinstance(thing, dict):
        yield from tensors_in(list(thing.values()))


def unsupported(rec: Recorder, call: Call, problem: str = "", remedy: str = "") -> bool:
    """Remember a call that has no equal in a graph of layers; it is refused if anything depends on it."""
    inputs = tuple(v for v in map(rec.ledger.find, tensors_in((call.args, call.kwargs))) if v)
    problem = problem or f"its forward applies {call.name} in a way that has no equal in a graph of layers"
    remedy = remedy or _REMEDIES.get(call.name, _REMEDY)
    for tensor in tensors_in(call.result):
        rec.ledger.emit(
            tensor, "unsupported", call.name, rec.where, inputs=inputs, problem=problem, remedy=remedy
        )
    return True


def same(rec: Recorder, call: Call) -> bool:
    """clone, detach, to...: the same signal, as long as its type stays."""
    source = call.args[0]
    value = rec.ledger.find(source)
    if value is None or not isinstance(call.result, Tensor) or call.result.dtype != source.dtype:
        return False
    rec.ledger.bind(call.result, value)
    return True


# --- Functional layers (``F.avg_pool2d``, ``F.linear``...) as the modules that compute the same ---

_POOL = ("kernel_size", "stride", "padding")
_LP_POOL = ("norm_type", "kernel_size", "stride", "ceil_mode")
POOLS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "avg_pool1d": (nn.AvgPool1d, (*_POOL, "ceil_mode", "count_include_pad")),
    "avg_pool2d": (nn.AvgPool2d, (*_POOL, "ceil_mode", "count_include_pad", "divisor_override")),
    "max_pool1d": (nn.MaxPool1d, (*_POOL, "dilation", "ceil_mode")),
    "max_pool2d": (nn.MaxPool2d, (*_POOL, "dilation", "ceil_mode")),
    "lp_pool1d": (nn.LPPool1d, _LP_POOL),
    "lp_pool2d": (nn.LPPool2d, _LP_POOL),
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d, ("output_size",)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
}


def _emit(rec: Recorder, call: Call, module: nn.Module, x: Tensor, values: Any = None) -> bool:
    value = rec.signal(x, f"the input of {call.name}")
    rec.ledger.emit(
        call.result, "module", call.name, rec.where, inputs=(value,), module=module.eval(), hint="functional",
        held=held(module, values=values),
    )  # fmt: skip
    return True


def pool(rec: Recorder, call: Call) -> bool:
    """All pooling functions."""
    cls, names = POOLS[call.name]
    given = call.bind("input", *names)
    if given.pop("return_indices", False):
        return False
    x = given.pop("input")
    if x.ndim != (3 if call.name.endswith("1d") else 4):
        return False
    return _emit(rec, call, cls(**given), x)


def dropout(rec: Recorder, call: Call) -> bool:
    """Nothing in evaluation mode; refused in training."""
    given = call.bind("input", "p", "training", "inplace")
    if given.get("training", given.get("train", True)) and given.get("p", 0.5) > 0:
        raise TrainingModeError(
            rec.where,
            f"its forward calls {call.name} with training=True",
            "Write F.dropout(x, p, training=self.training) and call net.eval() first.",
        )
    return same(rec, Call(call.name, (given["input"],), {}, call.result))


def _with_tensors(
    rec: Recorder, call: Call, module: nn.Module, given: dict[str, Any], names: tuple[str, ...]
) -> bool:
    """Let ``module`` hold the network's own parameters and buffers; refused if one of them is computed."""
    values = {}
    for name in names:
        tensor = given.get(name)
        own = None if tensor is None else rec.owned.get(id(tensor))
        if tensor is not None and (own is None or rec.ledger.find(tensor) is not None):
            return unsupported(rec, call, f"its forward computes the {name} that it calls {call.name} with")
        if name in module._buffers:
            module._buffers[name] = own
        else:
            if own is not None and not isinstance(own, nn.Parameter):
                own = nn.Parameter(own, requires_grad=False)
            module._parameters[name] = own
        if tensor is not None:
            values[name] = tensor
    return _emit(rec, call, module, given["input"], values)


def linear(rec: Recorder, call: Call) -> bool:
    """F.linear with parameters of the network."""
    given = call.bind("input", "weight", "bias")
    features_out, features_in = given["weight"].shape
    module = nn.Linear(features_in, features_out, device="meta")
    return _with_tensors(rec, call, module, given, ("weight", "bias"))


def conv(rec: Recorder, call: Call) -> bool:
    """F.conv1d and F.conv2d with parameters of the network."""
    given = call.bind("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    weight = given["weight"]
    cls: Any = nn.Conv1d if call.name == "conv1d" else nn.Conv2d
    if given["input"].ndim != weight.ndim:
        return False
    options = {k: given[k] for k in ("stride", "padding", "dilation", "groups") if k in given}
    channels = weight.shape[1] * options.get("groups", 1)
    module = cls(channels, weight.shape[0], tuple(weight.shape[2:]), device="meta", **options)
    return _with_tensors(rec, call, module, given, ("weight", "bias"))


def batch_norm(rec: Recorder, call: Call) -> bool:
    """F.batch_norm in evaluation mode."""
    given = call.bind("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    if given.get("training", False):
        raise TrainingModeError(
            rec.where,
            "its forward calls batch_norm with training=True",
            "Write F.batch_norm(..., training=self.training) and call net.eval() first.",
        )
    x = given["input"]
    if given.get("running_mean") is None or x.ndim not in (2, 3, 4):
        return False
    cls = nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d
    module = cls(x.shape[1], eps=given.get("eps", 1e-5), device="meta")
    return _with_tensors(rec, call, module, given, ("running_mean", "running_var", "weight", "bias"))


# --- Torch functions that move entries about: reshaping, indexing and joining ---------------------
# They are recorded as they are; which axis is time is known only once the whole call has been seen.


def reshape(rec: Recorder, call: Call) -> bool:
    """Flatten, view, squeeze..."""
    given = call.bind("input", "a", "b")
    if call.result.dtype != given["input"].dtype:
        return False
    hint = ""
    if call.name == "flatten" and given.get("a", given.get("start_dim", 0)) == 0:
        hint = "merge" if given.get("b", given.get("end_dim", -1)) == 1 else ""
    elif call.name in ("squeeze", "unsqueeze") and given.get("a", given.get("dim")) == 0:
        hint = call.name
    rec.ledger.emit(
        call.result, "reshape", "reshape", rec.where, inputs=(rec.signal(given["input"], ""),), hint=hint
    )
    return True


def transpose(rec: Recorder, call: Call) -> bool:
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
        return same(rec, call)
    if order != [1, 0, *range(2, x.ndim)]:
        return False
    rec.ledger.emit(call.result, "transpose", call.name, rec.where, inputs=(rec.signal(x, ""),))
    return True


def getitem(rec: Recorder, call: Call) -> bool:
    """``x[t]``, ``x[t, ...]``, ``x[:, t]``, ``x[t:t+1]``, ``x[None]``."""
    x, key = call.args
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(isinstance(k, bool | list | Tensor) for k in keys):
        return False
    if None in keys:
        if any(k is not None and k is not Ellipsis and k != slice(None) for k in keys):
            return False
        hint = "unsqueeze" if keys[0] is None else ""
        value = rec.signal(x, "")
        rec.ledger.emit(call.result, "reshape", "reshape", rec.where, inputs=(value,), hint=hint)
        return True
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.ndim - len(keys) + 1)
    whole = [isinstance(k, slice) and k.indices(n) == (0, n, 1) for k, n in zip(keys, x.shape, strict=False)]
    picked = [(axis, k) for axis, k in enumerate(keys) if not whole[axis]]
    if not picked:
        return same(rec, call)
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


def select(rec: Recorder, call: Call) -> bool:
    """``x.select(0, t)``."""
    given = call.bind("input", "dim", "index")
    axis = given["dim"] % given["input"].ndim
    _take(rec, call.result, given["input"], axis, given["index"])
    return True


def unbind(rec: Recorder, call: Call) -> bool:
    """Iteration over the first axis is an unbind too."""
    given = call.bind("input", "dim")
    axis = given.get("dim", 0) % given["input"].ndim
    for position, part in enumerate(call.result):
        _take(rec, part, given["input"], axis, position)
    return True


def split(rec: Recorder, call: Call) -> bool:
    """Split and chunk into single steps."""
    given = call.bind("input", "size", "dim")
    axis = given.get("dim", 0) % given["input"].ndim
    if len(call.result) != given["input"].shape[axis]:
        return False
    for position, part in enumerate(call.result):
        _take(rec, part, given["input"], axis, position, "slice")
    return True


def _take(
    rec: Recorder,
    tensor: Tensor,
    source: Tensor,
    axis: int,
    position: int,
    kind: Literal["index", "slice"] = "index",
) -> None:
    """``tensor`` is ``source`` at one position of one axis; dropping an inner axis of size 1 is a reshape."""
    value = rec.signal(source, "")
    if kind == "index" and axis > 0 and source.shape[axis] == 1:
        rec.ledger.emit(tensor, "reshape", "reshape", rec.where, inputs=(value,))
        return
    position %= source.shape[axis]
    rec.ledger.emit(tensor, kind, "indexing", rec.where, inputs=(value,), axis=axis, position=position)


def join(rec: Recorder, call: Call) -> bool:
    """Stack and cat of per-step results along time."""
    given = call.bind("tensors", "dim")
    tensors = list(given["tensors"])
    kind: Literal["stack", "cat"] = "stack" if call.name == "stack" else "cat"
    axis = given.get("dim", given.get("axis", 0)) % call.result.ndim
    if axis > 1 or (kind == "cat" and axis == 1):
        return False
    if kind == "cat":
        tensors = [t for t in tensors if t.numel() or rec.ledger.find(t)]
    inputs = tuple(rec.signal(t, f"an entry of {call.name}") for t in tensors)
    rec.ledger.emit(call.result, kind, call.name, rec.where, inputs=inputs, axis=axis)
    return True


def setitem(rec: Recorder, call: Call) -> None:
    """``rec[t] = spk``, which builds a stack in a tensor that was made before the loop."""
    target, key, part = call.args
    key = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    old = rec.ledger.find(target)
    items = old.op.inputs if old is not None and old.op.kind == "stack" else ()
    fits = isinstance(key, int) and key == len(items) and (old is None or bool(items))
    if fits and isinstance(part, Tensor) and target.shape[1:] == part.shape:
        inputs = (*items, rec.signal(part, "an entry of a result"))
        rec.ledger.emit(target, "stack", "stack", rec.where, inputs=inputs)
    else:
        unsupported(rec, Call("assignment to an index", call.args, {}, target))
    rec.ledger.spoil_aliases(target, "assignment to an index", rec.where)


Handler = Callable[["Recorder", Call], bool]

_READS = {
    "__bool__", "__int__", "__float__", "__index__", "__complex__", "__array__", "__contains__",
    "item", "tolist", "numpy", "nonzero", "is_nonzero", "equal", "allclose",
}  # fmt: skip
_ZEROS = {"zeros", "zeros_like", "new_zeros"}
_SHAPE_ONLY = {
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor",
}  # fmt: skip


def handle(rec: Recorder, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``func`` and record what it did to the tensors that are followed."""
    raw = getattr(func, "__name__", str(func))
    if raw == "__get__":
        raw = getattr(getattr(func, "__self__", None), "__name__", raw)
    if not any(rec.ledger.find(t) for t in tensors_in((args, kwargs))):
        result = func(*args, **kwargs)
        if raw in _ZEROS:
            rec.zeros[id(result)] = result
        return result
    if raw in _READS:
        rec.refuse(
            ConversionError(
                rec.where,
                f"its forward reads the value of a signal with {raw}, so that it may depend on the data",
                "Take control flow and .item() out of forward.",
            )
        )
        return func(*args, **kwargs)
    for tensor in tensors_in((args, kwargs)):
        if id(tensor) in rec.zeros and bool(tensor.any()):
            del rec.zeros[id(tensor)]
    result = _run(rec, raw, func, args, kwargs)
    if raw in _ZEROS:
        rec.zeros[id(result)] = result
    call = Call(raw.strip("_"), args, kwargs, result)
    if raw == "__setitem__":
        setitem(rec, call)
        return result
    outputs = list(tensors_in(result))
    if not outputs or raw in _SHAPE_ONLY:
        return result
    handler = HANDLERS.get(call.name)
    if raw == "batch_norm" and func is not functional.batch_norm:
        handler = None
    if handler is None or "out" in kwargs or not handler(rec, call):
        unsupported(rec, call)
    in_place = raw.endswith("_") and not raw.endswith("__") and call.name not in ("detach", "requires_grad")
    if in_place or kwargs.get("inplace") or "out" in kwargs:
        for tensor in outputs:
            rec.ledger.spoil_aliases(tensor, raw, rec.where)
    return result


def _run(rec: Recorder, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run ``func``; where torch fails, say in whose forward and on which shapes."""
    if func is Tensor.register_hook:
        raise ConversionError(rec.where, *HOOK, place())
    try:
        return func(*args, **kwargs)
    except (RuntimeError, IndexError, ValueError) as error:
        values = [rec.ledger.find(t) for t in tensors_in((args, kwargs)) if not t.numel()]
        for value in values:
            if value is not None and value.op.kind == "arg":
                raise ConversionError(
                    rec.where,
                    f"its forward uses the argument {value.op.name!r}, which the sample does not hold",
                    "Pass sample=(x, ...) with all positional arguments.",
                ) from error
        given = ", ".join(str(tuple(t.shape)) for t in tensors_in((args, kwargs)))
        raise ShapeError(
            f"{name} in forward of {rec.where!r} was given tensors of shape {given}, on which torch fails: "
            f"{error}. Pass a sample of the shape that the network was trained on, with its batch axis."
        ) from error


def _is_number(rec: Recorder, thing: Any) -> bool:
    """True for numbers, and for 0-d tensors that the network holds and does not train."""
    if isinstance(thing, Tensor):
        return thing.ndim == 0 and id(thing) in rec.constants and rec.ledger.find(thing) is None
    return isinstance(thing, Real)


def _is_zero(rec: Recorder, thing: Any, beside: Any) -> bool:
    """True for the number 0, and for a tensor that forward made of zeros, of the shape of the signal beside it."""
    if id(thing) in rec.zeros and rec.ledger.find(thing) is None:
        return isinstance(beside, Tensor) and thing.shape == beside.shape
    return _is_number(rec, thing) and float(thing) == 0.0


def _scaled(rec: Recorder, value: Value, factor: float) -> Value:
    """``factor * value``."""
    if factor == 1.0:
        return value
    op = rec.ledger.add("scale", "scale", rec.where, inputs=(value,), shape=value.shape, factor=factor)
    return Value(op, "out", value.shape)


def _add(rec: Recorder, call: Call) -> bool:
    """``a + b``, ``a - b``, with alpha; adding the number 0, as ``sum(list)`` does, changes nothing."""
    given = call.bind("input", "other")
    a, b = given["input"], given["other"]
    if call.name.startswith("r"):
        a, b = b, a
    sign = (-1.0 if call.name in ("sub", "subtract", "rsub") else 1.0) * float(given.get("alpha", 1))
    if _is_zero(rec, b, a):
        return same(rec, Call(call.name, (a,), {}, call.result))
    if _is_zero(rec, a, b):
        rec.ledger.bind(call.result, _scaled(rec, rec.signal(b, "a term"), sign))
        return True
    if _is_number(rec, a) or _is_number(rec, b):
        problem = "its forward adds a number to a signal"
        return unsupported(rec, call, problem, "Put it into the bias of the layer before.")
    if a.shape != b.shape:
        problem = f"its forward adds shapes {tuple(a.shape)} and {tuple(b.shape)}, one of them broadcast"
        remedy = "Make both branches the same shape; a layer's bias gives a constant per channel."
        return unsupported(rec, call, problem, remedy)
    left, right = (rec.signal(t, f"a term of {call.name}") for t in (a, b))
    rec.ledger.emit(call.result, "add", "add", rec.where, inputs=(left, _scaled(rec, right, sign)))
    return True


def _scale(rec: Recorder, call: Call) -> bool:
    """Multiplication and division by a number."""
    given = call.bind("input", "other")
    a, b = given["input"], given["other"]
    divide = call.name not in ("mul", "multiply", "rmul")
    if given.get("rounding_mode") is not None:
        return False
    if _is_number(rec, a) and not divide:
        a, b = b, a
    if not _is_number(rec, b):
        problem = f"its forward combines two tensors with {call.name}"
        remedy = "Scale by a Python number, or put the factors into the weights of a layer."
        return unsupported(rec, call, problem, remedy)
    factor = 1.0 / float(b) if divide else float(b)
    rec.ledger.bind(call.result, _scaled(rec, rec.signal(a, "a factor"), factor))
    return True


def _negate(rec: Recorder, call: Call) -> bool:
    rec.ledger.bind(call.result, _scaled(rec, rec.signal(call.args[0], "a term"), -1.0))
    return True


_SAME = (
    "contiguous", "clone", "detach", "positive", "data", "requires_grad", "alias",
    "to", "type", "type_as", "float", "double", "half", "cpu", "cuda",
)  # fmt: skip
HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("add", "radd", "sub", "rsub", "subtract"), _add),
    **dict.fromkeys(("mul", "rmul", "multiply", "div", "truediv", "divide", "true_divide"), _scale),
    **dict.fromkeys(("neg", "negative"), _negate),
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(("flatten", "ravel", "unflatten", "view", "view_as"), reshape),
    **dict.fromkeys(("reshape", "reshape_as", "squeeze", "unsqueeze"), reshape),
    **dict.fromkeys(("transpose", "permute", "swapaxes", "swapdims"), transpose),
    **dict.fromkeys(("split", "chunk"), split),
    **dict.fromkeys(("stack", "cat", "concat", "concatenate"), join),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "alpha_dropout"), dropout),
    **dict.fromkeys(("feature_dropout", "feature_alpha_dropout"), dropout),
    **dict.fromkeys(("conv1d", "conv2d"), conv),
    **dict.fromkeys(POOLS, pool),
    "getitem": getitem,
    "select": select,
    "unbind": unbind,
    "linear": linear,
    "batch_norm": batch_norm,
}
