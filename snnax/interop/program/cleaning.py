"""Take out of a trace what computes nothing, and what nothing needs."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import replace
from typing import Any, cast

from snnax.interop.program.nodes import (
    STRAIGHT,
    SURROGATE,
    Carry,
    Handed,
    Input,
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

_COPIES = frozenset({"alias", "clone", "contiguous", "lift_fresh"})
_FILLS = {"zeros_like": "zeros", "new_zeros": "zeros", "ones_like": "ones", "new_ones": "ones"}
_VIEWS = frozenset({"expand", "view", "_unsafe_view", "_to_copy", "squeeze", "unsqueeze", "slice"})


def clean(trace: Program, nodes: list[Node]) -> Program:
    """A program of the operations that the outputs and updates of a trace need.

    Zeros "like" something depend on its shape only, and become plain ones: of what a state was before its reset, the
    program then knows nothing.

    A copy, and a view that shows all of a tensor as it is, pass their input on. Under ``torch.no_grad()`` they pass on
    all but the gradient: they become ``detach``. Inside of a ``torch.autograd.Function`` they stay, since that may be
    all that it does; of one that is a known spike function, one operation is left.

    What is written past autograd into something that has no gradient is just written.

    Args:
        trace: what was recorded; its items are not looked at.
        nodes: its operations.
    """
    same: dict[Ref, Any] = {}
    kept: list[Node] = []
    trained: set[Ref] = set()  # what a gradient goes through
    for index, node in enumerate(_spike_functions(nodes)):
        now = _plain(replace(node, args=_forward(node.args, same), kwargs=_forward(node.kwargs, same)))
        if now.function is None and _passes_on(now, kept, trace.inputs):
            if now.gradient:
                same[Ref(index)] = now.args[0]
            else:
                now = replace(now, op="detach", args=now.args[:1], kwargs={})
        if now.op == STRAIGHT and not _flows(now.args[0], trained):
            now = replace(now, op="detach", args=now.args[1:])
        if _passes_gradients(now, trained):
            trained.update(Ref(index, out) for out in range(len(now.results)))
        kept.append(now)
    ends = _forward((trace.outputs, trace.updates), same)
    cleaned = replace(trace, items=list[Node | Loop](kept), outputs=ends[0], updates=ends[1])
    return needed(cleaned, also=_last_steps)


def _flows(source: Any, trained: set[Ref]) -> bool:
    """True for a source that may have a gradient: no constants, and what is made of them."""
    return isinstance(source, Leaf) or source in trained


def _passes_gradients(node: Node, trained: set[Ref]) -> bool:
    if node.base == "detach" or not (node.gradient or node.function):
        return False
    sources = node.args[:1] if node.op == STRAIGHT else node.inputs
    return any(_flows(source, trained) for source in sources if isinstance(source, Ref | Leaf))


def _spike_functions(nodes: list[Node]) -> list[Node]:
    """The operations, with the last one of each call of a known spike function in place of all that the call did."""
    found = [*nodes]
    start = 0
    while start < len(nodes):
        call, end = nodes[start].function, start + 1
        if call is None or call.surrogate is None:
            start += 1
            continue
        while end < len(nodes) and nodes[end].function == call:
            end += 1
        x = next((entry for entry in nodes[start].inputs if isinstance(entry, Ref | Leaf)), None)
        if x is not None:
            last, at_zero = nodes[end - 1], any(node.base == "ge" for node in nodes[start:end])
            found[end - 1] = replace(last, op=SURROGATE, args=(x, *call.surrogate, at_zero), kwargs={})
        start = end
    return found


def _forward(tree: Any, same: dict[Ref, Any]) -> Any:
    return mapped(tree, lambda entry: same.get(entry, entry) if isinstance(entry, Ref) else entry)


def _plain(node: Node) -> Node:
    """Zeros and ones of a shape, in place of those of the shape of something."""
    if node.op not in _FILLS:
        return node
    (result,) = node.results
    return replace(node, op=_FILLS[node.op], args=([*result.shape],), kwargs={"dtype": result.dtype})


def _passes_on(node: Node, nodes: Many[Node], inputs: Many[Input]) -> bool:
    """True for an operation whose result is its input."""
    if not node.args or not isinstance(node.args[0], Ref | Leaf):
        return False
    return node.base in _COPIES or (
        node.base in _VIEWS and node.results[0] == result_of(node.args[0], nodes, inputs)
    )


def result_of(source: Any, nodes: Many[Node], inputs: Many[Input]) -> Result:
    """Shape and data type of a value of a program without loops."""
    if isinstance(source, Leaf):
        return inputs[source.index].result
    return nodes[source.node].results[source.out]


def needed(
    program: Program, also: Callable[[Many[Node | Loop], set[int]], set[int]] | None = None
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
        items=[renamed_item(items[i], renamed) for i in order],
        arguments=arguments,
        outputs=outputs,
        updates=updates,
    )


def trimmed(loop: Loop) -> Loop:
    """A loop without what none of its kept values needs: operations, carries and sequences."""
    nodes: set[int] = set()
    carries: set[int] = set()
    sequences: set[int] = set()
    todo = [kept.value for kept in loop.kept]
    while todo:
        entry = todo.pop()
        if isinstance(entry, Local) and entry.node not in nodes:
            nodes.add(entry.node)
            todo += loop.body[entry.node].inputs
        elif isinstance(entry, Carry) and entry.index not in carries:
            carries.add(entry.index)
            todo.append(loop.carries[entry.index].new)
        elif isinstance(entry, Sequence):
            sequences.add(entry.index)
    places = [{old: new for new, old in enumerate(sorted(used))} for used in (nodes, carries, sequences)]

    def renamed(entry: Any) -> Any:
        if isinstance(entry, Local):
            return Local(places[0][entry.node], entry.out)
        if isinstance(entry, Carry):
            return Carry(places[1][entry.index])
        return Sequence(places[2][entry.index]) if isinstance(entry, Sequence) else entry

    return Loop(
        loop.steps,
        [cast(Node, renamed_item(loop.body[i], renamed)) for i in places[0]],
        [replace(loop.carries[i], new=renamed(loop.carries[i].new)) for i in places[1]],
        [loop.sequences[i] for i in places[2]],
        [replace(kept, value=renamed(kept.value)) for kept in loop.kept],
    )


def _reached(items: Many[Node | Loop], ends: set[int]) -> set[int]:
    """``ends``, and everything that they are computed from."""
    found: set[int] = set()
    todo = [*ends]
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += [entry.node for entry in flat(_held(items[index])) if isinstance(entry, Ref)]
    return found


def _last_steps(items: Many[Node | Loop], live: set[int]) -> set[int]:
    """Operations that nothing needs, of lines that other steps need: without them the last step is another one."""
    places = {(n.op, n.path, n.line) for i in live if isinstance(n := items[i], Node) and n.line}
    return {
        index
        for index, node in enumerate(items)
        if index not in live and isinstance(node, Node) and (node.op, node.path, node.line) in places
    }


def _held(item: Node | Loop) -> Any:
    """Everything that an item takes from outside, and from inside."""
    if isinstance(item, Node):
        return (item.args, item.kwargs)
    carried = [(handed.init, handed.new) for handed in item.carries]
    return ([_held(node) for node in item.body], carried, item.sequences)


def renamed_item(item: Node | Loop, renamed: Callable[[Any], Any]) -> Node | Loop:
    """An item with other sources in place of its own."""
    if isinstance(item, Node):
        return replace(item, args=mapped(item.args, renamed), kwargs=mapped(item.kwargs, renamed))
    return Loop(
        item.steps,
        [cast(Node, renamed_item(node, renamed)) for node in item.body],
        [Handed(renamed(h.init), renamed(h.new), h.result) for h in item.carries],
        mapped(item.sequences, renamed),
        item.kept,
    )
