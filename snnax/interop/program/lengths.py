"""A program for other numbers of time steps.

Two programs of one network, for ``T`` and ``T + 2`` steps, hold the same operations, or what it computes depends on
``T``. The numbers in which they differ follow it: in a line, or as a share ``c / T``. That a third length tells.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from snnax.errors import ArgumentError
from snnax.interop.program.nodes import (
    SOURCES,
    Affine,
    Call,
    Handed,
    Input,
    Kept,
    Loop,
    Node,
    PerStep,
    Program,
    Result,
)
from snnax.interop.spec import NeuronSpec


class Fixed(Exception):
    """A program is for one number of steps only.

    Attributes:
        text: what depends on it.
        line: where, as ``net.py:12``.
    """

    def __init__(self, text: str, line: str = "") -> None:
        super().__init__(text)
        self.text, self.line = text, line


class Mixed(Fixed):
    """A number follows both the steps and the batch: how, only traces of several batches say."""


@dataclass(frozen=True)
class Line:
    """A number that follows the steps: ``slope * T + offset``, of the type of ``kind``.

    One that was not negative must not become so: a negative index is counted from the end.
    """

    slope: int
    offset: int
    kind: type = int
    negative: bool = False

    def at(self, steps: int) -> Any:
        """The number for so many steps.

        Raises:
            ArgumentError: it has none.
        """
        number = self.slope * steps + self.offset
        if number < 0 and not self.negative:
            few = self.slope > 0
            bound = -(self.offset // self.slope) if few else self.offset // -self.slope
            raise _refused(steps, f"at least {bound}" if few else f"at most {bound}")
        return self.kind(number)


@dataclass(frozen=True)
class Share:
    """``total / T``."""

    total: float

    def at(self, steps: int) -> float:
        """The number for so many steps."""
        return self.total / steps


@dataclass(frozen=True)
class Count:
    """One number for each step of a loop, ``first + by * t``; all of them may follow the steps."""

    first: Any
    by: int
    steps: Any

    def at(self, steps: int) -> PerStep:
        """The numbers for so many steps."""
        first, count = at_length(self.first, steps), at_length(self.steps, steps)
        return PerStep(tuple(range(first, first + self.by * count, self.by) if self.by else [first] * count))


@dataclass(frozen=True)
class Both:
    """A number that follows both the steps and the batch."""

    slope: Any
    offset: Any

    def at(self, steps: int) -> Affine:
        """What follows the batch alone, for so many steps."""
        return Affine(at_length(self.slope, steps), at_length(self.offset, steps))


_RULES = (Line, Share, Count, Both)
_PARTS = (Program, Loop, Node, Handed, Kept, Input, Result)
_AS_THEY_ARE = (Call, NeuronSpec, np.ndarray)
"""Of two programs those of the first stay: the numbers of calls, neurons at rest, and values of parameters."""


def at_length(tree: Any, steps: int) -> Any:
    """A template for so many steps."""
    if isinstance(tree, _RULES):
        return tree.at(steps)
    if isinstance(tree, _PARTS):
        return replace(tree, **{f.name: at_length(getattr(tree, f.name), steps) for f in fields(tree)})
    if isinstance(tree, dict):
        return {key: at_length(part, steps) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [at_length(part, steps) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def longer(program: Program, steps: int) -> Program:
    """A program for another number of steps.

    Raises:
        ArgumentError: one of its loops would have none, or a rule of the network is for so many.
    """
    if steps < program.least:
        raise _refused(steps, f"at least {program.least}")
    if program.most is not None and steps > program.most:
        raise _refused(steps, f"at most {program.most}, since its code has a rule for more")
    found: Program = at_length(program.template, steps)
    short = min(loop.steps for loop in found.loops)
    if short < 1:
        raise _refused(steps, f"at least {steps + 1 - short}")
    return found


def _refused(steps: int, needed: str) -> ArgumentError:
    return ArgumentError(
        f"the network was called with {steps} time steps, and is known for {needed}. Pass so many, or port it with a "
        "sample of as many steps as it is to run."
    )


def template(first: Program, second: Program, steps: tuple[int, int]) -> Program:
    """A program whose numbers follow the steps, see :func:`longer`.

    Args:
        first: for ``steps[0]`` steps.
        second: the same for ``steps[1]``; where it is for one size of the batch, that of the first.
        steps: these two numbers.

    Raises:
        Mixed: the second is for one size of the batch, and that does not say enough.
        Fixed: they differ in more than numbers that follow the steps.
    """
    made = _Template(*steps, first.size)
    found: Program = made.both(
        replace(first, notes=[], template=None), replace(second, notes=[], template=None)
    )
    return found


def difference(first: Program, second: Program) -> Fixed | None:
    """Where two templates, by other lengths, are not one: what follows the steps there does not do so in a line."""
    for a, b in zip(first.items, second.items, strict=True):
        nodes = zip(*(item.body if isinstance(item, Loop) else [item] for item in (a, b)), strict=True)
        for node, other in nodes:
            if node != other:
                return Fixed(f"{node.op} gets a number that does not follow it in a line", node.line)
    ends = ((p.inputs, p.items, p.outputs, p.updates) for p in (first, second))
    return None if next(ends) == next(ends) else Fixed("a number does not follow it in a line")


class _Template:
    """What two programs have in the same place.

    Args:
        first: steps of the one.
        second: steps of the other.
        size: of the batch of both.
    """

    def __init__(self, first: int, second: int, size: int) -> None:
        self._first, self._growth, self._second, self._size = first, second - first, second, size
        self._what, self._line = "the network", ""

    def both(self, a: Any, b: Any) -> Any:
        """Whatever stands in one place."""
        if isinstance(a, _AS_THEY_ARE) and type(a) is type(b):
            return a
        if isinstance(a, Affine) and isinstance(b, int):
            if a.at(self._size) == b:
                return a
            raise Mixed(f"{self._what} gets a number that follows steps and batch", self._line)
        if type(a) is not type(b):
            raise self._fixed(a, b)
        if isinstance(a, Node):
            self._what, self._line = a.op, a.line
        if isinstance(a, PerStep):
            return self._numbers(a, b)
        if isinstance(a, Affine):
            return a if a == b else Both(self._whole(a.slope, b.slope), self._whole(a.offset, b.offset))
        if is_dataclass(a) and isinstance(a, _PARTS):
            return self._part(a, b)
        if isinstance(a, dict):
            if [*a] != [*b]:
                raise self._fixed(a, b)
            return {key: self.both(part, b[key]) for key, part in a.items()}
        if isinstance(a, list | tuple):
            if len(a) != len(b):
                raise Fixed(
                    f"{self._what} takes {len(a)} inputs for {self._first} steps, {len(b)} for {self._second}",
                    self._line,
                )
            parts = [self.both(x, y) for x, y in zip(a, b, strict=True)]
            return type(a)(*parts) if hasattr(a, "_fields") else type(a)(parts)
        return self._entry(a, b)

    def _part(self, a: Any, b: Any) -> Any:
        if isinstance(a, Node) and (a.op, a.path) != (b.op, b.path):
            raise Fixed(
                f"it computes {a.op} for {self._first} steps and {b.op} ({b.line}) for {self._second}", a.line
            )
        if isinstance(a, Program) and len(a.items) != len(b.items):
            text = f"it makes {len(a.items)} operations for {self._first} steps and {len(b.items)} for {self._second}"
            raise Fixed(text, next((n.line for n in a.nodes() if n.line), ""))
        if isinstance(a, Input) and a.kind == "constant" and not _equal(a.value, b.value):
            raise Fixed(f"{a.name or 'a tensor that Python makes'} is another one for other steps", "")
        kept = ("line", "layer", "function") if isinstance(a, Node) else ("neurons", "value")
        names = [f.name for f in fields(a) if f.name not in (*kept, "batch", "size", "time", "least")]
        return replace(a, **{name: self.both(getattr(a, name), getattr(b, name)) for name in names})

    def _entry(self, a: Any, b: Any) -> Any:
        if a == b or a != a:
            return a
        if isinstance(a, (*SOURCES, bool, str)):
            raise self._fixed(a, b)
        if isinstance(a, int):
            return self._whole(a, b)
        if isinstance(a, float):
            total = round(a * self._first)
            if total and (total / self._first, total / self._second) == (a, b):
                return Share(float(total))
            if a.is_integer() and b.is_integer():
                return replace(self._whole(int(a), int(b)), kind=float)
        raise self._fixed(a, b)

    def _whole(self, a: int, b: int) -> Any:
        if a == b:
            return a
        slope, rest = divmod(b - a, self._growth)
        if rest:
            raise self._fixed(a, b)
        return Line(slope, a - slope * self._first, negative=a < 0)

    def _numbers(self, a: PerStep, b: PerStep) -> Any:
        """Numbers that lie evenly; what else there is for each step says nothing about more of them."""
        if a == b:
            return a
        steps = [{y - x for x, y in zip(n.values, n.values[1:], strict=False)} for n in (a, b) if _whole(n)]
        if len(steps) < 2 or len(steps[0] | steps[1]) != 1:
            raise self._fixed(a.values, b.values)
        (by,) = steps[0] | steps[1]
        return Count(self._whole(a.values[0], b.values[0]), by, self._whole(len(a.values), len(b.values)))

    def _fixed(self, a: Any, b: Any) -> Fixed:
        shown = [repr(value) if len(repr(value)) < 60 else "others" for value in (a, b)]
        return Fixed(
            f"{self._what} gets {shown[0]} for {self._first} steps and {shown[1]} for {self._second}",
            self._line,
        )


def _whole(numbers: PerStep) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in numbers.values)


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b if a is None or b is None else a.shape == b.shape and a.tobytes() == b.tobytes()
