"""A program whose neurons are told what they did: what it makes of that by its other operations.

The neurons are taken out, and what was recorded of them, spikes and states of every step, is put in their place. What
is left has no neuron in it, and computes what each of them is to start a step from where ``forward`` itself changes a
state between two steps, and what enters it. An error of one step is then none of the next: a recording is held to the
program step by step, each from what that recording says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from snnax.interop.program.chained import neuron_names
from snnax.interop.program.nodes import (
    NEURON,
    SOURCES,
    Carry,
    Input,
    Kept,
    Leaf,
    Local,
    Loop,
    Node,
    NoState,
    Program,
    Ref,
    Result,
    flat,
    mapped,
)
from snnax.interop.program.nodes import Sequence as InSequence

INPUT = ""
"""Stands for what enters a neuron where its states have their names."""


@dataclass(frozen=True)
class Feed:
    """What one of the new inputs is given: a neuron's spikes (``port="spk"``), or a state, in some of its steps."""

    name: str
    port: str
    first: int
    steps: int | None


@dataclass
class Told:
    """A program without neurons.

    Attributes:
        program: it returns, by the neuron's name, a list of what starts each of its calls or loops over time:
            ``({port: value}, steps)``; the port of what enters it is :data:`INPUT`.
        feeds: what its last inputs are.
    """

    program: Program
    feeds: tuple[Feed, ...]

    def leaves(self, given: Mapping[str, Mapping[str, Any]]) -> list[Any]:
        """The last inputs, of recordings ``[T, B, ...]`` by the neuron's name and the port."""
        found = []
        for feed in self.feeds:
            values = given[feed.name][feed.port]
            found.append(
                values[feed.first] if feed.steps is None else values[feed.first : feed.first + feed.steps]
            )
        return found


def told(program: Program, names: Iterable[str]) -> Told:
    """The program without these neurons."""
    return _Taking(program, frozenset(names)).told()


