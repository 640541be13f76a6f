"""Operations of all steps of a loop as those of one: what each input refers to over time says what it is.

===================================================  ==========================================
Over the steps, an input refers to                   and is
===================================================  ==========================================
one operation of the same step                       local
one operation of the step before                     carried; the first step finds its start
one operation of some steps before                   a delay line of values that are carried
the same value outside, the same literal             itself
another value outside in each step                   a sequence over time
another number in each step                          a sequence that Python made
===================================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from typing import Any

from snnax.interop.program.cleaning import result_of
from snnax.interop.program.nodes import (
    NEURON,
    RANDOM,
    Affine,
    Carry,
    Input,
    Leaf,
    Local,
    Node,
    NoState,
    PerStep,
    Ref,
    Result,
    Sequence,
    filled,
    flat,
    mapped,
)

ELEMENTWISE = frozenset({
    "abs", "add", "atan2", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "ceil", "clamp", "cos", "div",
    "eq", "erf", "exp", "expm1", "floor", "fmod", "ge", "gt", "le", "lerp", "log", "log1p", "logical_and",
    "logical_not", "logical_or", "lt", "maximum", "minimum", "mul", "ne", "neg", "pow", "reciprocal", "relu",
    "remainder", "round", "rsqrt", "sigmoid", "sign", "sin", "sqrt", "sub", "tanh", "where",
})  # fmt: skip
"""Operations that give the same for a number, or for fewer axes, as for what these are broadcast to."""

_TRACED_NUMBERS: dict[str, frozenset[int]] = {
    "select.int": frozenset({2}), "select_scatter": frozenset({3}), "full": frozenset({1}),
    "full_like": frozenset({1}),
}  # fmt: skip
"""Positions of numbers that may be arrays without axes: those that change in a loop are."""

_PARTS = frozenset({"select", "slice"})
_COMMUTE = frozenset({"add.Tensor", "mul.Tensor", "maximum", "minimum"})


class Unlike(Exception):
    """Steps cannot be one; says why."""


@dataclass(eq=False)
class Draft:
    """A loop over operations of a trace, to which all of its sources outside refer.

    Attributes:
        start: number of its first operation.
        period: how many a step has.
        steps: how many steps.
        body: one step, with :class:`Local` by the position in it.
        carries: pairs of what the first step finds and what each hands on.
        sequences: for each an entry for every step, or numbers.
        same: positions of operations that give the same in all steps.
        apart: positions of those that depend on nothing in the loop but the number of the step.
    """

    start: int
    period: int
    steps: int
    body: list[Node] = field(default_factory=list)
    carries: list[tuple[Any, Any]] = field(default_factory=list)
    sequences: list[tuple[Any, ...] | PerStep] = field(default_factory=list)
    same: set[int] = field(default_factory=set)
    apart: set[int] = field(default_factory=set)

    @property
    def end(self) -> int:
        """Number of the first operation after it."""
        return self.start + self.period * self.steps

    def place(self, entry: Any) -> tuple[int, int, int] | None:
        """Step, position in it and output of a source inside of it; None for what lies outside."""
        if not isinstance(entry, Ref) or not self.start <= entry.node < self.end:
            return None
        return (*divmod(entry.node - self.start, self.period), entry.out)

    def at(self, position: int, step: int, out: int = 0) -> Ref:
        """An output of the operation at ``position`` in one step."""
        return Ref(self.start + step * self.period + position, out)

    @property
    def cost(self) -> int:
        """How much goes from step to step: where a step begins is chosen so that it is least."""
        return len(self.carries) + len(self.sequences)


def draft(nodes: Many[Node], inputs: Many[Input], start: int, period: int, steps: int) -> Draft:
    """The loop of ``steps`` times ``period`` operations from ``start`` on.

    Raises:
        Unlike: they are no steps of one loop.
    """
    drafting = _Drafting(nodes, inputs, Draft(start, period, steps))
    for position in range(period):
        drafting.add(position)
    drafting.check_carries()
    return drafting.draft


class _Drafting:
    def __init__(self, nodes: Many[Node], inputs: Many[Input], empty: Draft) -> None:
        self.draft = empty
        self._nodes = nodes
        self._inputs = inputs
        self._carried: dict[Any, Carry] = {}
        self._sequenced: dict[Any, Sequence] = {}

    def add(self, position: int) -> None:
        """Add the operation at ``position`` of the steps to the body."""
        draft = self.draft
        every = [self._nodes[draft.start + t * draft.period + position] for t in range(draft.steps)]
        node = every[-1]
        forms = [mapped((n.args, n.kwargs), lambda _: None) for n in every]
        if any(form != forms[-1] for form in forms):
            raise Unlike(f"{node.op} at {node.line} has other arguments in other steps")
        columns = [n.inputs for n in every]
        if _turned(node, columns):
            columns[0] = columns[0][::-1]
        args, kwargs = filled((node.args, node.kwargs), self._entries(columns))
        draft.body.append(self._timed(replace(node, args=args, kwargs=kwargs), position))

    def _entries(self, columns: list[list[Any]]) -> list[Any]:
        return [self._source(entries) for entries in zip(*columns, strict=True)]

    def _source(self, entries: tuple[Any, ...]) -> Any:
        """What an input is that refers to these over the steps."""
        places = [self.draft.place(entry) for entry in entries]
        last = places[-1]
        if last is None:
            if any(places):
                raise Unlike("the last step takes from outside what others have from the loop")
            return self._outside(entries)
        delay = len(entries) - 1 - last[0]
        expected = [None if t < delay else (t - delay, *last[1:]) for t in range(len(entries))]
        if places != expected:
            raise Unlike("an input is neither handed on nor a sequence")
        return (
            self._value(Local(*last[1:])) if delay == 0 else self._delayed(entries[:delay], Local(*last[1:]))
        )

    def _value(self, local: Local) -> Any:
        """A value of the same step; that of an operation which is done before the loop is one from outside."""
        draft = self.draft
        if local.node in draft.same:
            return draft.at(local.node, draft.steps - 1, local.out)
        if local.node in draft.apart:
            return self._sequence(tuple(draft.at(local.node, t, local.out) for t in range(draft.steps)))
        return local

    def _delayed(self, inits: tuple[Any, ...], new: Any) -> Carry:
        """The value of as many steps before as there are ``inits``, oldest first."""
        for length in range(1, len(inits) + 1):
            init = inits[-length]
            if not isinstance(init, Ref | Leaf | NoState | int | float):
                raise Unlike(f"a step cannot start from {init!r}")
            key = (type(init), init, new)
            if key not in self._carried:
                self._carried[key] = Carry(len(self.draft.carries))
                self.draft.carries.append((init, new))
            new = self._carried[key]
        carry: Carry = new
        return carry

    def _outside(self, entries: tuple[Any, ...]) -> Any:
        first = entries[0]
        if all(type(entry) is type(first) and (entry == first or entry != entry) for entry in entries):
            return first
        if all(isinstance(entry, Ref | Leaf) for entry in entries):
            if len({result_of(entry, self._nodes, self._inputs) for entry in entries}) > 1:
                raise Unlike("a sequence has entries of several shapes")
            return self._sequence(entries)
        truths = {isinstance(entry, bool) for entry in entries}
        if all(isinstance(entry, int | float | Affine) for entry in entries) and len(truths) == 1:
            return PerStep(entries)
        raise Unlike("an input is a literal that changes")

    def _sequence(self, entries: tuple[Any, ...] | PerStep) -> Sequence:
        if entries not in self._sequenced:
            self._sequenced[entries] = Sequence(len(self.draft.sequences))
            self.draft.sequences.append(entries)
        return self._sequenced[entries]

    def _timed(self, node: Node, position: int) -> Node:
        """An operation with numbers that change: done before the loop, or given them one by one."""
        moving = any(isinstance(entry, Local | Carry | Sequence) for entry in node.inputs)
        numbers = any(isinstance(entry, PerStep) for entry in node.inputs)
        if node.base not in RANDOM and not moving:
            if not numbers:
                if node.op != NEURON:
                    self.draft.same.add(position)
                return node
            if node.base in _PARTS or not _takes_arrays(node):
                self.draft.apart.add(position)
                return node
        if numbers and not _takes_arrays(node):
            raise Unlike(f"{node.op} at {node.line} gets another number in each step")
        one = mapped((node.args, node.kwargs), lambda e: self._sequence(e) if isinstance(e, PerStep) else e)
        return replace(node, args=one[0], kwargs=one[1])

    # --- What the first step finds

    def check_carries(self) -> None:
        """Refuse starts that are something else once they have the shape and type of what is carried.

        What is handed on by an operation that is done before the loop comes from there.
        """
        draft = self.draft
        for index, (init, new) in enumerate(draft.carries):
            if isinstance(new, Local):
                draft.carries[index] = (init, self._value(new))
        for index, (init, _) in enumerate(draft.carries):
            if isinstance(init, Ref | Leaf) and self._result(init) == self.carried(index):
                continue
            for node in draft.body:
                if Carry(index) in node.inputs and not _broadcasts(node, isinstance(init, NoState)):
                    raise Unlike(f"the first step starts from another shape at {node.line}")

    def _result(self, entry: Any) -> Result:
        return result_of(entry, self._nodes, self._inputs)

    def carried(self, index: int) -> Result:
        """Shape and type of what is carried."""
        return carried(self.draft, index, self._nodes, self._inputs)


def carried(draft: Draft, index: int, nodes: Many[Node], inputs: Many[Input]) -> Result:
    """Shape and type of what entry ``index`` of the carries holds."""
    new = draft.carries[index][1]
    while isinstance(new, Carry):
        new = draft.carries[new.index][1]
    if isinstance(new, Sequence):
        entries = draft.sequences[new.index]
        new = entries[-1] if isinstance(entries, tuple) else None
    if isinstance(new, Local):
        return draft.body[new.node].results[new.out]
    return result_of(new, nodes, inputs)


def _turned(node: Node, columns: list[list[Any]]) -> bool:
    """True for ``0 + x`` in the first step and ``total + x`` later: of the first, torch has made ``x + 0``."""
    if node.op not in _COMMUTE or any(len(column) != 2 for column in columns):
        return False
    first, later = ([isinstance(entry, Ref | Leaf) for entry in column] for column in columns[:2])
    return first == [True, False] and all(later)


def _broadcasts(node: Node, zeros: bool) -> bool:
    """True for an operation that may be given a start in the shape of what is carried later."""
    return node.op == NEURON or (node.base in ELEMENTWISE and not zeros)


def _takes_arrays(node: Node) -> bool:
    """True if all numbers of an operation that change from step to step may be arrays without axes."""
    allowed = _TRACED_NUMBERS.get(node.op, frozenset({0, 1}) if node.base in ELEMENTWISE else frozenset())
    if any(isinstance(entry, PerStep) for entry in flat(node.kwargs)):
        return False
    timed = {i for i, arg in enumerate(node.args) if any(isinstance(e, PerStep) for e in flat(arg))}
    return timed <= allowed and all(isinstance(node.args[i], PerStep) for i in timed)


def width(node: Node) -> int | None:
    """How long the part is that a ``slice`` moves over an axis; None if that changes."""
    if len(node.args) != 4:
        return None
    starts, ends = node.args[2:]
    if not isinstance(starts, PerStep) or not isinstance(ends, PerStep):
        return None
    found = {b - a for a, b in zip(starts.values, ends.values, strict=True)}
    return found.pop() if len(found) == 1 else None
