"""What a traced call of a network is recorded as: values, the operations that made them, and a ledger."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from snnax.errors import ConversionError
from snnax.interop.frameworks import LABELS

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

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


class Ledger:
    """All operations of one traced call, and the value that each live tensor object holds now.

    Tensors are kept alive for as long as the ledger lives, so an id names one tensor only.
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self._held: dict[int, tuple[Tensor, Value]] = {}
        self._by_storage: dict[int, list[int]] = {}

    def find(self, tensor: object) -> Value | None:
        """The value that ``tensor`` holds, None if the trace does not know it."""
        entry = self._held.get(id(tensor))
        return entry[1] if entry else None

    def bind(self, tensor: Tensor, value: Value) -> None:
        """Say that ``tensor`` now holds ``value``."""
        if id(tensor) not in self._held:
            self._by_storage.setdefault(_storage(tensor), []).append(id(tensor))
        self._held[id(tensor)] = (tensor, value)

    def add(self, kind: Kind, name: str, where: str, **details: Any) -> Op:
        """Append an operation."""
        op = Op(len(self.ops), kind, name, where, line=place(), **details)
        self.ops.append(op)
        return op

    def emit(self, result: Tensor, kind: Kind, name: str, where: str, **details: Any) -> Value:
        """Append an operation with one output and say that ``result`` holds it."""
        op = self.add(kind, name, where, shape=tuple(result.shape), **details)
        value = Value(op, "out", op.shape)
        self.bind(result, value)
        return value

    def spoil_aliases(self, tensor: Tensor, name: str, where: str) -> None:
        """After ``tensor`` changed in place: refuse what still reads another tensor over the same memory."""
        storage = _storage(tensor)
        for key in self._by_storage.get(storage, []) if storage else []:
            other, value = self._held[key]
            if other is not tensor:
                self.emit(
                    other,
                    "unsupported",
                    name,
                    where,
                    inputs=(value,),
                    problem=f"{name} changes in place a tensor of which its forward uses another view later",
                    remedy="Write y = x + z instead of x += z.",
                )


def place() -> str:
    """``file.py:12`` of the user's code that runs now; empty if a library calls the libraries."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        home = str(frame.f_globals.get("__name__", ""))
        if home == _CALLER:
            return ""
        if home.partition(".")[0] not in _LIBRARIES:
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def line_of(error: BaseException) -> str:
    """``file.py:12`` of the innermost line of the user's code that an error went through."""
    found, step = "", error.__traceback__
    while step is not None:
        home = str(step.tb_frame.f_globals.get("__name__", ""))
        if home.partition(".")[0] not in _LIBRARIES:
            found = f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}"
        step = step.tb_next
    return found


_CALLER = "snnax.interop.torch.tracing"
_LIBRARIES = ("snnax", "torch", *LABELS, "functools", "contextlib")


def _storage(tensor: Tensor) -> int:
    """Address of the memory of ``tensor``; 0 if it has none."""
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0


@dataclass
class Recording:
    """A recorded call.

    Attributes:
        ops: operations in order of execution.
        result: what ``forward`` returned, with values for tensors.
        args: positional arguments it was called with, taken apart; ``names`` are theirs, ``tree`` puts them together.
        probes: positions where an empty state stands for one that the sample left out.
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
    names: list[str]
    probes: set[int]
    modules: dict[str, nn.Module]
    label: str
    adapter: Adapter
    problems: list[ConversionError] = field(default_factory=list)
    ends: dict[str, dict[str, Value | None]] = field(default_factory=dict)
    tree: tuple[Any, ...] = ()
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
        todo = [v.op for v in values_in(self.result)] + [
            op for op in self.ops if op.kind in ("neuron", "sequence")
        ]
        seen: set[Op] = set()
        while todo:
            op = todo.pop()
            if op not in seen:
                seen.add(op)
                todo += [v.op for v in op.inputs]
        return [op for op in self.ops if op in seen]


def values_in(tree: Any) -> list[Value]:
    """All values in nested lists and tuples."""
    return [tree] if isinstance(tree, Value) else [v for part in tree for v in values_in(part)]
