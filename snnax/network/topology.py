"""Which node runs when: the order of a network's nodes within one time step.

Pure Python on names. A node runs after all nodes that feed it, except along a *delayed* edge, which
closes a cycle and hands over what its source computed one step earlier, and along an *early* one, whose source is a
neuron that fires by its membrane before the step. All of it takes time in proportion to the nodes and edges.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from snnax.errors import GraphError

Edge = tuple[str, str]
Node = TypeVar("Node", bound=Hashable)
INPUT = "input"
OUTPUT = "output"


@dataclass(frozen=True)
class Plan:
    """An execution order and, for each node, its sources in the order in which they are summed.

    Attributes:
        order: node names, without ``input`` and ``output``.
        sources: for each node and for ``output``: ``(source, delayed)`` in the order of the edges. Early edges
            count as delayed: their source runs later than their target.
        early: edges over which a neuron hands the spikes of this step that it has not run yet.
    """

    order: tuple[str, ...]
    sources: dict[str, tuple[tuple[str, bool], ...]]
    early: frozenset[Edge] = frozenset()

    @property
    def delayed(self) -> tuple[str, ...]:
        """Nodes whose previous output is kept as state."""
        return self._late(lambda edge: edge not in self.early)

    @property
    def ahead(self) -> tuple[str, ...]:
        """Neurons whose spikes are needed before they run."""
        return self._late(lambda edge: edge in self.early)

    def _late(self, wanted: Callable[[Edge], bool]) -> tuple[str, ...]:
        names = {s for t, entries in self.sources.items() for s, late in entries if late and wanted((s, t))}
        return tuple(name for name in self.order if name in names)


class Wiring:
    """The edges of a graph by their ends.

    Args:
        edges: ``(source, target)``.

    Attributes:
        sources: for each node what feeds it, in the order of the edges.
        targets: for each node what it feeds, in the order of the edges.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        self.sources: dict[str, list[str]] = {}
        self.targets: dict[str, list[str]] = {}
        for source, target in edges:
            self.sources.setdefault(target, []).append(source)
            self.targets.setdefault(source, []).append(target)


def fed_first(plan: Plan) -> Iterator[str]:
    """The nodes in the plan's order, but each behind one that feeds it: of a cycle, the node after the delay waits."""
    place = {name: i for i, name in enumerate(plan.order)}
    after = Wiring((s, name) for name in plan.order for s, _ in plan.sources[name]).targets
    ready = [place[name] for name in dict.fromkeys(after.get(INPUT, ()))]
    heapq.heapify(ready)
    seen = set(ready)
    while ready:
        name = plan.order[heapq.heappop(ready)]
        yield name
        for target in after.get(name, ()):
            if place[target] not in seen:
                seen.add(place[target])
                heapq.heappush(ready, place[target])


