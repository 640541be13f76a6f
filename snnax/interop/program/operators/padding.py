"""Edges added to arrays, and patches taken from images and put back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.interop.program.operators.convolutions import each
from snnax.interop.program.operators.registry import Call, Function, computes
from snnax.interop.program.operators.views import taken


def _pairs(x: jax.Array, pad: Sequence[int]) -> list[tuple[int, int]]:
    """Before and after each axis; torch begins at the last."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]


@computes("constant_pad_nd")
def constant_pad(call: Call, x: jax.Array, pad: Sequence[int], value: Any = 0) -> jax.Array:
    """With edges of one number; negative ones cut off."""
    settings = [(before, after, 0) for before, after in _pairs(x, pad)]
    return lax.pad(x, jnp.asarray(value, call.dtype), settings)


def _edges(mode: str) -> Function:
    def padded(call: Call, x: jax.Array, padding: Sequence[int]) -> jax.Array:
        del call
        pairs = _pairs(x, padding)
        for axis, (before, after) in enumerate(pairs):
            if before or after:
                x = taken(x, _places(mode, x.shape[axis], before, after), axis)
        return x

    return padded


def _places(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """What each position of a padded axis repeats: the mirrored one, or the last; negative edges cut off."""
    place = np.arange(-before, size + after)
    if mode == "replication":
        return np.clip(place, 0, size - 1)
    return size - 1 - np.abs(size - 1 - np.abs(place))


for mode in ("reflection", "replication"):
    for rank in (1, 2, 3):
        computes(f"{mode}_pad{rank}d")(_edges(mode))


def _patches(x: jax.Array, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> jax.Array:
    kernel, dilation, padding, stride = (each(v, 2) for v in (kernel_size, dilation, padding, stride))
    x = jnp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    for axis in (0, 1):
        span = dilation[axis] * (kernel[axis] - 1)
        starts = np.arange((x.shape[2 + 2 * axis] - span - 1) // stride[axis] + 1) * stride[axis]
        places = np.arange(kernel[axis])[:, None] * dilation[axis] + starts
        x = taken(x, places, 2 + 2 * axis)
    batch, channels, rows, high, columns, wide = x.shape
    return x.transpose(0, 1, 2, 4, 3, 5).reshape(batch, channels * rows * columns, high * wide)


@computes("im2col")
def im2col(call: Call, x: jax.Array, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> jax.Array:
    """The patches of ``[N, C, H, W]`` under a kernel as columns, ``[N, C KH KW, L]``."""
    del call
    if x.ndim == 3:
        return _patches(x[None], kernel_size, dilation, padding, stride)[0]
    return _patches(x, kernel_size, dilation, padding, stride)


@computes("col2im")
def col2im(
    call: Call,
    x: jax.Array,
    output_size: Sequence[int],
    kernel_size: Any,
    dilation: Any,
    padding: Any,
    stride: Any,
) -> jax.Array:
    """Columns put back and added up where they overlap: the transpose of ``im2col``, which is linear."""
    if x.ndim == 2:
        return col2im(call, x[None], output_size, kernel_size, dilation, padding, stride)[0]
    kernel = each(kernel_size, 2)
    image = jax.ShapeDtypeStruct((x.shape[0], x.shape[1] // (kernel[0] * kernel[1]), *output_size), x.dtype)
    taken = partial(_patches, kernel_size=kernel, dilation=dilation, padding=padding, stride=stride)
    (made,) = jax.linear_transpose(taken, image)(x)
    return made
