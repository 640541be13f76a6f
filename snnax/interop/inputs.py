"""Where a graph's input comes in: one array, cut into the parts of several inputs, perhaps some steps late."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from os import PathLike
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.interop.entries import FILE_OR_GRAPH, arrays
from snnax.interop.files import read_nir
from snnax.interop.graph import fit, flatten, free
from snnax.interop.numbers import plain
from snnax.network.topology import INPUT
from snnax.signals import Delay, Slice

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """The nodes of a model between its input and what the graph's ``Input`` nodes feed.

    Attributes:
        shape: shape of one sample of the model's input.
        names: for each ``Input`` node, the model's node in its place.
        nodes: module, and shapes of a sample before and after it, channels first.
        edges: between these nodes.
    """

    shape: Shape
    names: dict[str, str]
    nodes: dict[str, tuple[nn.Module, Shape, Shape]]
    edges: list[tuple[str, str]]

    @classmethod
    def of(cls, inputs: Mapping[str, Shape], delay: int, taken: Collection[str] = ()) -> Entry:
        """For these inputs, with their shapes, all of them late by ``delay`` steps; by names not ``taken``."""
        whole = next(iter(inputs.values())) if len(inputs) == 1 else (sum(map(prod, inputs.values())),)
        names: dict[str, str] = {}
        nodes: dict[str, tuple[nn.Module, Shape, Shape]] = {}
        edges: list[tuple[str, str]] = []
        begin = 0

        def put(name: str, module: nn.Module, source: str, before: Shape, after: Shape) -> str:
            name = free(fit(name), {*taken, *nodes, *(n for n in inputs if n != name)})
            nodes[name] = (module, before, after)
            edges.append((source, name))
            return name

        for name in sorted(inputs):
            shape, at = inputs[name], INPUT
            if len(inputs) > 1:
                at = put(name, Slice(begin, shape), at, whole, shape)
                begin += prod(shape)
            names[name] = put(f"{name}.late", Delay(delay), at, shape, shape) if delay else at
        return cls(whole, names, nodes, edges)


@checks.takes(graph=FILE_OR_GRAPH, inputs=arrays("arrays by Input node, as {'input': x}"))
def join_inputs(graph: nir.NIRGraph | str | PathLike[str], inputs: Mapping[str, Any]) -> np.ndarray:
    """The inputs of a graph with several, side by side as its model takes them.

    Args:
        graph: the graph or its path.
        inputs: an array ``[T, B, ...]`` for each ``Input`` node, channels first.

    Returns:
        One array ``[T, B, N]``.

    Raises:
        ArgumentError: if an input is missing or unknown.
        ShapeError: if one has another shape than its node says.
        ConversionError: if one does not hold finite real numbers.

    Example:
        >>> import nir, numpy as np
        >>> from snnax import interop
        >>> nodes = {n: nir.Input({"input": np.array([size])}) for n, size in (("a", 2), ("b", 3))}
        >>> nodes["w"], nodes["out"] = nir.Linear(np.ones((1, 2))), nir.Output({"output": np.array([1])})
        >>> nodes["v"] = nir.Linear(np.ones((1, 3)))
        >>> graph = nir.NIRGraph(nodes, [("a", "w"), ("b", "v"), ("w", "out"), ("v", "out")], type_check=False)
        >>> interop.join_inputs(graph, {"a": np.zeros((4, 1, 2)), "b": np.ones((4, 1, 3))}).shape
        (4, 1, 5)
    """
    flat = flatten(read_nir(graph) if not isinstance(graph, nir.NIRGraph) else graph)
    if set(inputs) != set(flat.inputs):
        raise ArgumentError(
            f"inputs for {sorted(inputs)}; the graph's Input nodes are {sorted(flat.inputs)}."
        )
    parts = []
    for name in sorted(flat.inputs):
        x, shape = plain(name, "input", inputs[name]), flat.inputs[name]
        if x.ndim != len(shape) + 2 or x.shape[2:] != shape:
            raise ShapeError(
                f"input {name!r} has shape {x.shape}; expected [T, B, {', '.join(map(str, shape))}]."
            )
        parts.append(x.reshape(*x.shape[:2], -1))
    return np.concatenate(parts, axis=-1)
