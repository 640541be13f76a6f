"""What the stateless nodes of a NIR graph compute, in NumPy, on batches of channels-first samples.

Used on recorded spikes: to bound the rounding error of a current, and to try out what a wrong current could
come from (a transposed kernel, another order of axes).
"""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.nodes.extension import Extension

Array = np.ndarray


def apply(node: nir.NIRNode, x: Array) -> Array:
    """Output of a stateless node for ``x`` ``[N, ...]``, in the dtype of ``x``.

    Raises:
        ConversionError: for a node that is not stateless, or not known here.
    """
    if isinstance(node, (nir.Input, nir.Output)):
        return x
    if isinstance(node, (nir.Linear, nir.Affine)):
        y = x @ np.asarray(node.weight, x.dtype).T
        return y + np.asarray(node.bias, x.dtype) if isinstance(node, nir.Affine) else y
    if isinstance(node, nir.Conv2d):
        return _conv(x, node, _pair(node.stride), _pair(node.dilation), _pads(node, 2))
    if isinstance(node, nir.Conv1d):
        wide = copy.copy(node)
        wide.weight = np.asarray(node.weight)[:, :, None, :]
        pads = [(0, 0), *_pads(node, 1)]
        return _conv(x[:, :, None, :], wide, (1, _int(node.stride)), (1, _int(node.dilation)), pads)[:, :, 0]
    if isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
        windows = _windows(x, _pair(node.kernel_size), _pair(node.stride), (1, 1), _pads(node, 2))
        total = sum(window for _, window in windows)
        return total / np.prod(_pair(node.kernel_size)) if isinstance(node, nir.AvgPool2d) else total
    if isinstance(node, nir.Flatten):
        start, end = node.start_dim + (node.start_dim >= 0), node.end_dim + (node.end_dim >= 0)
        end = end % x.ndim
        start = start % x.ndim
        return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])
    if isinstance(node, nir.Scale):
        return x * np.asarray(node.scale, x.dtype)
    if isinstance(node, Shuffle):
        return x[:, node.index].reshape(x.shape)
    raise ConversionError(type(node).__name__, "it cannot be evaluated in NumPy", "Its rounding error is estimated.")


class Shuffle(nir.NIRNode):
    """Not of NIR: takes the features of ``[N, K]`` in another order, for trying out orders of axes."""

    def __init__(self, index: Array) -> None:
        self.index = index


def absolute(node: nir.NIRNode) -> nir.NIRNode:
    """The same node with the absolute values of its weights: the magnitude of what it adds up."""
    return edited(
        node, **{k: np.abs(np.asarray(v)) for k in ("weight", "bias", "scale") if (v := getattr(node, k, None)) is not None}
    )


def edited(node: nir.NIRNode, **arrays: Any) -> nir.NIRNode:
    """A copy of a node with other arrays."""
    twin = copy.copy(node)
    for name, value in arrays.items():
        setattr(twin, name, value)
    return twin


def terms(node: nir.NIRNode) -> int:
    """How many rounded terms the node adds up for one output."""
    if isinstance(node, (nir.Linear, nir.Affine, nir.Conv1d, nir.Conv2d)):
        bias = getattr(node, "bias", None) is not None
        return int(np.prod(np.shape(node.weight)[1:])) + bias
    if isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
        return int(np.prod(_pair(node.kernel_size))) + 1
    return 1 if isinstance(node, (nir.Scale, Extension)) else 0


def _conv(x: Array, node: Any, stride: tuple[int, int], dilation: tuple[int, int], pads: list[tuple[int, int]]) -> Array:
    """Cross-correlation of ``[N, C, H, W]`` as torch's conv2d."""
    weight, groups = np.asarray(node.weight, x.dtype), _int(node.groups)
    size_in, size_out = x.shape[1] // groups, len(weight) // groups
    total: Array | None = None
    for (i, j), window in _windows(x, weight.shape[2:], stride, dilation, pads):
        parts = [
            np.einsum(
                "nchw,oc->nohw",
                window[:, g * size_in : (g + 1) * size_in],
                weight[g * size_out : (g + 1) * size_out, :, i, j],
                optimize=True,
            )
            for g in range(groups)
        ]
        part = parts[0] if groups == 1 else np.concatenate(parts, 1)
        total = part if total is None else total + part
    if total is None:
        raise ConversionError(type(node).__name__, "its kernel is empty", "Give it a kernel of at least 1 x 1.")
    return total if node.bias is None else total + np.asarray(node.bias, x.dtype)[:, None, None]


def _windows(x: Array, kernel: Any, stride: Any, dilation: Any, pads: list[tuple[int, int]]) -> Any:
    """Each offset of the kernel and the pixels of ``[N, C, H, W]`` that it meets, one per output pixel."""
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)]
    for i, j in product(range(kernel[0]), range(kernel[1])):
        y0, x0 = i * dilation[0], j * dilation[1]
        yield (i, j), x[:, :, y0 : y0 + stride[0] * size[0] : stride[0], x0 : x0 + stride[1] * size[1] : stride[1]]


def _pads(node: Any, rank: int) -> list[tuple[int, int]]:
    """Zeros before and after each spatial axis; torch's ``same`` puts the odd one after."""
    if node.padding == "valid" if isinstance(node.padding, str) else False:
        return [(0, 0)] * rank
    if isinstance(node.padding, str):
        kernel, dilation = np.shape(node.weight)[2:], np.broadcast_to(node.dilation, rank)
        totals = [int(d) * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]
    return [(int(p), int(p)) for p in np.broadcast_to(node.padding, rank)]


def _pair(value: Any) -> tuple[int, int]:
    first, second = np.broadcast_to(value, 2)
    return int(first), int(second)


def _int(value: Any) -> int:
    return int(np.asarray(value).reshape(-1)[0])
