"""Two traces of one network, on samples of other values and another size of the batch.

They hold the same operations, or what Python does depends on the data. Whole numbers that differ follow the batch.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.program.nodes import (
    NEURON,
    RANDOM,
    SOURCES,
    Affine,
    Input,
    Leaf,
    Node,
    Program,
    Ref,
    Result,
    at,
    filled,
    flat,
    mapped,
)

Names = tuple[str, str]
SAMPLES: Names = ("for one sample", "for another sample")
CALLS: Names = ("in the first call", "in the second")
VALUES: Names = ("for the value that it has", "for another value")
"""What to call two traces."""

_REMEDY = (
    "Compute with tensors what depends on the data (torch.where instead of if, a tensor instead of .item()), or take "
    "it out of forward."
)


_EDITS = (
    ((".numpy(", "np.", ".tolist("), "Compute it with torch: the array is another one for each sample."),
    (
        (".item()", "int(", "float(", "round("),
        "Leave out .item(), int() and float(), so that it stays a tensor; what an if does then, does torch.where.",
    ),
    (
        ("while ",),
        "Loop over a number of steps that is an argument or a shape: for step in range(num_steps).",
    ),
    (("if ", "elif "), "Choose with torch.where(condition, a, b), on tensors, and let every call do both."),
)
"""What is in the line that is read, and the edit of it."""


def depends(label: str, problem: str, line: str = "") -> ConversionError:
    """The error for what a program cannot say: it depends on the values of the sample."""
    return ConversionError(label, problem, _REMEDY, line)


def steers(label: str, problem: str, line: str) -> ConversionError:
    """The error for a line where Python reads a value, and computes something else for another one."""
    text = getattr(line, "text", "")
    edit = next((edit for words, edit in _EDITS if any(word in text for word in words)), _REMEDY)
    return ConversionError(
        label,
        f"Python reads a value of a tensor, and what forward computes hangs on it: {problem}",
        edit,
        line,
    )


def align(first: Program, second: Program, label: str, names: Names = SAMPLES) -> Program:
    """The first of two cleaned traces, with numbers that follow the batch in place of those that differ.

    Args:
        first: a trace, whose items are all operations.
        second: another one of the same network.
        label: what to call the network in errors.
        names: what to call the two.

    Raises:
        ConversionError: they differ in more: names the operation and its line.
    """
    pairs = _Pairs(label, first.size, second.size, names)
    items: list[Any] = []
    ours, theirs = ([item for item in p.items if isinstance(item, Node)] for p in (first, second))
    for a, b in zip(ours, theirs, strict=False):
        items.append(pairs.node(a, b))
    if len(ours) != len(theirs):
        longer = (ours if len(ours) > len(theirs) else theirs)[len(items)]
        raise depends(
            label,
            f"it makes {len(ours)} operations {names[0]} and {len(theirs)} {names[1]}",
            longer.line,
        )
    if len(first.inputs) != len(second.inputs):
        raise depends(label, f"it uses other parameters or constants {names[1]}")
    inputs = [pairs.input(a, b) for a, b in zip(first.inputs, second.inputs, strict=True)]
    return replace(
        first,
        items=items,
        inputs=inputs,
        outputs=pairs.tree(first.outputs, second.outputs, "what it returns", ""),
        updates=pairs.tree(first.updates, second.updates, "what it keeps", ""),
    )


def sized(program: Program, batch: int) -> Program:
    """An aligned program without loops for a batch of one size."""
    items: list[Any] = [
        replace(
            n,
            args=at(n.args, batch),
            kwargs=at(n.kwargs, batch),
            results=tuple(r.at(batch) for r in n.results),
        )
        for n in program.items
        if isinstance(n, Node)
    ]
    inputs = [replace(entry, result=entry.result.at(batch)) for entry in program.inputs]
    ends = at((program.outputs, program.updates), batch)
    return replace(program, items=items, inputs=inputs, outputs=ends[0], updates=ends[1], size=batch)


class _Pairs:
    """What stands in the same place of two traces.

    Args:
        label: what to call the network.
        size: of the batch of the first.
        other: that of the second.
        names: of the two.
    """

    def __init__(self, label: str, size: int, other: int, names: Names) -> None:
        self._label = label
        self._one, self._another = names
        self._size = size
        self._growth = other - size

    def node(self, a: Node, b: Node) -> Node:
        """One operation."""
        if (a.op, a.path) != (b.op, b.path):
            raise depends(
                self._label, f"it computes {a.op} {self._one} and {b.op} ({b.line}) {self._another}", a.line
            )
        args, kwargs = self.tree((a.args, a.kwargs), (b.args, b.kwargs), a.op, a.line)
        if len(a.results) != len(b.results):
            text = f"{a.op} gives {len(a.results)} tensors {self._one} and {len(b.results)} {self._another}"
            raise depends(self._label, text, a.line)
        pairs = zip(a.results, b.results, strict=True)
        results = [self._result(first, second, a.op, a.line) for first, second in pairs]
        return replace(a, args=args, kwargs=kwargs, results=tuple(results))

    def input(self, a: Input, b: Input) -> Input:
        """One leaf."""
        if (a.kind, a.name) != (b.kind, b.name):
            raise depends(
                self._label, f"it uses {a.name or 'a constant'} {self._one} and {b.name} {self._another}"
            )
        if a.kind == "constant" and not _equal(a.value, b.value):
            name = f"its {a.name}" if a.name else f"a tensor of shape {a.result.shape} that Python makes"
            raise depends(self._label, f"{name} is another one {self._another}")
        return replace(a, result=self._result(a.result, b.result, a.name, ""))

    def tree(self, a: Any, b: Any, what: str, line: str) -> Any:
        """Arguments."""
        ours, theirs = list(flat(a)), list(flat(b))
        if len(ours) != len(theirs):
            raise depends(
                self._label,
                f"{what} has {len(ours)} inputs {self._one} and {len(theirs)} {self._another}",
                line,
            )
        return filled(a, [self._entry(*pair, what, line) for pair in zip(ours, theirs, strict=True)])

    def _entry(self, a: Any, b: Any, what: str, line: str) -> Any:
        if isinstance(a, SOURCES) or isinstance(b, SOURCES):
            if a != b:
                raise depends(
                    self._label, f"{what} takes its input from somewhere else {self._another}", line
                )
            return a
        if type(a) is type(b) and (a == b or a != a):
            return a
        if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool) and self._growth:
            slope, rest = divmod(b - a, self._growth)
            if rest == 0:
                return Affine(slope, a - slope * self._size)
        raise depends(self._label, f"{what} gets {a!r} {self._one} and {b!r} {self._another}", line)

    def _result(self, a: Result, b: Result, what: str, line: str) -> Result:
        if len(a.shape) != len(b.shape) or a.dtype != b.dtype:
            raise depends(
                self._label, f"{what} gives {a.shape} {self._one} and {b.shape} {self._another}", line
            )
        shape = [self._entry(*pair, what, line) for pair in zip(a.shape, b.shape, strict=True)]
        return Result(tuple(shape), a.dtype)


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def unlike(first: Program, second: Program, label: str, names: Names = SAMPLES) -> ConversionError | None:
    """How two traces on samples of the same size differ; None if they compute the same, in whatever order."""
    known: dict[Any, int] = {}
    if _numbered(first, known) == _numbered(second, known):
        return None
    try:
        align(first, replace(second, size=first.size), label, names)
    except ConversionError as error:
        return error
    return depends(label, "it returns something else")


def _numbered(program: Program, known: dict[Any, int]) -> tuple[Any, ...]:
    """Outputs and updates, with a number for each value that is the same for values computed in the same way."""
    values: list[int] = []
    draws = count()

    def named(entry: Any) -> Any:
        if isinstance(entry, Ref):
            return ("value", values[entry.node], entry.out)
        if isinstance(entry, Leaf):
            leaf = program.inputs[entry.index]
            constant = None if leaf.value is None else leaf.value.tobytes()
            return ("leaf", leaf.kind, leaf.name, leaf.result, constant)
        return (type(entry).__name__, repr(entry))

    for node in program.items:
        if isinstance(node, Node):
            inputs = tuple(named(entry) for entry in node.inputs)
            form = repr(mapped((node.args, node.kwargs), lambda _: 0))
            draw = next(draws) if node.base in RANDOM else None
            path = node.path if node.op == NEURON else ""
            key = (node.op, path, inputs, form, node.results, node.gradient, draw)
            values.append(known.setdefault(key, len(known)))
    ends = (program.outputs, program.updates)
    return repr(mapped(ends, lambda _: 0)), tuple(named(entry) for entry in flat(ends))
