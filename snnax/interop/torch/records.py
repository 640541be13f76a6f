"""What a traced call of a network is recorded as: values, and the operations that made them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from snnax.errors import ConversionError
from snnax.interop.program.nodes import flat

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter
    from snnax.interop.torch.calls import Call

Kind = Literal[
    "arg", "state", "constant", "module", "neuron", "sequence", "add", "scale", "reshape",
    "transpose", "index", "slice", "stack", "cat", "unsupported",
]  # fmt: skip


@dataclass(eq=False)
class Op:
    """One operation of the traced call.

    Attributes:
        index: place in the order of execution.
        kind: what it is; ``"arg"`` and ``"state"`` are tensors that were there before the call.
        name: module path, argument name or function name.
        where: module in whose ``forward`` it happened.
        inputs: signals that it reads.
        shape: shape of its first output, with all axes.
        module: the leaf module of the traced copy, or the module equal to a functional operation.
        states: what each state of a neuron was before the call; None stands for explicit zeros.
        factor: multiplier of a ``"scale"``.
        axis: axis of an ``"index"``, ``"slice"``, ``"stack"`` or ``"cat"``.
        position: index along ``axis``, or position of an ``"arg"``.
        hint: what the name of a reshaping function says about the leading axes; ``"functional"`` for a
            layer that is no module of the network.
        problem, remedy: why an ``"unsupported"`` operation is refused, should anything depend on it.
        held: a layer or neuron as this call found it, see :mod:`~snnax.interop.torch.held`.
        line: file and line of the user's code that made it; empty inside of a library.
    """

    index: int
    kind: Kind
    name: str
    where: str = ""
    inputs: tuple[Value, ...] = field(default=(), repr=False)  # a graph, which would be shown path by path
    shape: tuple[int, ...] = ()
    module: nn.Module | None = None
    states: dict[str, Value | None] = field(default_factory=dict, repr=False)
    factor: float | None = None
    axis: int = 0
    position: int = 0
    hint: str = ""
    problem: str = ""
    remedy: str = ""
    held: nn.Module | None = None
    line: str = ""

    def refusal(self) -> ConversionError:
        """The error that says why this operation cannot be converted."""
        return ConversionError(self.where, self.problem, self.remedy, self.line)


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor that an operation made: the operation, its port, and its shape with all axes."""

    op: Op
    port: str
    shape: tuple[int, ...]


@dataclass
class Recording:
    """A recorded call.

    Attributes:
        ops: operations in order of execution.
        result: what ``forward`` returned, with values for tensors.
        args: positional arguments it was called with, taken apart as those of ``call``.
        call: what they were made for.
        modules: the user's modules by path.
        label: class name of the network.
        adapter: its framework.
        problems: why the network cannot be converted, as far as the call itself showed it.
        more: finds what else cannot be converted, once something cannot.
        ends: what each neuron's states are after the call; None for a tensor that no neuron made.
    """

    ops: list[Op]
    result: Any
    args: list[Any]
    call: Call
    modules: dict[str, nn.Module]
    label: str
    adapter: Adapter
    problems: list[ConversionError] = field(default_factory=list)
    ends: dict[str, dict[str, Value | None]] = field(default_factory=dict)
    more: Callable[[], list[ConversionError]] = list

    def blockers(self) -> list[ConversionError]:
        """Everything that stands in the way of a conversion: found at the call, or an operation without an equal."""
        return [*self.problems, *(op.refusal() for op in self.live() if op.kind == "unsupported")]

    def state_positions(self) -> set[int]:
        """Positions of the arguments that are states of neurons."""
        states = [v for op in self.ops for v in op.states.values() if v]
        return {v.op.position for v in states if v.op.kind == "arg"}

    def live(self) -> list[Op]:
        """Operations on which an output or a neuron depends, in order of execution."""
        todo = [v.op for v in flat(self.result)] + [
            op for op in self.ops if op.kind in ("neuron", "sequence")
        ]
        seen: set[Op] = set()
        while todo:
            op = todo.pop()
            if op not in seen:
                seen.add(op)
                todo += [v.op for v in op.inputs]
        return [op for op in self.ops if op in seen]
