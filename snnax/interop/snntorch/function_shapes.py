"""Torch functions that move entries about: reshaping, indexing and joining.

They are recorded as they are; which axis is time is known only once the whole call has been seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor

from snnax.interop.snntorch.function_calls import Call, same, unsupported

if TYPE_CHECKING:
    from snnax.interop.snntorch.recorder import Recorder


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
