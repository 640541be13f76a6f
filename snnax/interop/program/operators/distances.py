"""Distances between points, and products of three arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from snnax.interop.program.operators.promotion import operands
from snnax.interop.program.operators.reductions import vector_norm
from snnax.interop.program.operators.registry import Call, computes


@computes("dist")
def dist(call: Call, x: jax.Array, other: jax.Array, p: Any = 2) -> jax.Array:
    """The norm of the difference of two arrays."""
    x, other = operands(call, x, other)
    return vector_norm(call, x - other, p)


@computes("_cdist_forward")
def cdist(call: Call, x1: jax.Array, x2: jax.Array, p: float, compute_mode: int | None = None) -> jax.Array:
    """The distance of each row of one array to each row of another; of equal rows without slope."""
    del compute_mode
    return vector_norm(call, x1[..., :, None, :] - x2[..., None, :, :], p, -1)


@computes("_trilinear")
def trilinear(
    call: Call,
    i1: jax.Array,
    i2: jax.Array,
    i3: jax.Array,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> jax.Array:
    """The product of three arrays, each with new axes of length 1, summed over some axes: ``nn.Bilinear``."""
    del call, unroll_dim
    pairs = ((i1, expand1), (i2, expand2), (i3, expand3))
    first, second, third = (jnp.expand_dims(x, tuple(axes)) for x, axes in pairs)
    return (first * second * third).sum(tuple(sumdim))


@computes("linalg_cross")
def cross(call: Call, x: jax.Array, other: jax.Array, *, dim: int = -1) -> jax.Array:
    """The vector product along an axis of length 3."""
    x, other = operands(call, x, other)
    first, second = (
        (jnp.roll(x, -1, dim), jnp.roll(x, -2, dim)),
        (jnp.roll(other, -1, dim), jnp.roll(other, -2, dim)),
    )
    return first[0] * second[1] - first[1] * second[0]


@computes("affine_grid_generator")
def affine_grid(call: Call, theta: jax.Array, size: Sequence[int], align_corners: bool) -> jax.Array:
    """The points ``theta (x, y, 1)`` of a grid from -1 to 1, ``[N, H, W, 2]``."""
    axes = []
    for length in size[2:][::-1]:
        ends = 1.0 if align_corners else (length - 1) / length
        axes.append(jnp.linspace(-ends, ends, length) if length > 1 else jnp.zeros(1))
    points = jnp.stack([*jnp.meshgrid(*axes[::-1], indexing="ij")[::-1], jnp.ones(size[2:])], -1).astype(
        call.dtype
    )
    flat = points.reshape(1, math.prod(size[2:]), -1)
    made = (flat[:, :, None, :] * theta[:, None, :, :]).sum(-1)
    return made.reshape(theta.shape[0], *size[2:], theta.shape[1])
