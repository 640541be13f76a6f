"""A program as text, for reading: one operation a line, with the line of the user's code that it is from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from snnax.interop.program.nodes import (
    Affine,
    Carry,
    Given,
    Leaf,
    Local,
    Loop,
    Node,
    NoState,
    PerStep,
    Program,
    Ref,
    Result,
    Sequence,
)


def text(program: Program) -> str:
    """The program, line by line.

    ``%2`` is what item 2 gives, ``%2.1`` its second output; inside of a loop ``.3`` is what operation 3 of the same
    step gives, ``carry0`` and ``step0`` what is handed on and what a sequence has. ``B`` is the size of the batch.
    """
    return "\n".join(_lines(program))


def _lines(program: Program) -> Iterator[str]:
    say = _Words(program)
    for number, item in enumerate(program.items):
        if isinstance(item, Node):
            yield say.node(f"%{number}", item)
            continue
        over = ", ".join(say(entry) for entry in item.sequences)
        yield f"%{number} = {item.steps} steps" + (f" over {over}" if over else "") + ":"
        yield from _loop(item, say)
    yield f"return {say(program.outputs)}"
    yield from (f"{name} becomes {say(value)}" for name, value in program.updates.items())
    yield from (f"note: {note.text}" + (f" ({note.line})" if note.line else "") for note in program.notes)


def _loop(loop: Loop, say: _Words) -> Iterator[str]:
    for index, handed in enumerate(loop.carries):
        yield f"    carry{index}: {say.form(handed.result)} from {say(handed.init)}, then {say(handed.new)}"
    for index, node in enumerate(loop.body):
        yield "    " + say.node(f".{index}", node)
    for index, kept in enumerate(loop.kept):
        which = "all of" if kept.every else "the last of"
        yield f"    gives {index}: {which} {say(kept.value)}"


class _Words:
    """What sources are called."""

    def __init__(self, program: Program) -> None:
        self._inputs = program.inputs

    def node(self, name: str, node: Node) -> str:
        """One operation."""
        named = [f"{key}={self(value)}" for key, value in node.kwargs.items()]
        call = f"{node.op}({', '.join([*map(self, node.args), *named])})"
        marks = [
            node.path,
            "" if node.gradient else "no gradient",
            "" if node.function is None else f"in {node.function.kind}",
            node.line,
        ]
        forms = ", ".join(map(self.form, node.results))
        return f"{name} = {call}: {forms}  # {'; '.join(mark for mark in marks if mark)}"

    def form(self, result: Result) -> str:
        """Shape and type."""
        return f"[{', '.join(map(self, result.shape))}] {result.dtype.name}"

    def __call__(self, entry: Any) -> str:
        """A source, a literal, or what they lie in."""
        if isinstance(entry, dict):
            return "{" + ", ".join(f"{key}: {self(part)}" for key, part in entry.items()) + "}"
        if isinstance(entry, list | tuple):
            return f"[{', '.join(map(self, entry))}]"
        if isinstance(entry, Leaf):
            leaf = self._inputs[entry.index]
            return leaf.name or f"constant{entry.index}"
        if isinstance(entry, Ref | Local):
            sign = "%" if isinstance(entry, Ref) else "."
            return f"{sign}{entry.node}" + (f".{entry.out}" if entry.out else "")
        if isinstance(entry, Affine):
            slope = "B" if entry.slope == 1 else f"{entry.slope}B"
            return slope + (f"{entry.offset:+d}" if entry.offset else "")
        if isinstance(entry, Given):
            return f"{entry.kind}{entry.index}" + (f".{entry.out}" if entry.out else "")
        if isinstance(entry, NoState):
            return "zeros"
        if isinstance(entry, PerStep):
            return self(entry.values)
        if isinstance(entry, Carry | Sequence):
            return f"{'carry' if isinstance(entry, Carry) else 'step'}{entry.index}"
        return str(getattr(entry, "name", entry))
