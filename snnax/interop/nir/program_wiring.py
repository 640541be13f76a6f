"""How the nodes of a program's graph hang together, and what of a loop its neurons need."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import nir

from snnax.interop.program.nodes import NEURON, Affine, Carry, Local, Loop, Node, Result, flat


@dataclass
class Wiring:
    """What has been written.

    Attributes:
        nodes: by name.
        edges: from node to node; ``late`` those that hand over what was emitted in the step before.
        shapes: of a sample that leaves each node.
        made: by name, the operation of the loop that it is.
    """

    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    late: list[tuple[str, str]] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)


def reaches(edges: Sequence[tuple[str, str]], start: str, end: str) -> bool:
    """Whether edges lead from one node to another."""
    seen, waiting = {start}, deque([start])
    while waiting:
        here = waiting.popleft()
        if here == end:
            return True
        for source, target in edges:
            if source == here and target not in seen:
                seen.add(target)
                waiting.append(target)
    return False


def needed(loop: Loop) -> set[int]:
    """Operations of the loop that a neuron depends on."""
    waiting: list[Any] = [Local(i) for i, node in enumerate(loop.body) if node.op == NEURON]
    found: set[int] = set()
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, Carry):
            entry = loop.carries[entry.index].new
        if isinstance(entry, Local) and entry.node not in found:
            found.add(entry.node)
            waiting += [e for e in loop.body[entry.node].inputs if isinstance(e, Local | Carry)]
    return found


def sample(result: Result) -> tuple[int, ...]:
    """Shape of a sample, of which no size follows the batch."""
    return tuple(int(n) for n in result.shape[1:] if not isinstance(n, Affine))


def follows_batch(node: Node) -> bool:
    """Whether its numbers or its results follow the batch."""
    return any(isinstance(e, Affine) for e in flat((node.args, node.kwargs, [r.shape for r in node.results])))
