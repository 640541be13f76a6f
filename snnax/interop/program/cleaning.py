"""Take out of a trace what computes nothing, and what nothing needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from snnax.interop.program.nodes import (
    FACTORIES,
    NEURON,
    RANDOM,
    Handed,
    Input,
    Leaf,
    Loop,
    Node,
    Program,
    Ref,
    Result,
    flat,
    mapped,
)

_COPIES = frozenset({"alias", "clone", "contiguous", "lift_fresh"})
_FILLS = {"zeros_like": "zeros", "new_zeros": "zeros", "ones_like": "ones", "new_ones": "ones"}
_AHEAD = FACTORIES | {"detach", "expand", "permute", "repeat", "unsqueeze", "view", "_to_copy"}
"""What the first step may have done to make a state, where later steps have one."""

_VIEWS = frozenset({"expand", "view", "_unsafe_view", "_to_copy", "squeeze", "unsqueeze", "slice"})


def clean(trace: Program, nodes: list[Node]) -> Program:
    """A program of the operations that the outputs and updates of a trace need.

    Zeros "like" something depend on its shape only, and become plain ones: of what a state was before its reset, the
    program then knows nothing.

    A copy, and a view that shows all of a tensor as it is, pass their input on. Under ``torch.no_grad()`` they pass on
    all but the gradient: they become ``detach``. Inside of a ``torch.autograd.Function`` they stay, since that may be
    all that it does.

    Args:
        trace: what was recorded; its items are not looked at.
        nodes: its operations.
    """
    same: dict[Ref, Any] = {}
    kept: list[Node] = []
    for index, node in enumerate(nodes):
        now = _plain(replace(node, args=_forward(node.args, same), kwargs=_forward(node.kwargs, same)))
        if now.function is None and _passes_on(now, kept, trace.inputs):
            if now.gradient:
                same[Ref(index)] = now.args[0]
            else:
                now = replace(now, op="detach", args=now.args[:1], kwargs={})
        kept.append(now)
    ends = _forward((trace.outputs, trace.updates), same)
    cleaned = replace(trace, items=list[Node | Loop](kept), outputs=ends[0], updates=ends[1])
    return needed(cleaned, also=_last_steps)


def _forward(tree: Any, same: dict[Ref, Any]) -> Any:
    return mapped(tree, lambda entry: same.get(entry, entry) if isinstance(entry, Ref) else entry)


def _plain(node: Node) -> Node:
    """Zeros and ones of a shape, in place of those of the shape of something."""
    if node.op not in _FILLS:
        return node
    (result,) = node.results
    return replace(node, op=_FILLS[node.op], args=([*result.shape],), kwargs={"dtype": result.dtype})


def _passes_on(node: Node, nodes: Sequence[Node], inputs: Sequence[Input]) -> bool:
    """True for an operation whose result is its input."""
    if not node.args or not isinstance(node.args[0], Ref | Leaf):
        return False
    return node.base in _COPIES or (
        node.base in _VIEWS and node.results[0] == result_of(node.args[0], nodes, inputs)
    )


def result_of(source: Any, nodes: Sequence[Node], inputs: Sequence[Input]) -> Result:
    """Shape and data type of a value of a program without loops."""
    if isinstance(source, Leaf):
        return inputs[source.index].result
    return nodes[source.node].results[source.out]


def needed(
    program: Program, also: Callable[[Sequence[Node | Loop], set[int]], set[int]] | None = None
) -> Program:
    """Without items that no output or update needs; items and leaves are numbered anew, all arguments stay.

    Args:
        program: any.
        also: from the items and the numbers of those that are needed, others that stay with all that they need.
    """
    items = program.items
    live = _reached(items, {e.node for e in flat((program.outputs, program.updates)) if isinstance(e, Ref)})
    if also is not None:
        live = _reached(items, live | also(items, live))
    order = sorted(live)
    ends = (program.arguments, program.outputs, program.updates)
    used = [ends[0], [_held(items[i]) for i in order], ends[1:]]
    leaves = dict.fromkeys(entry for entry in flat(used) if isinstance(entry, Leaf))
    moved: dict[Any, Any] = {leaf: Leaf(index) for index, leaf in enumerate(leaves)}
    places = {old: new for new, old in enumerate(order)}

    def renamed(entry: Any) -> Any:
        if isinstance(entry, Ref):
            return Ref(places[entry.node], entry.out)
        return moved[entry] if isinstance(entry, Leaf) else entry

    arguments, outputs, updates = mapped(ends, renamed)
    return replace(
        program,
        inputs=[program.inputs[leaf.index] for leaf in leaves],
        items=[_renamed(items[i], renamed) for i in order],
        arguments=arguments,
        outputs=outputs,
        updates=updates,
    )


def _reached(items: Sequence[Node | Loop], ends: set[int]) -> set[int]:
    """``ends``, and everything that they are computed from."""
    found: set[int] = set()
    todo = [*ends]
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += [entry.node for entry in flat(_held(items[index])) if isinstance(entry, Ref)]
    return found


def _last_steps(items: Sequence[Node | Loop], live: set[int]) -> set[int]:
    """Operations that nothing needs, of lines that other steps need: without them the last step is another one."""
    places = {(n.op, n.path, n.line) for i in live if isinstance(n := items[i], Node) and n.line}
    return {
        index
        for index, node in enumerate(items)
        if index not in live and isinstance(node, Node) and (node.op, node.path, node.line) in places
    }


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
    items = [_renamed(nodes[i], renamed) for i in order]
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


def _held(item: Node | Loop) -> Any:
    """Everything that an item takes from outside, and from inside."""
    if isinstance(item, Node):
        return (item.args, item.kwargs)
    carried = [(handed.init, handed.new) for handed in item.carries]
    return ([_held(node) for node in item.body], carried, item.sequences)


def _renamed(item: Node | Loop, renamed: Callable[[Any], Any]) -> Node | Loop:
    if isinstance(item, Node):
        return replace(item, args=mapped(item.args, renamed), kwargs=mapped(item.kwargs, renamed))
    return Loop(
        item.steps,
        [cast(Node, _renamed(node, renamed)) for node in item.body],
        [Handed(renamed(h.init), renamed(h.new), h.result) for h in item.carries],
        mapped(item.sequences, renamed),
        item.kept,
    )
