"""What a value of a program depends on, step by step in its loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from snnax.interop.program.nodes import Carry, Leaf, Local, Loop, Node, Program, Ref, Sequence, flat

__all__ = ["changed", "leaves_of"]


def leaves_of(program: Program, ends: Any) -> set[int]:
    """The numbers of the inputs that ``ends`` are computed from: sources of the program, in lists, tuples and dicts."""
    found: set[tuple[int | None, Any]] = set()
    todo: list[tuple[int | None, Any]] = [(None, end) for end in flat(ends)]
    while todo:
        entry = todo.pop()
        try:
            new = entry not in found
        except TypeError:  # a literal, as a list
            continue
        if new:
            found.add(entry)
            todo += _before(program, *entry)
    return {source.index for _, source in found if isinstance(source, Leaf)}


def _before(program: Program, place: int | None, source: Any) -> Iterator[tuple[int | None, Any]]:
    """What a source is computed from, each with the loop that it is in."""
    if isinstance(source, Ref):
        item = program.items[source.node]
        if isinstance(item, Node):
            yield from ((None, entry) for entry in item.inputs)
        else:
            yield source.node, item.kept[source.out].value
        return
    loop = None if place is None else program.items[place]
    if not isinstance(loop, Loop):
        return
    if isinstance(source, Local):
        yield from ((place, entry) for entry in loop.body[source.node].inputs)
    elif isinstance(source, Carry):
        yield from ((None, loop.carries[source.index].init), (place, loop.carries[source.index].new))
    elif isinstance(source, Sequence):
        yield None, loop.sequences[source.index]


def changed(program: Program) -> frozenset[str]:
    """Parameters and buffers that a call changes, and that what the next one returns depends on."""
    names = [entry.name for entry in program.inputs]
    held = {entry.name for entry in program.inputs if entry.kind in ("parameter", "buffer", "constant")}
    reached: set[str] = set()
    ends: Any = program.outputs
    while new := {names[i] for i in leaves_of(program, ends)} - reached:
        reached |= new
        ends = [program.updates[name] for name in new if name in program.updates]
    return frozenset(reached & held & set(program.updates))
