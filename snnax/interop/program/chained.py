"""Neurons that go on from the states of another call: one that is called twice in a step starts from its first call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from snnax.interop.program.nodes import NEURON, Carry, Local, Loop, Program, Source, flat
from snnax.interop.trace import NodeTrace, Trace

_Origin = tuple[str, bool]
"""The call whose states it starts from, and whether those are of the step before."""


def with_starts(program: Program, trace: Trace) -> Trace:
    """A recording in which such calls know the states that they started from.

    Args:
        program: what ran.
        trace: its neurons, named as their recordings are: by path, a second call in one step ``"path#2"``.
    """
    nodes = dict(trace.nodes)
    for name, (origin, late) in _origins(program).items():
        node, other = trace.nodes.get(name), trace.nodes.get(origin)
        if node is not None and other is not None and len(node.spk) == len(other.spk):
            nodes[name] = replace(node, starts=_states(node, other, late))
    return replace(trace, nodes=nodes)


def neuron_names(body: Sequence[Any]) -> dict[int, str]:
    """The neurons among the operations of a step by their place, named as their recordings are."""
    found, calls = {}, Counter[str]()
    for place, node in enumerate(body):
        if node.op == NEURON:
            calls[node.path] += 1
            found[place] = node.path if calls[node.path] == 1 else f"{node.path}#{calls[node.path]}"
    return found


def _states(node: NodeTrace, other: NodeTrace, late: bool) -> dict[str, np.ndarray]:
    states = other.before() if late else other.states
    return {name: state for name, state in states.items() if name in node.states}


def _origins(program: Program) -> dict[str, _Origin]:
    """For each call that does not go on from itself, the one that it goes on from."""
    found: dict[str, _Origin] = {}
    loops = [item for item in program.items if isinstance(item, Loop)]
    told = Counter(name for loop in loops for name in neuron_names(loop.body).values())
    for loop in loops:
        calls = neuron_names(loop.body)
        for place, name in calls.items():
            origins = {_origin(loop, calls, source) for source in flat(loop.body[place].args[1])}
            origin = origins.pop() if len(origins) == 1 else None
            if origin is not None and origin != (name, True) and told[name] == 1:
                found[name] = origin
    return found


def _origin(loop: Loop, calls: dict[int, str], source: Source) -> _Origin | None:
    """The call that a state comes from; None if it is from elsewhere, or was changed on the way."""
    late = isinstance(source, Carry)
    made = loop.carries[source.index].new if isinstance(source, Carry) else source
    return (calls[made.node], late) if isinstance(made, Local) and made.node in calls else None
