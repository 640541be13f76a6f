"""Numbers on a grid: weights as whole numbers times a scale, and the gradient that passes straight through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from snnax.dynamics.arithmetic import pinned, quotient

_FINE = 23  # bits of a magnitude that a mean adds up, as many as float32 has


@jax.custom_jvp
def straight_through(x: jax.Array, value: jax.Array) -> jax.Array:
    """``value``, with the derivative of ``x``."""
    return value


@straight_through.defjvp
def _straight_through_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return primals[1], tangents[0]


def weight_levels(weight: jax.Array, bits: int, axes: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    r"""The whole numbers q and the scale s of weights on a symmetric, uniform grid.

    .. math::
        s = \frac{\max |w|}{2^{b-1} - 1},\quad q = \operatorname{round}(w / s) \qquad
        \text{and for one bit}\quad s = \operatorname{mean} |w|,\quad q = \pm 1

    Halves are rounded to the even number. The mean is that of :math:`|w| / \max |w|` in steps of :math:`2^{-p}`,
    added up as whole numbers: any order gives the same sum, so that every program and framework has the same
    scale, which is within some 1e-7 of the largest weight of the mean.

    Args:
        weight: float32 or float64.
        bits: b, 1 to 16.
        axes: over which the maximum or mean is taken.

    Returns:
        q, in the dtype of the weights, and s, with axes of length 1 for ``axes``. Weights of which all are zero have
        ``q = 0``, or of one bit ``s = 0``.
    """
    size = jnp.abs(weight)
    peak = jnp.max(size, axes, keepdims=True)
    if bits > 1:
        scale = quotient(peak, 2 ** (bits - 1) - 1)
        return jnp.round(quotient(weight, jnp.where(scale == 0, 1, scale))), scale
    count = math.prod(weight.shape[axis] for axis in axes)
    fine = 2 ** min(_FINE, 30 - count.bit_length())
    steps = jnp.round(quotient(size, jnp.where(peak == 0, 1, peak)) * fine).astype(jnp.int32)
    total = jnp.sum(steps, axes, keepdims=True, dtype=jnp.int32).astype(weight.dtype)
    one = jnp.ones_like(weight)
    return jnp.where(weight < 0, -one, one), pinned(quotient(total, count * fine) * peak)


def rounded_weight(weight: jax.Array, bits: int, axes: Sequence[int]) -> jax.Array:
    r""":math:`q s` of :func:`weight_levels`, with the derivative of the weights themselves."""
    levels, scale = weight_levels(jax.lax.stop_gradient(weight), bits, axes)
    return straight_through(weight, pinned(levels * scale))
