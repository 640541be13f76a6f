"""Neurons that go on from something else than what they left: ``forward`` changes a state, or hands on another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from snnax.interop.program.nodes import NEURON, Carry, Leaf, Local, Loop, Node, NoState, Program


def neuron_names(body: Sequence[Any]) -> dict[int, str]:
    """The neurons among the operations of a step by their place, named as their recordings are.

    By path; a second call in one step is ``"path#2"``.
    """
    found, calls = {}, Counter[str]()
    for place, node in enumerate(body):
        if node.op == NEURON:
            calls[node.path] += 1
            found[place] = node.path if calls[node.path] == 1 else f"{node.path}#{calls[node.path]}"
    return found


def chained(program: Program) -> frozenset[str]:
    """Names of the neurons that may start a step from other states than their own last call left, or not from rest."""
    found: set[str] = set()
    told: Counter[str] = Counter()
    for item in program.items:
        body = item.body if isinstance(item, Loop) else [item]
        names = neuron_names(body)
        told.update(names.values())
        loop = item if isinstance(item, Loop) else None
        found.update(name for place, name in names.items() if not _goes_on(program, loop, body[place], place))
    return frozenset(found | {name for name, times in told.items() if times > 1})


def line_of(program: Program, name: str) -> str:
    """Where in the user's code something else than the neuron makes what it starts from, as ``net.py:12``."""
    for loop in program.loops:
        place = next((at for at, own in neuron_names(loop.body).items() if own == name), None)
        for source in loop.body[place].args[1].values() if place is not None else ():
            made = loop.carries[source.index].new if isinstance(source, Carry) else source
            if isinstance(made, Local) and loop.body[made.node].op != NEURON:
                return loop.body[made.node].line
    return ""


def _goes_on(program: Program, loop: Loop | None, node: Node, place: int) -> bool:
    """Whether a neuron starts from rest, and in a loop then from what its call in the step before left."""
    for out, source in enumerate(node.args[1].values(), 1):
        if isinstance(source, Carry) and loop is not None:
            carry = loop.carries[source.index]
            if carry.new != Local(place, out):
                return False
            source = carry.init
        elif loop is not None:
            return False
        if not _is_rest(program, source):
            return False
    return True


def _is_rest(program: Program, init: Any) -> bool:
    return isinstance(init, NoState) or (
        isinstance(init, Leaf) and program.inputs[init.index].kind == "state"
    )
