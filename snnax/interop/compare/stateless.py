"""What the stateless nodes of a NIR graph compute, in NumPy, on batches of channels-first samples.

Used on recorded spikes: to bound the rounding error of a current, and to try out what a wrong current could
come from (a transposed kernel, another order of axes).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.nodes.conv import Pads, pads_of, sizes
from snnax.interop.nodes.extension import Extension

Array = np.ndarray
_ROWS = 64
_POOLS = {nir.SumPool2d: "SumPool2d", nir.AvgPool2d: "AvgPool2d"}


def apply(node: nir.NIRNode, x: Array) -> Array:
    """Output of a stateless node for ``x`` ``[N, ...]``, in the dtype of ``x``.

    Raises:
        ConversionError: for a node that is not stateless, or not known here.
    """
    if isinstance(node, nir.Linear | nir.Affine):
        y = x @ np.asarray(node.weight, x.dtype).T
        return y + np.asarray(node.bias, x.dtype) if isinstance(node, nir.Affine) else y
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        return _conv(node, x)
    if isinstance(node, nir.Flatten):
        start, end = (d % (x.ndim - 1) + 1 for d in (int(node.start_dim), int(node.end_dim)))
        return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])
    if isinstance(node, nir.Scale):
        return x * np.asarray(node.scale, x.dtype)
    if isinstance(node, nir.Output):
        return x
    if isinstance(node, nir.Threshold):
        return (x > np.asarray(node.threshold, x.dtype)).astype(x.dtype)
    kind = node.op if isinstance(node, Extension) else _POOLS.get(type(node), type(node).__name__)
    if kind in ("Dropout", "Reshape", "BatchNorm") and isinstance(node, Extension):
        return _extension(node, x)
    if kind in _REDUCE:
        return _pool(kind, node.options if isinstance(node, Extension) else vars(node), x)
    raise ConversionError(kind, "it cannot be evaluated in NumPy", "Its rounding error is estimated.")


def absolute(node: nir.NIRNode, *, bias: bool = True) -> nir.NIRNode:
    """The same node with absolute weights, with or without its constants: what magnitudes go through."""
    if isinstance(node, Extension):
        arrays = {k: np.abs(v) for k, v in node.arrays.items()}
        if "running_mean" in arrays:
            arrays["running_mean"] = -arrays["running_mean"]
        constants = [] if bias else [k for k in ("running_mean", "bias") if k in arrays]
        return edited(node, arrays={**arrays, **{k: np.zeros_like(arrays[k]) for k in constants}})
    given = {
        k: np.asarray(v) for k in ("weight", "bias", "scale") if (v := getattr(node, k, None)) is not None
    }
    changed = {k: np.abs(v) if bias or k != "bias" else np.zeros_like(v) for k, v in given.items()}
    return edited(node, **changed)


def edited(node: nir.NIRNode, **attributes: Any) -> nir.NIRNode:
    """A copy of a node with other attributes."""
    twin = copy.copy(node)
    for name, value in attributes.items():
        setattr(twin, name, value)
    return twin


def terms(node: nir.NIRNode) -> int:
    """How many rounded terms the node adds up for one output."""
    if isinstance(node, nir.Linear | nir.Affine | nir.Conv1d | nir.Conv2d):
        return int(np.prod(np.shape(node.weight)[1:])) + (getattr(node, "bias", None) is not None)
    options = node.options if isinstance(node, Extension) else vars(node)
    if "kernel_size" in options:
        return int(np.prod(sizes(options["kernel_size"], 2 if _kind(node).endswith("2d") else 1))) + 1
    if _kind(node) == "BatchNorm":
        return 8
    return 1 if isinstance(node, nir.Scale) else 0


def in_double(node: nir.NIRNode) -> bool:
    """True if a weight, bias or scale is one that single precision does not hold."""
    given = (getattr(node, key, None) for key in ("weight", "bias", "scale", "threshold"))
    arrays = (np.asarray(v) for v in given if v is not None)
    return any(a.dtype == np.float64 and bool((a.astype(np.float32) != a).any()) for a in arrays)


def repeats(node: nir.NIRNode) -> float:
    """How often the same weight, up to its sign, comes in the sum for one output, on average."""
    weight = getattr(node, "weight", None)
    if weight is None:
        return 1.0
    rows = np.abs(np.asarray(weight)).reshape(len(weight), -1)
    rows = np.sort(rows[:: max(len(rows) // _ROWS, 1)], 1)
    distinct = (np.diff(rows, axis=1) > 0).sum(1) + (rows[:, 0] > 0)
    return float((np.count_nonzero(rows, axis=1) / np.maximum(distinct, 1)).max(initial=1.0))


def _kind(node: nir.NIRNode) -> str:
    return node.op if isinstance(node, Extension) else type(node).__name__


def _extension(node: Extension, x: Array) -> Array:
    if node.op == "Dropout":
        return x
    if node.op == "Reshape":
        return x.reshape(len(x), *node.options["shape"])
    spread = (-1, *(1,) * (x.ndim - 2))
    mean, var = (node.arrays[k].astype(x.dtype).reshape(spread) for k in ("running_mean", "running_var"))
    y = (x - mean) / np.sqrt(var + node.options["eps"])
    y = y * node.arrays["weight"].astype(x.dtype).reshape(spread) if "weight" in node.arrays else y
    return y + node.arrays["bias"].astype(x.dtype).reshape(spread) if "bias" in node.arrays else y


def _conv(node: Any, x: Array) -> Array:
    """Cross-correlation of ``[N, C, (H,) W]`` as torch's."""
    weight, groups = np.asarray(node.weight, x.dtype), int(np.ravel(node.groups)[0])
    rank = weight.ndim - 2
    kernel = tuple(weight.shape[2:])
    stride, dilation = sizes(node.stride, rank), sizes(node.dilation, rank)
    pads = pads_of(node.padding, kernel, dilation, stride, type(node).__name__)
    wide, tall = len(weight) // groups, x.shape[1] // groups
    total: Any = 0.0
    for offset, window in _windows(x, kernel, stride, dilation, pads, 0.0):
        taps = np.moveaxis(weight, (0, 1), (-2, -1))[offset]
        parts = [
            np.einsum(
                "nc...,oc->no...",
                window[:, g * tall : (g + 1) * tall],
                taps[g * wide : (g + 1) * wide],
                optimize=True,
            )
            for g in range(groups)
        ]
        total = total + (parts[0] if groups == 1 else np.concatenate(parts, 1))
    bias = getattr(node, "bias", None)
    return total if bias is None else total + np.asarray(bias, x.dtype).reshape(-1, *(1,) * rank)


