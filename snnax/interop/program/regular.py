"""Make the steps of a loop alike, before it is looked for: without a change of what is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from snnax.interop.program.cleaning import needed, renamed_item
from snnax.interop.program.nodes import (
    FACTORIES,
    NEURON,
    RANDOM,
    Input,
    Leaf,
    Loop,
    Node,
    Program,
    Ref,
    Result,
    mapped,
)

_AHEAD = FACTORIES | {"detach", "expand", "permute", "repeat", "unsqueeze", "view", "_to_copy"}
"""What the first step may have done to make a state, where later steps have one."""


def regular(program: Program) -> Program:
    """A program without loops as one whose steps are alike."""
    return weights_first(single_entries(joined(program)))


def joined(program: Program) -> Program:
    """A program without loops, with records that grow, ``cat((record, x))`` in every step, joined once at the end.

    Steps have one shape then, as those of a loop have.
    """
    nodes = [item for item in program.items if isinstance(item, Node)]
    grown = {Ref(i): n for i, n in enumerate(nodes) if n.op == "cat"}
    inner = {e for n in grown.values() for e in n.args[0] if e in grown and _same_axis(n, grown[e])}
    items: list[Node | Loop] = []
    for index, node in enumerate(nodes):
        if node.op == "cat" and Ref(index) not in inner:
            items.append(replace(node, args=(_parts(node, grown, inner), *node.args[1:])))
        else:
            items.append(node)
    rest = {index for index in range(len(items)) if Ref(index) not in inner}
    return needed(replace(program, items=items), also=lambda *_: rest)


def _parts(node: Node, grown: dict[Ref, Node], inner: set[Ref]) -> list[Any]:
    """What a record is made of that grew step by step."""
    found: list[Any] = []
    todo = [*reversed(node.args[0])]
    while todo:
        entry = todo.pop()
        if entry in inner and _same_axis(node, grown[entry]):
            todo += reversed(grown[entry].args[0])
        else:
            found.append(entry)
    return found


def _same_axis(node: Node, other: Node) -> bool:
    return (node.args[1:], node.kwargs) == (other.args[1:], other.kwargs)


def single_entries(program: Program) -> Program:
    """A program without loops, with slices of one entry, ``x[:, t : t + 1]``, as that entry with its axis put back.

    An entry may be at another place in every step of a loop, a slice may not.
    """
    items: list[Node | Loop] = []
    places: dict[int, int] = {}

    def renamed(entry: Any) -> Any:
        return Ref(places[entry.node], entry.out) if isinstance(entry, Ref) else entry

    for index, item in enumerate(program.items):
        node = renamed_item(item, renamed)
        if isinstance(node, Node) and _is_single(node):
            axis, start = node.args[-3], node.args[-2]
            source = node.args[-4] if node.op == "slice_scatter" else node.args[0]
            form = _without(node, axis)
            items.append(
                replace(
                    node,
                    op="select.int",
                    args=(source, axis, 0 if node.op == "slice_scatter" else start),
                    results=(form,),
                )
            )
            entry = Ref(len(items) - 1)
            if node.op == "slice_scatter":
                items.append(replace(node, op="select_scatter", args=(node.args[0], entry, axis, start)))
            else:
                items.append(replace(node, op="unsqueeze", args=(entry, axis)))
        else:
            items.append(node)
        places[index] = len(items) - 1
    outputs, updates = mapped((program.outputs, program.updates), renamed)
    return replace(program, items=items, outputs=outputs, updates=updates)


def _is_single(node: Node) -> bool:
    """True for a slice of one entry, read or written."""
    first = {"slice.Tensor": 1, "slice_scatter": 2}.get(node.op)
    if first is None or len(node.args) != first + 3 or node.kwargs:
        return False
    axis, start, end = node.args[first:]
    if not all(isinstance(number, int) and number >= 0 for number in (axis, start, end)) or end != start + 1:
        return False
    return node.op == "slice_scatter" or node.results[0].shape[axis] == 1


def _without(node: Node, axis: int) -> Result:
    """The form of one entry along an axis."""
    (result,) = node.results
    return Result((*result.shape[:axis], *result.shape[axis + 1 :]), result.dtype)


def weights_first(program: Program) -> Program:
    """A program without loops, with what is computed from parameters alone, in each step anew, once and in front.

    Zeros and other constants of a shape go there too: the first step often has some where later ones have a state.
    What is computed from those stays, since it is the first step of something.
    """
    nodes = [item for item in program.items if isinstance(item, Node)]
    keys: list[Any] = []
    merged: list[Any] = []  # for each operation, the first of its kind
    first: dict[Any, int] = {}
    for index, node in enumerate(nodes):
        entries = tuple(Ref(merged[e.node], e.out) if isinstance(e, Ref) else e for e in node.inputs)
        key = _weight_key(node, entries, keys, program.inputs)
        keys.append(key)
        merged.append(index if key is None else first.setdefault(key, index))
    often = Counter(key for key in keys if key is not None)
    front = [i for k, i in first.items() if often[k] > 1 or nodes[i].base in _AHEAD]
    front = sorted(_behind(front, nodes, merged))
    ahead = {merged[i] for i in front}
    order = [*front, *(i for i in range(len(nodes)) if merged[i] not in ahead)]
    places = {old: new for new, old in enumerate(order)}

    def renamed(entry: Any) -> Any:
        if not isinstance(entry, Ref):
            return entry
        source = merged[entry.node] if merged[entry.node] in ahead else entry.node
        return Ref(places[source], entry.out)

    outputs, updates = mapped((program.outputs, program.updates), renamed)
    items = [renamed_item(nodes[i], renamed) for i in order]
    return replace(program, items=items, outputs=outputs, updates=updates)


def _weight_key(node: Node, entries: tuple[Any, ...], keys: list[Any], inputs: Sequence[Input]) -> Any:
    """What says that two operations on parameters are one; None for others."""
    if node.op == NEURON or node.base in RANDOM:
        return None
    for entry in entries:
        if isinstance(entry, Ref) and (keys[entry.node] is None or keys[entry.node][0] in FACTORIES):
            return None
        if isinstance(entry, Leaf) and not _is_held(inputs[entry.index]):
            return None
    form = repr(mapped((node.args, node.kwargs), lambda _: 0))
    kinds = tuple(type(entry) for entry in entries)
    if not any(isinstance(entry, Ref | Leaf) for entry in entries) and node.base not in FACTORIES:
        return None
    return (
        node.base,
        node.op,
        entries,
        kinds,
        form,
        node.results,
        node.gradient,
        node.function and node.function.kind,
    )


def _is_held(entry: Input) -> bool:
    """True for what a module holds: what Python made is perhaps the first step's."""
    return entry.kind in ("parameter", "buffer") or (entry.kind == "constant" and bool(entry.name))


def _behind(front: list[int], nodes: list[Node], merged: list[int]) -> set[int]:
    """Operations and what they are computed from."""
    found: set[int] = {*front}
    todo = [*front]
    while todo:
        for entry in nodes[todo.pop()].inputs:
            if isinstance(entry, Ref) and merged[entry.node] not in found:
                found.add(merged[entry.node])
                todo.append(merged[entry.node])
    return found
