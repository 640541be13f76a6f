"""The shapes of samples at nodes that do not say them, as ``nir.read`` infers them."""

from __future__ import annotations

from collections import deque
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.nodes.conv import pads_of, sizes, spatial_out
from snnax.network.topology import Wiring


def infer_types(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Give pooling layers and convolutions of a graph, nested ones included, the shapes that follow from its inputs.

    A node whose shapes cannot follow, since what feeds it has none or does not fit, stays as it is.
    """
    wiring = Wiring((str(s), str(t)) for s, t in graph.edges)
    waiting = deque(graph.nodes)
    tried: set[tuple[str, str]] = set()
    for node in graph.nodes.values():
        if isinstance(node, nir.NIRGraph):
            infer_types(node)
    while waiting:
        name = waiting.popleft()
        shape = _of(graph.nodes.get(name), "output_type", "output")
        if shape is None:
            continue
        for target in wiring.targets.get(name, ()):
            node = graph.nodes.get(target)
            if (name, target) not in tried and _of(node, "output_type", "output") is None:
                tried.add((name, target))
                if _settle(target, node, shape):
                    waiting.append(target)
    return graph


def _of(node: Any, what: str, end: str) -> tuple[int, ...] | None:
    """A shape that a node says: of its one input or output."""
    try:
        given = getattr(node, what, None) or {}
        found = (
            next(iter(given.values()))
            if isinstance(node, nir.NIRGraph) and len(given) == 1
            else given.get(end)
        )
        return None if found is None else tuple(int(n) for n in np.ravel(found))
    except (TypeError, ValueError, OverflowError):
        return None


def _settle(name: str, node: Any, shape: tuple[int, ...]) -> bool:
    """Write down the shapes of a layer that gets samples of ``shape``; whether they followed."""
    pool = isinstance(node, nir.SumPool2d | nir.AvgPool2d)
    rank = 1 if isinstance(node, nir.Conv1d) else 2
    if not (pool or isinstance(node, nir.Conv1d | nir.Conv2d)) or len(shape) != rank + 1:
        return False
    try:
        kernel = sizes(node.kernel_size, rank) if pool else tuple(np.shape(node.weight)[2:])
        stride = sizes(node.stride, rank)
        dilation = (1,) * rank if pool else sizes(node.dilation, rank)
        pads = pads_of(node.padding, kernel, dilation, stride, name)
        out = spatial_out(shape[1:], kernel, stride, pads, dilation)
    except (ConversionError, ArithmeticError, TypeError, ValueError, IndexError):
        return False
    if any(n < 1 for n in out):
        return False
    channels = shape[0] if pool else int(np.shape(node.weight)[0])
    node.input_type, node.output_type = {"input": np.array(shape)}, {"output": np.array((channels, *out))}
    return True