def joined(returned: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What :class:`Told` returned as arrays ``[T, B, ...]`` by the neuron's name and port; no state at all is zeros."""
    found: dict[str, dict[str, Any]] = {}
    for name, pieces in returned.items():
        ports: dict[str, list[Any]] = {}
        for values, steps in pieces:
            for port, value in values.items():
                if port in given[name]:  # a state, of which the program may know less than its shape
                    form = given[name][port][: steps or 1]
                    value = jnp.broadcast_to(
                        jnp.asarray(0 if value is None else value, form.dtype), form.shape
                    )
                elif not steps:
                    value = value[None]
                ports.setdefault(port, []).append(value)
        found[name] = {port: jnp.concatenate(parts) for port, parts in ports.items()}
    return found


class _Taking:
    """Takes neurons out of a program."""

    def __init__(self, program: Program, names: frozenset[str]) -> None:
        self._program, self._names = program, names
        self._inputs: list[Input] = list(program.inputs)
        self._feeds: list[Feed] = []
        self._done: dict[str, int] = {}
        self._swaps: dict[Ref, Leaf] = {}
        self._returned: dict[str, list[tuple[dict[str, Any], int | None]]] = {}

    def told(self) -> Told:
        items = [
            self._loop(place, item) if isinstance(item, Loop) else self._node(place, item)
            for place, item in enumerate(self._program.items)
        ]
        program = replace(
            self._program, inputs=self._inputs, items=items, outputs=self._returned, updates={}, template=None
        )
        return Told(program, tuple(self._feeds))

    def _outside(self, tree: Any) -> Any:
        """Sources outside of loops, with what was recorded in place of what neurons there returned."""
        return mapped(
            tree, lambda source: self._swaps.get(source, source) if isinstance(source, Ref) else source
        )

    def _feed(self, node: Node, name: str, steps: int | None) -> list[Leaf]:
        """New inputs for what a neuron returns."""
        first = self._done.get(name, 0)
        self._done[name] = first + (1 if steps is None else steps)
        leaves = []
        for port, result in zip(("spk", *node.args[1]), node.results, strict=True):
            shape = result.shape if steps is None else (steps, *result.shape)
            leaves.append(Leaf(len(self._inputs)))
            self._inputs.append(Input("argument", f"{name}.{port}", Result(shape, result.dtype)))
            self._feeds.append(Feed(name, port, first, steps))
        return leaves

    def _node(self, place: int, node: Node) -> Node:
        node = replace(node, args=self._outside(node.args), kwargs=self._outside(node.kwargs))
        if node.op != NEURON or node.path not in self._names:
            return node
        self._returned.setdefault(node.path, []).append(({INPUT: node.args[0], **node.args[1]}, None))
        leaves = self._feed(node, node.path, None)
        self._swaps.update({Ref(place, out): leaf for out, leaf in enumerate(leaves)})
        return _same(node, leaves[0])

    def _loop(self, place: int, loop: Loop) -> Loop:
        sequences, kept = list(loop.sequences), list(loop.kept)
        swaps: dict[Any, Any] = dict(self._swaps)
        taken = {at: name for at, name in neuron_names(loop.body).items() if name in self._names}
        for at, name in taken.items():
            for out, leaf in enumerate(self._feed(loop.body[at], name, loop.steps)):
                swaps[Local(at, out)] = InSequence(len(sequences))
                sequences.append(leaf)

        def swapped(tree: Any) -> Any:
            return mapped(tree, lambda s: swaps.get(s, s) if isinstance(s, SOURCES) else s)

        body = []
        for at, node in enumerate(loop.body):
            args = swapped(node.args)
            if at not in taken:
                body.append(replace(node, args=args, kwargs=swapped(node.kwargs)))
                continue
            ports: dict[str, Any] = {}
            for port, source in {INPUT: args[0], **args[1]}.items():
                if isinstance(source, NoState):
                    ports[port] = source
                    continue
                ports[port] = Ref(place, len(kept))
                result = node.results[0]
                kept.append(Kept(source, True, Result((loop.steps, *result.shape), result.dtype)))
            self._returned.setdefault(taken[at], []).append((ports, loop.steps))
            body.append(_same(node, swaps[Local(at, 0)]))
        carries = [replace(h, init=self._outside(h.init), new=swapped(h.new)) for h in loop.carries]
        kept = [replace(k, value=swapped(k.value)) for k in kept]
        return Loop(loop.steps, body, carries, [self._outside(s) for s in sequences], kept)


def _same(node: Node, source: Any) -> Node:
    """Stands where a neuron was, so that all other operations stay where they are."""
    return replace(node, op="alias", args=(source,), kwargs={}, results=node.results[:1], layer=None)


# --- What depends on a state ----------------------------------------------------------------------


def reads_states(program: Program) -> frozenset[str]:
    """Names of the neurons whose input is computed from states, not from spikes alone."""
    seen: set[Any] = set()
    found: set[str] = set()
    for place, item in enumerate(program.items):
        if isinstance(item, Loop):
            inside = _inside(item, seen)
            names = neuron_names(item.body)
            found |= {name for at, name in names.items() if _any(item.body[at].args[0], inside.__contains__)}
            seen |= {Ref(place, out) for out, kept in enumerate(item.kept) if kept.value in inside}
        elif item.op == NEURON:
            if _any(item.args[0], seen.__contains__):
                found.add(item.path)
            seen |= {Ref(place, out) for out in range(1, len(item.results))}
        elif _any((item.args, item.kwargs), seen.__contains__):
            seen |= {Ref(place, out) for out in range(len(item.results))}
    return frozenset(found)


def _inside(loop: Loop, seen: set[Any]) -> set[Any]:
    """The sources of a loop that depend on states, given those outside of it."""
    inside = {*seen, *(InSequence(i) for i, source in enumerate(loop.sequences) if source in seen)}
    size = -1
    while len(inside) != size:
        size = len(inside)
        for at, node in enumerate(loop.body):
            if node.op == NEURON:
                inside |= {Local(at, out) for out in range(1, len(node.results))}
            elif _any((node.args, node.kwargs), inside.__contains__):
                inside |= {Local(at, out) for out in range(len(node.results))}
        for place, handed in enumerate(loop.carries):
            if handed.new in inside or handed.init in inside:
                inside.add(Carry(place))
    return inside


def _any(tree: Any, holds: Callable[[Any], bool]) -> bool:
    return any(holds(source) for source in flat(tree) if isinstance(source, SOURCES))
