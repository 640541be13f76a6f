"""Ways of a spike in a NIR graph: from an input or a population, over layers without memory, to a population."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop import conventions
from snnax.interop.nir.graph import FlatGraph

__all__ = ["Way", "Ways", "merged"]


@dataclass(frozen=True)
class Way:
    """From a source to a population: of each source neuron its delay, and the weights."""

    source: str
    delay: np.ndarray | None
    matrix: np.ndarray | None
    """``None`` until there is a layer with weights: each neuron to the one of its number."""


class Ways:
    """The ways through a graph, those to each layer found once.

    Args:
        flat: the graph.
        begins: whether a way begins at a node, as at a neuron; it does at inputs, too.
    """

    def __init__(self, flat: FlatGraph, begins: Callable[[nir.NIRNode], bool]) -> None:
        self.flat, self._begins = flat, begins
        self._known: dict[str, list[Way]] = {}

    def into(self, name: str) -> list[Way]:
        """All ways that end before a node.

        Raises:
            ConversionError: for a layer that has no place on a way, and for a cycle of such layers.
            ShapeError: for layers that do not fit.
        """
        self._find(self.flat.sources(name))
        return merged(way for source in self.flat.sources(name) for way in self._known[source])

    def _find(self, names: Iterable[str]) -> None:
        """Fill what is known up to some nodes; by a stack of its own, since ways may be of any length."""
        stack = [*names]
        under_way: set[str] = set()
        while stack:
            name = stack[-1]
            node = self.flat.nodes.get(name)
            if node is None or self._begins(node):
                self._known[name] = [Way(name, None, None)]
            missing = [] if name in self._known else self._missing(name)
            if missing and name in under_way:
                raise ConversionError(name, "is on a cycle without neurons", "Remove an edge of it.")
            if missing:
                under_way.add(name)
                stack += missing
                continue
            if name not in self._known and node is not None:
                before = (way for source in self.flat.sources(name) for way in self._known[source])
                self._known[name] = merged(_after(name, node, way) for way in before)
            stack.pop()

    def _missing(self, name: str) -> list[str]:
        return [source for source in self.flat.sources(name) if source not in self._known]


def merged(ways: Iterable[Way]) -> list[Way]:
    """Ways that differ in nothing but their weights as one, so that many parallel layers are no more than one."""
    found: dict[tuple[Any, ...], Way] = {}
    for way in ways:
        key = (way.source, way.matrix is None, None if way.delay is None else way.delay.tobytes())
        known = found[key].matrix if key in found else None
        if known is None or way.matrix is None:
            found.setdefault(key, way)
        elif known.shape != way.matrix.shape:
            raise ShapeError(f"{known.shape[1]} and {way.matrix.shape[1]} values from {way.source!r} meet.")
        else:
            found[key] = replace(way, matrix=known + way.matrix)
    return list(found.values())


def _after(name: str, node: nir.NIRNode, way: Way) -> Way:
    """A way, with one more layer at its end."""
    width = None if way.matrix is None else way.matrix.shape[1]
    if isinstance(node, nir.Affine) and np.any(node.bias):
        raise ConversionError(
            name,
            "has a bias, which is no spike",
            "Set it to 0, and drive the neurons by v_leak or a spike at time 0.",
        )
    if isinstance(node, nir.Linear | nir.Affine) and np.ndim(node.weight) == 2:
        weight = conventions.kernel_from_torch(np.asarray(node.weight, np.float64))
        if width not in (None, len(weight)):
            raise ShapeError(f"{name!r} takes {len(weight)} values, and gets {width}.")
        return replace(way, matrix=weight if way.matrix is None else way.matrix @ weight)
    if isinstance(node, nir.Scale) and np.ndim(node.scale) == 1:
        scale = np.asarray(node.scale, np.float64)
        if width not in (None, len(scale)):
            raise ShapeError(f"{name!r} takes {len(scale)} values, and gets {width}.")
        return replace(way, matrix=np.diag(scale) if way.matrix is None else way.matrix * scale)
    if isinstance(node, nir.Delay) and np.ndim(node.delay) <= 1:
        return _late(name, np.atleast_1d(np.asarray(node.delay, np.float64)), way)
    if isinstance(node, nir.Flatten):
        return way
    raise ConversionError(
        name,
        f"a {type(node).__name__} of this shape has no form in a network of events",
        "Linear, Affine without a bias, Scale and Delay of vectors have, between CubaLIF neurons; write other layers "
        "as the Linear that they are, or use interop.from_nir.",
    )


def _late(name: str, delay: np.ndarray, way: Way) -> Way:
    """A delay in front of the weights is of each neuron; behind them all sums need the same."""
    if way.matrix is not None and np.any(delay != delay[0]):
        raise ConversionError(
            name,
            "delays each of the sums behind the weights by a time of its own",
            "An axon has the delay of the neuron before the weights: put the Delay in front of them, or use one delay.",
        )
    if way.matrix is not None:
        delay = delay[:1]
    if way.delay is not None and 1 not in (delay.size, way.delay.size) and delay.size != way.delay.size:
        raise ShapeError(f"{name!r} delays {delay.size} values, and gets {way.delay.size}.")
    return replace(way, delay=delay if way.delay is None else way.delay + delay)