_REDUCE: dict[str, Any] = {
    f"{kind}Pool{rank}d": ufunc
    for kind, ufunc in (("Sum", np.add), ("Avg", np.add), ("Max", np.maximum))
    for rank in (1, 2)
}


def _pool(kind: str, options: Any, x: Array) -> Array:
    rank = int(kind[-2])
    kernel, stride, padding = (sizes(options[k], rank) for k in ("kernel_size", "stride", "padding"))
    fill = -np.inf if kind.startswith("Max") else 0.0
    windows = _windows(x, kernel, stride, (1,) * rank, tuple((p, p) for p in padding), fill)
    _, total = next(windows)
    for _, window in windows:
        total = _REDUCE[kind](total, window)
    return total / np.asarray(np.prod(kernel), x.dtype) if kind.startswith("Avg") else total


def _windows(
    x: Array, kernel: Any, stride: Any, dilation: Any, pads: Pads, fill: float
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Each offset of the kernel and the pixels of ``[N, C, (H,) W]`` that it meets, one per output pixel."""
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    for offset in product(*map(range, kernel)):
        begin = [o * d for o, d in zip(offset, dilation, strict=True)]
        cut = [slice(i, i + s * n, s) for i, s, n in zip(begin, stride, size, strict=True)]
        yield offset, x[(slice(None), slice(None), *cut)]
