"""A program of one step of time as one of many: its states are handed on, its arguments are sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from snnax.errors import ConversionError
from snnax.interop.program.nodes import (
    Carry,
    Handed,
    Input,
    Kept,
    Leaf,
    Local,
    Loop,
    Node,
    Program,
    Ref,
    Result,
    Sequence,
    flat,
    mapped,
)


def is_step(program: Program) -> bool:
    """Whether a call is one step of time: it goes on from the states that the call before left."""
    others = {entry.name for entry in program.inputs if entry.kind != "state"}
    return any(name not in others for name in program.updates) and not program.loops


def repeated(program: Program, steps: int) -> Program:
    """``steps`` calls of a program, one after the other.

    Args:
        program: a program that :func:`is_step`.
        steps: how many.

    Returns:
        The program that takes ``[steps, ...]`` for each array that ``program`` takes, and returns each array that it
        returns as ``[steps, ...]``.

    Raises:
        ConversionError: a step has a loop inside, or changes something that it does not read.
    """
    if any(isinstance(item, Loop) for item in program.items):
        raise ConversionError("the network", "a step of it has a loop inside", "Call it once for each step.")
    names = {entry.name: Leaf(place) for place, entry in enumerate(program.inputs)}
    handed = {names[name]: new for name, new in program.updates.items() if name in names}
    given = [leaf for leaf in flat(program.arguments) if isinstance(leaf, Leaf)]

    def inside(source: Any) -> Any:
        if isinstance(source, Ref):
            return Local(source.node, source.out)
        if source in handed and isinstance(source, Leaf):
            return Carry(list(handed).index(source))
        return Sequence(given.index(source)) if source in given else source

    body = [
        replace(node, args=mapped(node.args, inside), kwargs=mapped(node.kwargs, inside))
        for node in program.items
        if isinstance(node, Node)
    ]
    carries = [Handed(leaf, inside(new), program.inputs[leaf.index].result) for leaf, new in handed.items()]
    results = [source for source in flat(program.outputs) if isinstance(source, Ref | Leaf)]
    every = list(dict.fromkeys(results))
    kept = [Kept(inside(source), True, _result(program, source, steps)) for source in every]
    last = [Kept(carry.new, False, carry.result) for carry in carries]
    loop = Loop(steps, body, carries, list(given), [*kept, *last])

    def outside(source: Any) -> Any:
        return Ref(0, every.index(source)) if isinstance(source, Ref | Leaf) else source

    updates = {
        program.inputs[leaf.index].name: Ref(0, len(kept) + place) for place, leaf in enumerate(handed)
    }
    return replace(
        program,
        inputs=[
            _over_time(entry, steps) if Leaf(i) in given else entry for i, entry in enumerate(program.inputs)
        ],
        items=[loop],
        outputs=mapped(program.outputs, outside),
        updates=updates,
        batch=[(leaf, axis + (leaf in given)) for leaf, axis in program.batch],
    )


def _over_time(entry: Input, steps: int) -> Input:
    return replace(entry, result=_longer(entry.result, steps))


def _longer(result: Result, steps: int) -> Result:
    return Result((steps, *result.shape), result.dtype)


def _result(program: Program, source: Ref | Leaf, steps: int) -> Result:
    if isinstance(source, Leaf):
        return _longer(program.inputs[source.index].result, steps)
    item = program.items[source.node]
    return _longer(
        item.results[source.out] if isinstance(item, Node) else item.kept[source.out].result, steps
    )
