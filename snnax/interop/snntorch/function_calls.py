"""A call of a torch function on tensors that are followed, and the answers that fit any function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from snnax.interop.snntorch.recorder import Recorder

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
