"""Which node runs when: the order of a network's nodes within one time step.

Pure Python on names. A node runs after all nodes that feed it, except along a *delayed* edge, which
closes a cycle and hands over what its source computed one step earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from snnax.errors import GraphError

INPUT = "input"
OUTPUT = "output"


@dataclass(frozen=True)
class Plan:
    """An execution order and, for each node, its sources in the order in which they are summed.

    Attributes:
        order: node names, without ``input`` and ``output``.
        sources: for each node and for ``output``: ``(source, delayed)`` in the order of the edges.
    """

    order: tuple[str, ...]
    sources: dict[str, tuple[tuple[str, bool], ...]]

    @property
    def delayed(self) -> tuple[str, ...]:
        """Nodes whose previous output is kept as state."""
        names = {source for entries in self.sources.values() for source, late in entries if late}
        return tuple(name for name in self.order if name in names)


def chain(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Edges of ``input -> names[0] -> ... -> output``."""
    return tuple(pairwise([INPUT, *names, OUTPUT]))


def check_edges(names: Iterable[str], edges: Sequence[tuple[str, str]]) -> None:
    """Refuse edges to unknown nodes, doubled edges, nodes without input and graphs without ends.

    Raises:
        GraphError: names the edge or node and what to do.
    """
    known = set(names)
    if reserved := known & {INPUT, OUTPUT}:
        raise GraphError(f"{sorted(reserved)} cannot be node names: they stand for the graph's own ends.")
    seen: set[tuple[str, str]] = set()
    for source, target in edges:
        if source not in known | {INPUT} or target not in known | {OUTPUT}:
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
    names: tuple[str, ...], edges: tuple[tuple[str, str], ...], stateful: frozenset[str] | None = None
) -> Plan:
    """Order the nodes; edges that close a cycle become delayed.

    A depth-first walk from the input, sources before targets: in a cycle the edge that returns to a
    node already on the path is the delayed one, so ``lif -> w_rec -> lif`` reached at ``lif`` delays
    ``w_rec -> lif``. With ``stateful`` the delay moves back along a path of nodes that are not in it, to where the
    signal leaves one that is: ``lif -> w_rec``, so that a bias of ``w_rec`` acts from the first step on.

    Raises:
        GraphError: as :func:`check_edges`, and for nodes that the input does not reach.
    """
    check_edges(names, edges)
    targets: dict[str, list[str]] = {name: [] for name in (INPUT, *names)}
    for source, target in edges:
        if target != OUTPUT:
            targets[source].append(target)
    finished: list[str] = []
    delayed: set[tuple[str, str]] = set()
    _walk(targets, finished, delayed)
    if unreached := [name for name in names if name not in set(finished)]:
        raise GraphError(f"the input does not reach {unreached}; connect them or take them out.")
    order = tuple(name for name in reversed(finished) if name != INPUT)
    if stateful is not None and delayed:
        delayed = {_moved_back(edge, edges, stateful) for edge in delayed}
        order = _sorted(order, edges, delayed)
    sources: dict[str, tuple[tuple[str, bool], ...]] = {}
    for name in (*order, OUTPUT):
        sources[name] = tuple((s, (s, t) in delayed) for s, t in edges if t == name)
    return Plan(order, sources)


def _moved_back(
    edge: tuple[str, str], edges: tuple[tuple[str, str], ...], stateful: frozenset[str]
) -> tuple[str, str]:
    """The edge at which a closing edge's signal leaves a stateful node; itself if the way there branches."""
    source, target = edge
    while source not in stateful:
        feeding = [s for s, t in edges if t == source]
        fed = [t for s, t in edges if s == source]
        if len(feeding) != 1 or fed != [target] or feeding[0] == INPUT:
            return edge
        source, target = feeding[0], source
    return source, target


def _sorted(
    names: tuple[str, ...], edges: tuple[tuple[str, str], ...], delayed: set[tuple[str, str]]
) -> tuple[str, ...]:
    """``names`` with every source before its targets, delayed edges left out."""
    before = {
        name: {s for s, t in edges if t == name and s != INPUT and (s, t) not in delayed} for name in names
    }
    order: list[str] = []
    while len(order) < len(names):
        order.append(next(n for n in names if n not in order and before[n] <= set(order)))
    return tuple(order)


def _walk(targets: dict[str, list[str]], finished: list[str], delayed: set[tuple[str, str]]) -> None:
    """Iterative depth-first search from the input: fills the post-order and the back edges."""
    on_path = {INPUT}
    done: set[str] = set()
    stack = [(INPUT, iter(reversed(targets[INPUT])))]
    while stack:
        name, rest = stack[-1]
        for target in rest:
            if target in on_path:
                delayed.add((name, target))
            elif target not in done:
                on_path.add(target)
                stack.append((target, iter(reversed(targets[target]))))
                break
        else:
            stack.pop()
            on_path.discard(name)
            done.add(name)
            finished.append(name)
