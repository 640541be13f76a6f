"""Loops that were found in a trace, put together with what is around them.

Sources of a trace refer to its operations; those of a program to its items, of which a loop is one. What comes after a
loop and needs a value of it gets that of the last step, or all of them stacked along a new first axis.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import replace
from typing import Any

from snnax.interop.program.cleaning import result_of
from snnax.interop.program.nodes import (
    Affine,
    Carry,
    Handed,
    Input,
    Kept,
    Leaf,
    Local,
    Loop,
    Node,
    PerStep,
    Ref,
    Result,
    Sequence,
    Whole,
    mapped,
)
from snnax.interop.program.over_time import stretch, windows
from snnax.interop.program.steps import Draft, carried, width


class Assembly:
    """Items of a program, made from left to right.

    Args:
        nodes: the operations of the trace.
        inputs: its leaves.
        drafts: the loops in it, in order.
    """

    def __init__(self, nodes: Many[Node], inputs: list[Input], drafts: Many[Draft]) -> None:
        self.items: list[Node | Loop] = []
        self.inputs = inputs
        self._nodes = nodes
        self._drafts = drafts
        self._done: dict[Ref, Ref | Leaf] = {}
        self._loops: dict[int, tuple[int, Loop, dict[int, int]]] = {}
        self._stacked: dict[Any, Any] = {}

    def add(self, first: int, last: int) -> None:
        """Add the operations from ``first`` to ``last``, and the loop that begins there."""
        for index in range(first, last):
            self._add(index)
        for found in self._drafts:
            if found.start == last and found.start not in self._loops:
                self._add_loop(found)

    def ends(self, tree: Any) -> Any:
        """``tree`` with sources in the program."""
        return mapped(tree, self.source)

    def source(self, entry: Any) -> Any:
        """A source of the trace in the program, outside of loops."""
        if not isinstance(entry, Ref):
            return entry
        if entry not in self._done:
            self._done[entry] = self._of_loop(entry)
        return self._done[entry]

    # --- Operations outside of loops

    def _add(self, index: int, steps: int = 1) -> None:
        """Operation ``index`` of the trace, which stands for what is done in ``steps`` steps of a loop."""
        node = replace(self._nodes[index], steps=steps)
        found = self._over_time(node)
        if found is not None:
            self._done[Ref(index)] = found
            return
        place = self._emit(replace(node, args=self.ends(node.args), kwargs=self.ends(node.kwargs)))
        for out in range(len(node.results)):
            self._done[Ref(index, out)] = Ref(place, out)

    def _emit(self, item: Node | Loop) -> int:
        self.items.append(item)
        return len(self.items) - 1

    def _made(self, op: str, args: tuple[Any, ...], result: Result, like: Node) -> Ref:
        """A new operation on behalf of another one."""
        node = Node(op, args, {}, (result,), like.path, None, None, like.line, like.gradient)
        return Ref(self._emit(node))

    def _over_time(self, node: Node) -> Ref | Leaf | None:
        """A ``stack`` or ``cat`` of what a loop gives in its steps, which has them stacked already."""
        if node.op not in ("stack", "cat") or not isinstance(node.args[0], list):
            return None
        runs = self._runs(node.args[0])
        if all(len(run) < 2 for run in runs):
            return None
        result = node.results[0]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        axis = axis + len(result.shape) if axis < 0 else axis
        if node.op == "cat":
            parts = [self._run_along(run, axis, node) for run in runs]
            return parts[0] if len(parts) == 1 else self._made("cat", (parts, axis), result, node)
        every = self._stack(node.args[0], runs, node)
        if not axis:
            return every
        order = [*range(1, axis + 1), 0, *range(axis + 1, len(result.shape))]
        return self._made("permute", (every, order), result, node)

    def _stack(self, entries: Many[Any], runs: list[list[Any]], like: Node) -> Any:
        """Entries along a new first axis, runs of steps as the loops have them."""
        form = result_of(entries[0], self._nodes, self.inputs)
        parts = [self._run(run, like) for run in runs]
        if len(parts) == 1:
            return parts[0]
        return self._made("cat", (parts, 0), Result((len(entries), *form.shape), form.dtype), like)

    def _runs(self, entries: Many[Any]) -> list[list[Any]]:
        """Entries in stretches: the steps of a loop, one after the other; or others, each alone."""
        found: list[list[Any]] = []
        before = None
        for entry in entries:
            place = self._running(entry)
            follows = before is not None and place == (before[0], before[1] + 1, *before[2:])
            if follows:
                found[-1].append(entry)
            else:
                found.append([entry])
            before = place
        return found

    def _running(self, entry: Any) -> tuple[Draft, int, int, int] | None:
        """Where an entry is made in the steps of a loop that is there already."""
        place = self._place(entry)
        if place is None or place[2] in place[0].same or place[2] in place[0].apart:
            return None
        return place if place[0].start in self._loops else None

    def _run(self, run: list[Any], like: Node) -> Any:
        """A stretch along a new first axis."""
        place = self._running(run[0])
        form = result_of(run[0], self._nodes, self.inputs)
        if place is None or len(run) < 2:
            return self._made(
                "unsqueeze", (self.source(run[0]), 0), Result((1, *form.shape), form.dtype), like
            )
        draft, step, position, out = place
        every = self._every(draft, Local(position, out))
        if len(run) == draft.steps:
            return every
        part = Result((len(run), *form.shape), form.dtype)
        return self._made("slice.Tensor", (every, 0, step, step + len(run)), part, like)

    def _run_along(self, run: list[Any], axis: int, like: Node) -> Any:
        """A stretch along an axis that its entries have."""
        if len(run) < 2:
            return self.source(run[0])
        form = result_of(run[0], self._nodes, self.inputs)
        every, whole = self._run(run, like), (len(run), *form.shape)
        if axis:
            order = [*range(1, axis + 1), 0, *range(axis + 1, len(whole))]
            turned = Result(tuple(whole[i] for i in order), form.dtype)
            every = self._made("permute", (every, order), turned, like)
        shape = [*form.shape]
        shape[axis] = _times(shape[axis], len(run))
        return self._made("view", (every, shape), Result(tuple(shape), form.dtype), like)

    def _place(self, entry: Any) -> tuple[Draft, int, int, int] | None:
        for draft in self._drafts:
            place = draft.place(entry)
            if place is not None:
                return (draft, *place)
        return None

    # --- Values of loops, after them

    def _of_loop(self, entry: Ref) -> Ref | Leaf:
        """The value of one step of a loop."""
        place = self._place(entry)
        if place is None:
            raise KeyError(entry)  # an operation that comes later: no trace has that
        draft, step, position, out = place
        if position in draft.same:
            return self._done[draft.at(position, draft.steps - 1, out)]
        if position in draft.apart:
            self._add(entry.node)
            return self._done[entry]
        if step == draft.steps - 1:
            return self._keep(draft, Local(position, out), every=False)
        every = self._every(draft, Local(position, out))
        node = draft.body[position]
        return self._made("select.int", (every, 0, step), node.results[out], node)

    def _every(self, draft: Draft, local: Local) -> Ref:
        return self._keep(draft, local, every=True)

    def _keep(self, draft: Draft, local: Local, every: bool) -> Ref:
        place, loop, moved = self._loops[draft.start]
        result = draft.body[local.node].results[local.out]
        if every:
            result = Result((draft.steps, *result.shape), result.dtype)
        kept = Kept(Local(moved[local.node], local.out), every, result)
        if kept not in loop.kept:
            loop.kept.append(kept)
        return Ref(place, loop.kept.index(kept))

    # --- Loops

    def _add_loop(self, draft: Draft) -> None:
        """A loop, after what is done before it on its behalf."""
        for position in sorted(draft.same):
            last = draft.at(position, draft.steps - 1)
            self._add(last.node, draft.steps)
        sequences = [self._sequence(draft, entries) for entries in draft.sequences]
        running = [i for i in range(draft.period) if i not in draft.same and i not in draft.apart]
        moved = {position: index for index, position in enumerate(running)}

        def inside(entry: Any) -> Any:
            if isinstance(entry, Local):
                return Local(moved[entry.node], entry.out)
            return entry if isinstance(entry, Carry | Sequence) else self.source(entry)

        carries = [
            Handed(
                self.source(init),
                inside(new),
                carried(draft, index, self._nodes, self.inputs),
            )
            for index, (init, new) in enumerate(draft.carries)
        ]
        body = [
            replace(node, args=mapped(node.args, inside), kwargs=mapped(node.kwargs, inside))
            for node in (draft.body[position] for position in running)
        ]
        loop = Loop(draft.steps, body, carries, sequences)
        self._loops[draft.start] = (self._emit(loop), loop, moved)

    def _sequence(self, draft: Draft, entries: Any) -> Any:
        """What a loop goes through, as one array with the axis of time first."""
        if isinstance(entries, PerStep):
            return entries
        if entries not in self._stacked:
            self._stacked[entries] = self._one_array(draft, entries)
        return self._stacked[entries]

    def _one_array(self, draft: Draft, entries: tuple[Any, ...]) -> Any:
        for known in (self._parts(draft, entries), self._unbound(entries)):
            if known is not None:
                return known
        result = result_of(entries[0], self._nodes, self.inputs)
        like = self._nodes[entries[0].node] if isinstance(entries[0], Ref) else draft.body[0]
        runs = self._runs(entries)
        if any(len(run) > 1 for run in runs):
            return self._stack(entries, runs, like)
        sources = [self.source(entry) for entry in entries]
        return self._made("stack", (sources,), Result((len(entries), *result.shape), result.dtype), like)

    def _parts(self, draft: Draft, entries: tuple[Any, ...]) -> Any:
        """Parts of one tensor along an axis: ``x[:, t]``, ``x[:, t : t + 3]``."""
        place = draft.place(entries[0])
        if place is None or place[1] not in draft.apart:
            return None
        node = draft.body[place[1]]
        whole = node.args[0]
        if node.base not in ("select", "slice") or not isinstance(whole, Ref | Leaf):
            return None
        form = result_of(whole, self._nodes, self.inputs)
        made = (
            stretch(node, form, draft.steps)
            if node.base == "select"
            else windows(node, form, width(node), draft.steps)
        )
        source = self.source(whole)
        for op, args, result in made or ():
            source = self._made(op, (source, *args), result, node)
        return source if made is not None else None

    def _unbound(self, entries: tuple[Any, ...]) -> Any:
        """The outputs of an ``unbind``, which ``for x_t in x`` goes through."""
        first = entries[0]
        if not isinstance(first, Ref) or self._nodes[first.node].base != "unbind":
            return None
        node = self._nodes[first.node]
        if [*entries] != [Ref(first.node, t) for t in range(len(node.results))]:
            return None
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        source = self.source(node.args[0])
        shape = (len(entries), *node.results[0].shape)
        axis = axis + len(shape) if axis < 0 else axis
        if not axis:
            return source
        order = [axis, *(i for i in range(len(shape)) if i != axis)]
        return self._made("permute", (source, order), Result(shape, node.results[0].dtype), node)


def _times(size: Whole, count: int) -> Whole:
    return Affine(size.slope * count, size.offset * count) if isinstance(size, Affine) else size * count
