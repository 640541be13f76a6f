"""AvgPool2d and SumPool2d nodes <-> layers; the other poolings as extensions."""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import Any

import nir
import numpy as np

from snnax import layers
from snnax.errors import ShapeError
from snnax.interop.layers.conv import check_padded, settle_types, sizes, spatial_out, windows
from snnax.interop.layers.entries import axes_of
from snnax.interop.layers.registry import (
    Array,
    Built,
    Function,
    Shape,
    Site,
    Variables,
    builds,
    evaluates,
    sums,
    writes,
)
from snnax.interop.nir.extension import Extension

POOLS = {
    name: getattr(layers, name)
    for name in ("AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d", "SumPool1d", "SumPool2d")
}
_NODES: dict[str, Any] = {"AvgPool2d": nir.AvgPool2d, "SumPool2d": nir.SumPool2d}


_KEYS = (nir.AvgPool2d, nir.SumPool2d, "AvgPool1d", "MaxPool1d", "MaxPool2d", "SumPool1d")


def window(node: Any) -> tuple[str, Shape, Shape, Shape]:
    """A pooling node's name, as ``AvgPool2d``, kernel, stride and padding."""
    name = node.op if isinstance(node, Extension) else type(node).__name__
    given = node.options if isinstance(node, Extension) else vars(node)
    kernel, stride, padding = (sizes(given[k], int(name[-2])) for k in ("kernel_size", "stride", "padding"))
    return name, kernel, stride, padding


@builds(*_KEYS)
def build_pool(node: Any, site: Site) -> Built:
    """A pooling layer; averages count the padding, as torch's default does."""
    name, kernel, stride, padding = window(node)
    kind = POOLS[name]
    if len(site.shape_in) != kind.rank + 1:
        raise ShapeError(f"{site.name!r} is a {name} and gets samples of shape {site.shape_in}.")
    pads = tuple((p, p) for p in padding)
    check_padded(site.name, site.shape_in, pads)
    out = spatial_out(site.shape_in[1:], kernel, stride, pads, (1,) * kind.rank)
    if any(n < 1 for n in out):
        raise ShapeError(
            f"{site.name!r}: samples of shape {site.shape_in} are smaller than its window {kernel}."
        )
    return Built(kind(kernel, stride, padding), {}, (site.shape_in[0], *out))


@writes(*POOLS.values())
def write_pool(module: Any, variables: Variables, site: Site) -> nir.NIRNode:
    """NIR's own pooling node where it has one."""
    options = {k: list(getattr(module, k)) for k in ("kernel_size", "stride", "padding")}
    return pool_node(type(module).__name__, options, site)


def pool_node(name: str, options: dict[str, list[int]], site: Site) -> nir.NIRNode:
    """NIR's node of this name with its shapes, or the extension."""
    if name not in _NODES:
        return Extension(name, options=options, shape_in=site.shape_in, shape_out=site.shape_out)
    node = _NODES[name](**{k: np.array(v) for k, v in options.items()})
    settle_types(node, site)
    return node


@evaluates(*_KEYS)
def evaluate_pool(name: str, node: Any, dtype: Any) -> Function:
    """Sum, mean or maximum of each window; the mean counts the padding."""
    kind, kernel, stride, padding = window(node)
    pads, dilation = tuple((p, p) for p in padding), (1,) * len(kernel)
    lowest = -np.inf if np.issubdtype(dtype, np.inexact) else np.iinfo(dtype).min
    combine, fill = (np.maximum, lowest) if kind.startswith("Max") else (np.add, 0)

    def apply(x: Array) -> Array:
        if x.ndim != len(kernel) + 2:
            raise ShapeError(f"{name!r} is a {kind} and gets samples of shape {x.shape[1:]}.")
        total = reduce(combine, (seen for _, seen in windows(name, x, kernel, stride, dilation, pads, fill)))
        return np.asarray(total / np.asarray(prod(kernel), dtype) if kind.startswith("Avg") else total)

    return apply


@sums(*_KEYS)
def count_pool(node: Any) -> int:
    """The values of a window, and the division by their number."""
    return prod(window(node)[1]) + 1


@axes_of(*POOLS.values())
def _pool_axes(module: Any, axes: int | None) -> int:
    return int(module.rank) + 1
