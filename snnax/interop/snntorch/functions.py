"""What each torch function means in a graph of layers.

A function that has no handler is remembered as unsupported and refused only if an output or a neuron
depends on it, so that statistics kept on the side do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional

from snnax.errors import ConversionError, ShapeError
from snnax.interop.snntorch import function_layers as layers
from snnax.interop.snntorch import function_shapes as shapes
from snnax.interop.snntorch.function_calls import Call, same, tensors_in, unsupported
from snnax.interop.snntorch.records import Value

if TYPE_CHECKING:
    from snnax.interop.snntorch.recorder import Recorder

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
        shapes.setitem(rec, call)
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
    **dict.fromkeys(("flatten", "ravel", "unflatten", "view", "view_as"), shapes.reshape),
    **dict.fromkeys(("reshape", "reshape_as", "squeeze", "unsqueeze"), shapes.reshape),
    **dict.fromkeys(("transpose", "permute", "swapaxes", "swapdims"), shapes.transpose),
    **dict.fromkeys(("split", "chunk"), shapes.split),
    **dict.fromkeys(("stack", "cat", "concat", "concatenate"), shapes.join),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "alpha_dropout"), layers.dropout),
    **dict.fromkeys(("feature_dropout", "feature_alpha_dropout"), layers.dropout),
    **dict.fromkeys(("conv1d", "conv2d"), layers.conv),
    **dict.fromkeys(layers.POOLS, layers.pool),
    "getitem": shapes.getitem,
    "select": shapes.select,
    "unbind": shapes.unbind,
    "linear": layers.linear,
    "batch_norm": layers.batch_norm,
}
