"""A trace, which is one operation after the other, as what runs before, in and after its loops over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from snnax.interop.program.assembly import Assembly
from snnax.interop.program.cleaning import needed, trimmed
from snnax.interop.program.nodes import NEURON, Loop, Node, Note, Program
from snnax.interop.program.regular import regular
from snnax.interop.program.repeats import Repeat, is_anchor, repeats, tokens
from snnax.interop.program.steps import Draft, Unlike, draft

_TRIED = 6
_DEPTH = 8
_ROTATIONS = 12
_SHORT = 8
"""Where a step begins is chosen in loops of so many steps at most."""

_MOST_UNROLLED = 2
_PLAIN_STEPS = 4
"""Operations without neurons are a loop from so many steps on."""


def fold(trace: Program) -> Program:
    """The program with its loops over time.

    Args:
        trace: cleaned and aligned: its items are all operations.

    Returns:
        The same computation. A ``"unrolled"`` note names neurons whose steps could not be folded.
    """
    trace = regular(trace)
    nodes: list[Node] = [item for item in trace.items if isinstance(item, Node)]
    folding = _Folding(nodes, trace)
    folding.split(0, len(nodes), 0)
    assembly = Assembly(nodes, trace.inputs, folding.drafts)
    for first, last in _gaps(folding.drafts, len(nodes)):
        assembly.add(first, last)
    outputs, updates = assembly.ends(trace.outputs), assembly.ends(trace.updates)
    items = [trimmed(item) if isinstance(item, Loop) else item for item in assembly.items]
    found = needed(replace(trace, items=items, outputs=outputs, updates=updates))
    return replace(found, notes=[*trace.notes, *_unrolled(found.items)])


def _gaps(drafts: Sequence[Draft], length: int) -> list[tuple[int, int]]:
    """The operations before, between and after loops."""
    edges = [0, *(edge for d in drafts for edge in (d.start, d.end)), length]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _unrolled(items: Sequence[Any]) -> list[Note]:
    """Neurons that are called more often outside of loops than layers are."""
    calls = Counter(item.path for item in items if isinstance(item, Node) and item.op == NEURON)
    return [
        Note("unrolled", f"{count} steps of {path} are not in a loop", "")
        for path, count in calls.items()
        if count > _MOST_UNROLLED
    ]


class _Folding:
    """Finds the loops of a trace, in order."""

    def __init__(self, nodes: list[Node], trace: Program) -> None:
        self._nodes = nodes
        self._inputs = trace.inputs
        self._tokens = [tokens(nodes, trace.inputs, strict) for strict in (True, False)]
        self._anchors = np.array([i for i, node in enumerate(nodes) if is_anchor(node)], int)
        self.drafts: list[Draft] = []

    def split(self, first: int, last: int, depth: int) -> None:
        """Find the loops among the operations from ``first`` to ``last``, the longest first."""
        found = self._longest(first, last) if last - first > 1 and depth < _DEPTH else None
        if found is not None:
            self.split(first, found.start, depth + 1)
            self.drafts.append(found)
            self.split(found.end, last, depth + 1)

    def _longest(self, first: int, last: int) -> Draft | None:
        anchors = self._anchors[(self._anchors >= first) & (self._anchors < last)] - first
        both = [repeats(token[first:last], anchors)[:_TRIED] for token in self._tokens if len(anchors)]
        for repeat in sorted(chain(*both), key=lambda r: -r.covered):  # of equal ones, the strict come first
            found = self._folded(replace(repeat, start=repeat.start + first))
            if found is not None:
                return found
        every = np.arange(last - first)
        for repeat in repeats(self._tokens[0][first:last], every, _PLAIN_STEPS)[:_TRIED]:
            found = self._folded(replace(repeat, start=repeat.start + first))
            if found is not None and found.steps >= _PLAIN_STEPS:
                return found
        return None

    def _folded(self, repeat: Repeat) -> Draft | None:
        """The loop, begun where least goes from step to step; without the first step if that is of another kind."""
        choices = []
        for offset in range(min(repeat.slack, repeat.period - 1, _ROTATIONS) + 1):
            for peeled in (0, 1):
                steps = repeat.steps - peeled
                start = repeat.start + offset + peeled * repeat.period
                short = self._draft(start, repeat.period, min(steps, _SHORT))
                if short is not None:
                    choices.append((peeled, short.cost, offset, start, steps))
                    break
        for _, _, _, start, steps in sorted(choices):
            found = self._draft(start, repeat.period, steps)
            if found is not None:
                return found
        return None

    def _draft(self, start: int, period: int, steps: int) -> Draft | None:
        try:
            return draft(self._nodes, self._inputs, start, period, steps) if steps > 1 else None
        except Unlike:
            return None
