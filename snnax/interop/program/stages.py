"""A loop over time as stages: what has no memory runs for all steps at once, what has runs step by step.

The operations of a step and what it hands on form a graph. Operations on a cycle of it need each other's values of the
step before; all others are functions of what is known for every step by then. So each strongly connected component is a
stage, and the stages run one after the other, each for all steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

from snnax.interop.program.nodes import Carry, Local, Loop, flat
from snnax.network.topology import components

Vertex = Local | Carry


@dataclass(frozen=True)
class Stage:
    """Part of a loop's body.

    Attributes:
        nodes: places of its operations in the body, in their order.
        carries: places of the carries on a cycle with them; without any the operations have no memory. A carry without
            operations is a delay of one step.
    """

    nodes: tuple[int, ...] = ()
    carries: tuple[int, ...] = ()


def stages(loop: Loop) -> list[Stage]:
    """The stages of a loop, in an order in which they can run; neighbours without memory are one."""
    sources: dict[Vertex, set[Vertex]] = {
        Local(place): {_whole(s) for s in _inside(node.inputs)} for place, node in enumerate(loop.body)
    }
    for place, handed in enumerate(loop.carries):
        sources[Carry(place)] = {_whole(s) for s in _inside([handed.new])}
    targets: dict[Vertex, list[Vertex]] = {vertex: [] for vertex in sources}
    for vertex, feeding in sources.items():
        for source in feeding:
            targets[source].append(vertex)
    part = components(list(sources), targets)
    members: dict[int, list[Vertex]] = {}
    for vertex in sources:
        members.setdefault(part[vertex], []).append(vertex)
    before = {
        number: {part[s] for v in vertices for s in sources[v]} - {number}
        for number, vertices in members.items()
    }
    found: list[Stage] = []
    for number in _memoryless_first(before, {n for n, vertices in members.items() if not _carries(vertices)}):
        stage = Stage(_nodes(members[number]), _carries(members[number]))
        if found and not stage.carries and not found[-1].carries:
            stage = Stage(tuple(sorted((*found.pop().nodes, *stage.nodes))))
        found.append(stage)
    return found


def _memoryless_first(before: dict[int, set[int]], memoryless: set[int]) -> Iterator[int]:
    """Components after those that feed them; of those that can run, the ones without memory first, to be joined."""
    sorter = TopologicalSorter(before)
    sorter.prepare()
    waiting: list[int] = []
    while sorter.is_active():
        waiting += sorter.get_ready()
        waiting.sort(key=lambda number: (number not in memoryless, number))
        number = waiting.pop(0)
        yield number
        sorter.done(number)


def _inside(tree: object) -> list[Vertex]:
    return [source for source in flat(tree) if isinstance(source, Local | Carry)]


def _whole(source: Vertex) -> Vertex:
    """The operation that a source is an output of, or the carry."""
    return Local(source.node) if isinstance(source, Local) else source


def _nodes(vertices: list[Vertex]) -> tuple[int, ...]:
    return tuple(sorted(v.node for v in vertices if isinstance(v, Local)))


def _carries(vertices: list[Vertex]) -> tuple[int, ...]:
    return tuple(sorted(v.index for v in vertices if isinstance(v, Carry)))
