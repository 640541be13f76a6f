"""Where a trace repeats itself: a loop that Python ran leaves the same operations, one step after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from snnax.interop.program.nodes import NEURON, Input, Leaf, Node

_COMPARISONS = frozenset({"gt", "ge", "lt", "le"})
_CALLS_PER_STEP = 8
"""A period is sought between a call of a neuron and the next ones, as many as a step may make of it."""


@dataclass(frozen=True)
class Repeat:
    """``steps`` times the same ``period`` operations from ``start`` on, and ``slack`` more of the next step."""

    start: int
    period: int
    steps: int
    slack: int

    @property
    def covered(self) -> int:
        """How many operations it holds."""
        return self.period * self.steps


def tokens(nodes: Sequence[Node], inputs: Sequence[Input], strict: bool) -> np.ndarray:
    """A number for each operation, equal for those that may be one operation of different steps.

    Numbers among the arguments do not count, since they may change from step to step, and neither do the leaves of
    neurons, since the first step may start from one.

    Args:
        nodes: the operations.
        inputs: what leaves are.
        strict: operations differ that are of different modules or use different parameters: else layers of one shape
            look like steps. A layer for each step is found without.
    """
    known: dict[Any, int] = {}
    found = []
    for node in nodes:
        key: tuple[Any, ...] = (node.op, node.results, node.gradient, node.function and node.function.kind)
        if strict or is_anchor(node):
            key += (node.path,)
        if strict and node.op != NEURON:
            key += tuple(
                entry
                for entry in node.inputs
                if isinstance(entry, Leaf) and inputs[entry.index].kind in ("parameter", "buffer")
            )
        found.append(known.setdefault(key, len(known)))
    return np.array(found, int)


def is_anchor(node: Node) -> bool:
    """True for what happens once in a step: a neuron, or the spikes of one that was looked into."""
    return node.op == NEURON or node.function is not None or node.base in _COMPARISONS


def repeats(token: np.ndarray, anchors: np.ndarray, least: int = 2) -> list[Repeat]:
    """All repeats that hold an anchor, those that cover most first, of these the shortest period.

    Args:
        token: of each operation.
        anchors: positions of the operations of which one must be in the period.
        least: number of steps.
    """
    found = []
    marked = np.zeros(len(token), bool)
    marked[anchors] = True
    for period in _periods(token, anchors):
        equal = token[:-period] == token[period:]
        for start, length in _runs(equal):
            steps, slack = divmod(length + period, period)
            if steps >= least and marked[start : start + period].any():
                found.append(Repeat(start, period, steps, slack))
    return sorted(found, key=lambda r: (-r.covered, r.period, r.start))


def _periods(token: np.ndarray, anchors: np.ndarray) -> list[int]:
    """Distances between an anchor and the next ones like it."""
    found: set[int] = set()
    order = sorted(anchors, key=lambda place: (token[place], place))
    for _, group in groupby(order, key=lambda place: token[place]):
        places = np.array(list(group))
        for ahead in range(1, min(_CALLS_PER_STEP, len(places) - 1) + 1):
            found.update(int(d) for d in np.unique(places[ahead:] - places[:-ahead]))
    return sorted(found)


def _runs(true: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and length of each stretch of True."""
    edges = np.diff(np.concatenate([[0], true.astype(int), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    for start, end in zip(starts, ends, strict=True):
        yield int(start), int(end - start)
