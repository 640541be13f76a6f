"""What is wrong with other people's graphs and can mean one thing only: put right, and said.

Nothing here guesses. A repair is made where a single reading is possible; everything else stays as it is and is
refused by the checks that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError, NIRFileError
from snnax.interop.nir.extension import Extension
from snnax.interop.numbers import array

Edge = tuple[str, str]


def renamed(names: Sequence[str], edges: Sequence[Edge], where: str) -> tuple[list[Edge], list[str]]:
    """Edges to a name that does not exist, in a graph where exactly one node has no edge, go to that node.

    Args:
        names: the graph's nodes.
        edges: its edges.
        where: name of the graph, for the note; empty for the outermost one.

    Returns:
        The edges, and what was done in words.
    """
    known = set(names)
    unknown = list(dict.fromkeys(end for edge in edges for end in edge if end not in known))
    used = {end for edge in edges for end in edge}
    idle = [name for name in names if name not in used]
    if len(unknown) != 1 or len(idle) != 1:
        return list(edges), []
    right = {unknown[0]: idle[0]}
    found = [(right.get(s, s), right.get(t, t)) for s, t in edges]
    place = f"nested graph {where!r}" if where else "the graph"
    return found, [
        f"{place}: edges name {unknown[0]!r}, which is no node; taken as {idle[0]!r}, which had no edge"
    ]


def sample_shape(
    name: str, shape: tuple[int, ...], consumers: Sequence[Any]
) -> tuple[tuple[int, ...], list[str]]:
    """The shape of one sample, without a batch axis that was left in.

    Args:
        name: of the Input node.
        shape: as the node gives it.
        consumers: the nodes that it feeds.

    Returns:
        The shape, and what was done in words.
    """
    one = prod(shape) == 1
    ranks = {found for node in consumers if (found := _rank(node, one)) is not None}
    rank = ranks.pop() if len(ranks) == 1 else len(shape)
    if len(shape) <= rank:
        return shape, []
    rest = shape[-rank:]
    return rest, [f"input {name!r}: its shape {shape} has more axes than what it feeds takes; read as {rest}"]


def takers(name: str, nodes: Mapping[str, Any], targets: Mapping[str, Sequence[str]]) -> list[Any]:
    """The nodes that an Input feeds, through neurons whose one number fits samples of any shape.

    Args:
        name: of the Input.
        nodes: of the graph.
        targets: what each node feeds.
    """
    found, waiting, seen = [], [name], {name}
    while waiting:
        at = waiting.pop()
        if at in nodes:
            found.append(nodes[at])
        if at == name or _shapeless(nodes.get(at)):
            after = [t for t in targets.get(at, ()) if t not in seen]
            seen.update(after)
            waiting += after
    return found


def _shapeless(node: Any) -> bool:
    """True for a neuron, threshold, scale or delay with numbers of no shape."""
    keys = ("r", "threshold", "scale", "delay")
    return any(hasattr(node, key) and np.size(getattr(node, key)) == 1 for key in keys)


def output_shape(name: str, given: Any, found: tuple[int, ...]) -> list[str]:
    """A note if an Output node claims another shape than what feeds it has.

    Raises:
        NIRFileError: if it claims what is no shape.
    """
    if given is None or (claimed := sizes(f"Output node {name!r}", given)) == found:
        return []
    return [f"output {name!r}: it says {claimed}, what feeds it has shape {found}"]


def sizes(who: str, given: Any) -> tuple[int, ...]:
    """A shape that a node claims.

    Raises:
        NIRFileError: for what is none.
    """
    try:
        found = np.ravel(array(who, "", given))
    except ConversionError as error:
        raise NIRFileError(f"{who} has a shape that {error.problem}; expected sizes.") from error
    if found.dtype.kind not in "fiu" or not (np.isfinite(found) & (np.abs(found) < 2**62)).all():
        raise NIRFileError(f"{who} has the shape {np.array2string(found, threshold=4)}; expected sizes.")
    return tuple(int(n) for n in found)


def input_claim(name: str, node: Any, shape: tuple[int, ...]) -> list[str]:
    """A note if a node says that it gets samples of another shape than it does."""
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        given, found = node.input_shape, shape[1:]
    elif isinstance(node, nir.Flatten | Extension):
        given, found = (node.input_type or {}).get("input"), shape
    else:
        return []
    if given is None or (claimed := sizes(f"node {name!r}", given)) == tuple(found):
        return []
    return [f"node {name!r}: it says that it gets {claimed}, what feeds it has shape {found}"]


def _rank(node: Any, one: bool) -> int | None:
    """Number of axes of one sample that a node takes, of a single number if ``one``; ``None`` if it takes any."""
    if isinstance(node, nir.Affine | nir.Linear):
        return 1 if np.ndim(node.weight) == 2 else None
    if isinstance(node, nir.Conv1d):
        return 2
    if isinstance(node, nir.Conv2d | nir.SumPool2d | nir.AvgPool2d):
        return 3
    threshold = getattr(node, "v_threshold", None)
    if threshold is None or (np.size(threshold) == 1 and not one):
        return None  # one number, for neurons of any shape
    return np.ndim(threshold) or None