def chain(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Edges of ``input -> names[0] -> ... -> output``."""
    return tuple(pairwise([INPUT, *names, OUTPUT]))


def check_edges(names: Iterable[str], edges: Sequence[Edge]) -> None:
    """Refuse edges to unknown nodes, doubled edges, nodes without input and graphs without ends.

    Raises:
        GraphError: names the edge or node and what to do.
    """
    known = set(names)
    if reserved := known & {INPUT, OUTPUT}:
        raise GraphError(f"{sorted(reserved)} cannot be node names: they stand for the graph's own ends.")
    seen: set[Edge] = set()
    for source, target in edges:
        if (source not in known and source != INPUT) or (target not in known and target != OUTPUT):
            raise GraphError(
                f"edge {(source, target)} joins a node that does not exist; nodes are {sorted(known)}, "
                f"and {INPUT!r} may only be a source, {OUTPUT!r} only a target."
            )
        if (source, target) in seen:
            raise GraphError(
                f"edge {(source, target)} is given twice. To add a signal twice, put snnax.Scale(2.0) on it."
            )
        seen.add((source, target))
    fed = {target for _, target in edges}
    if missing := sorted((known | {OUTPUT}) - fed):
        raise GraphError(f"nothing feeds {missing}; give each of them an edge or take it out.")


@lru_cache(maxsize=256)
def plan(
    names: tuple[str, ...],
    edges: tuple[Edge, ...],
    stateful: frozenset[str] | None = None,
    delayed: tuple[Edge, ...] | None = None,
    early: tuple[Edge, ...] = (),
) -> Plan:
    """Order the nodes; edges that close a cycle become delayed.

    A depth-first walk from the input, sources before targets: in a cycle the edge that returns to a
    node already on the path is the delayed one, so ``lif -> w_rec -> lif`` reached at ``lif`` delays
    ``w_rec -> lif``. With ``stateful`` the delay moves back along a path of nodes that are not in it, to where the
    signal leaves one that is: ``lif -> w_rec``, so that a bias of ``w_rec`` acts from the first step on.

    Args:
        names: of the nodes.
        edges: ``(source, target)``.
        stateful: see above.
        delayed: the delayed edges, where they are known; each is part of a cycle.
        early: edges that wait for nothing; see :class:`Plan`.

    Raises:
        GraphError: as :func:`check_edges`, for nodes that the input does not reach, and for delayed edges that are
            none, or leave a cycle without delay.
    """
    check_edges(names, edges)
    wiring = Wiring(edges)
    skipped = {*early, *(delayed or ())}
    if lost := sorted(skipped - set(edges)):
        raise GraphError(f"{lost[0]} is to be delayed or early, but is no edge of the graph.")
    finished, closing = _walk([INPUT], wiring.targets, set())
    reached = set(finished)
    if unreached := [name for name in names if name not in reached]:
        raise GraphError(f"the input does not reach {unreached}; connect them or take them out.")
    if skipped:
        finished, closing = _walk(
            [INPUT, *(t for s, t in edges if (s, t) in skipped)], wiring.targets, skipped
        )
    order = tuple(name for name in reversed(finished) if name != INPUT)
    if delayed is not None:
        late = set(delayed)
        if closing:
            raise GraphError(f"the delayed edges leave a cycle without delay; it closes with {min(closing)}.")
        _check_cycles(names, wiring, delayed)
    elif stateful is None:
        late = closing
    else:
        late = {_moved_back(edge, wiring, stateful) for edge in closing}
    late = late - set(early)
    if skipped or stateful is not None:
        order = _sorted(order, wiring, {*late, *early})
    sources = {
        name: tuple((s, (s, name) in late or (s, name) in skipped) for s in wiring.sources.get(name, ()))
        for name in (*order, OUTPUT)
    }
    return Plan(order, sources, frozenset(early))


def _check_cycles(names: Sequence[str], wiring: Wiring, delayed: Collection[Edge]) -> None:
    """A delay on a way that leads nowhere back would be one that no other reader of the graph knows of."""
    part = components(names, wiring.targets)
    for source, target in delayed:
        if target == OUTPUT or source == INPUT or part[source] != part[target]:
            raise GraphError(
                f"edge {(source, target)} is to be delayed, but is part of no cycle. Put a snnax.Delay(1) on it."
            )


def components(names: Iterable[Node], targets: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
    """For each node the number of its strongly connected component: nodes of one cycle share it (Tarjan)."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    found: dict[Node, int] = {}
    open_nodes: list[Node] = []
    for root in names:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        open_nodes.append(root)
        stack = [(root, iter(targets.get(root, ())))]
        while stack:
            name, rest = stack[-1]
            for target in rest:
                if target == OUTPUT:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    open_nodes.append(target)
                    stack.append((target, iter(targets.get(target, ()))))
                    break
                if target not in found:
                    low[name] = min(low[name], index[target])
            else:
                stack.pop()
                if stack:
                    low[stack[-1][0]] = min(low[stack[-1][0]], low[name])
                if low[name] == index[name]:
                    while True:
                        member = open_nodes.pop()
                        found[member] = index[name]
                        if member == name:
                            break
    return found


def _moved_back(edge: Edge, wiring: Wiring, stateful: frozenset[str]) -> Edge:
    """The edge at which a closing edge's signal leaves a stateful node; itself if the way there branches."""
    source, target = edge
    while source not in stateful:
        feeding = wiring.sources.get(source, [])
        if len(feeding) != 1 or wiring.targets[source] != [target] or feeding[0] == INPUT:
            return edge
        source, target = feeding[0], source
    return source, target


def _sorted(names: tuple[str, ...], wiring: Wiring, late: Collection[Edge]) -> tuple[str, ...]:
    """``names`` with every source before its targets, late edges left out: of those that can be, the first next."""
    place = {name: i for i, name in enumerate(names)}
    waits = {
        name: sum(s != INPUT and (s, name) not in late for s in wiring.sources.get(name, ()))
        for name in names
    }
    ready = [place[name] for name in names if not waits[name]]
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for target in wiring.targets.get(name, ()):
            if target == OUTPUT or (name, target) in late:
                continue
            waits[target] -= 1
            if not waits[target]:
                heapq.heappush(ready, place[target])
    return tuple(order)


def _walk(
    roots: Sequence[str], targets: Mapping[str, Sequence[str]], skipped: Collection[Edge]
) -> tuple[list[str], set[Edge]]:
    """Depth-first search from each root, without recursion: nodes in post-order, and the edges that close a cycle."""
    finished: list[str] = []
    closing: set[Edge] = set()
    on_path: set[str] = set()
    done: set[str] = {OUTPUT}
    for root in roots:
        if root in done:
            continue
        on_path.add(root)
        stack = [(root, reversed(targets.get(root, ())))]
        while stack:
            name, rest = stack[-1]
            for target in rest:
                if (name, target) in skipped:
                    continue
                if target in on_path:
                    closing.add((name, target))
                elif target not in done:
                    on_path.add(target)
                    stack.append((target, reversed(targets.get(target, ()))))
                    break
            else:
                stack.pop()
                on_path.discard(name)
                done.add(name)
                finished.append(name)
    return finished, closing
