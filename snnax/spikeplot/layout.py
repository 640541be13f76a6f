"""Where the nodes of a graph stand in its picture: one row for each step away from the input.

Pure Python on names. Edges that close a cycle are told apart; an edge over several rows passes each of them
at a place of its own, so that it crosses no node.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Edge = tuple[str, str]
Spot = tuple[str, int] | str
"""A node, or the place where an edge passes a row: ``("a>b", row)``."""

_SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """Places in the units of the widths.

    Attributes:
        row: row of each node, 0 at the top.
        x: centre of each node, and of each place where an edge passes a row.
        forward: edges with the spots they pass, ends included.
        feedback: edges that close a cycle.
    """

    row: dict[str, int]
    x: dict[Spot, float]
    forward: list[tuple[Edge, list[Spot]]]
    feedback: list[Edge]


def layout(widths: Mapping[str, float], edges: Sequence[Edge], gap: float, lane: float) -> Layout:
    """Rows and places of nodes.

    Args:
        widths: width of each node, in the order in which nodes of one row stand to begin with.
        edges: between them.
        gap: least distance between neighbours in a row.
        lane: width that a passing edge takes.

    Example:
        >>> from snnax.spikeplot.layout import layout
        >>> found = layout({"a": 1, "b": 1, "c": 1}, [("a", "b"), ("b", "c"), ("c", "b")], 0.5, 0.2)
        >>> found.row, found.feedback
        ({'a': 0, 'b': 1, 'c': 2}, [('c', 'b')])
    """
    feedback = _feedback(list(widths), edges)
    forward = [edge for edge in edges if edge not in feedback]
    row = _rows(list(widths), forward)
    spots: list[list[Spot]] = [[] for _ in range(max(row.values(), default=0) + 1)]
    wide: dict[Spot, float] = {}
    for name, width in widths.items():
        spots[row[name]].append(name)
        wide[name] = width
    routes: list[tuple[Edge, list[Spot]]] = []
    for source, target in forward:
        passed: list[Spot] = [(f"{source}>{target}", r) for r in range(row[source] + 1, row[target])]
        for spot in passed:
            spots[spot[1]].append(spot)  # type: ignore[index]
            wide[spot] = lane
        routes.append(((source, target), [source, *passed, target]))
    return Layout(row, _places(spots, wide, routes, gap), routes, [e for e in edges if e in feedback])


def _feedback(names: Sequence[str], edges: Sequence[Edge]) -> set[Edge]:
    """Edges that return to a node on the path, in a depth-first walk from what nothing feeds."""
    targets: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        targets[source].append(target)
    fed = {target for source, target in edges if source != target}
    found: set[Edge] = set()
    done: set[str] = set()
    for start in sorted(names, key=lambda name: name in fed):
        if start in done:
            continue
        path = {start}
        stack = [(start, iter(targets[start]))]
        while stack:
            name, rest = stack[-1]
            for target in rest:
                if target in path:
                    found.add((name, target))
                elif target not in done:
                    path.add(target)
                    stack.append((target, iter(targets[target])))
                    break
            else:
                stack.pop()
                path.discard(name)
                done.add(name)
    return found


def _rows(names: Sequence[str], forward: Sequence[Edge]) -> dict[str, int]:
    """The longest way to each node."""
    row = dict.fromkeys(names, 0)
    waiting = {name: sum(target == name for _, target in forward) for name in names}
    ready = [name for name in names if not waiting[name]]
    while ready:
        name = ready.pop()
        for source, target in forward:
            if source == name:
                row[target] = max(row[target], row[name] + 1)
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
    return row


def _places(
    spots: list[list[Spot]],
    wide: Mapping[Spot, float],
    routes: Sequence[tuple[Edge, list[Spot]]],
    gap: float,
) -> dict[Spot, float]:
    """Each spot near the middle of those that it is joined to, in an order with few crossings."""
    above: dict[Spot, list[Spot]] = {}
    below: dict[Spot, list[Spot]] = {}
    for _, passed in routes:
        for upper, lower in itertools.pairwise(passed):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    x: dict[Spot, float] = {}
    for line in spots:
        _put(line, dict.fromkeys(line, 0.0), wide, gap, x)
    for sweep in range(_SWEEPS):
        near, order = (above, spots) if sweep % 2 == 0 else (below, spots[::-1])
        for line in order:
            wish = {s: sum(x[n] for n in near[s]) / len(near[s]) if near.get(s) else x[s] for s in line}
            line.sort(key=wish.__getitem__)
            _put(line, wish, wide, gap, x)
    return x


def _put(
    line: Sequence[Spot],
    wish: Mapping[Spot, float],
    wide: Mapping[Spot, float],
    gap: float,
    x: dict[Spot, float],
) -> None:
    """Places in this order as near to the wishes as the widths allow, by least squares.

    Less the room that the ones before it take, places only have to rise: neighbours that would fall are pooled.
    """
    offset, taken = [0.0], 0.0
    for before, spot in itertools.pairwise(line):
        taken += (wide[before] + wide[spot]) / 2 + gap
        offset.append(taken)
    pools: list[tuple[float, int]] = []
    for spot, room in zip(line, offset, strict=False):
        pools.append((wish[spot] - room, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, many), (high, more) = pools[-2:]
            pools[-2:] = [((low * many + high * more) / (many + more), many + more)]
    places = [mean for mean, count in pools for _ in range(count)]
    x.update({spot: place + room for spot, place, room in zip(line, places, offset, strict=False)})
