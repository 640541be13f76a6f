"""Delays: by whole steps, and between two steps, where the output has a derivative by the delay.

``known`` is a stretch of time, ``[K + T, B, ...]``: the inputs of the K steps before, oldest first, and of T steps.
Each function returns the T steps that follow from it, with delays of up to K.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from snnax.dynamics.quantization import straight_through

Product = Callable[[jax.Array, jax.Array], jax.Array]


def bounded(delay: jax.Array, longest: int) -> jax.Array:
    """``delay`` in the range from 0 to ``longest``; the derivative is 1 outside of it too, so that one comes back."""
    return straight_through(delay, jnp.clip(delay, 0, longest))


def whole(known: jax.Array, lags: jax.Array, longest: int) -> jax.Array:
    r""":math:`y_t = x_{t - d}` for whole delays.

    Args:
        known: ``[K + T, B, *sample]``.
        lags: :math:`d`, integers of the shape of a sample.
        longest: K.
    """
    steps, shape = known.shape[0] - longest, known.shape
    columns = known.reshape(*shape[:2], -1)

    def shifted(column: jax.Array, lag: jax.Array) -> jax.Array:
        return lax.dynamic_slice_in_dim(column, longest - lag, steps)

    late = jax.vmap(shifted, in_axes=(2, 0), out_axes=2)(columns, lags.reshape(-1))
    return late.reshape(steps, *shape[1:])


def linear(known: jax.Array, delay: jax.Array, longest: int) -> jax.Array:
    r"""Between two steps on a straight line.

    With :math:`n = \lfloor d \rfloor`

    .. math:: y_t = (1 - (d - n))\, x_{t-n} + (d - n)\, x_{t-n-1}, \qquad
        \frac{\partial y_t}{\partial d} = x_{t-n-1} - x_{t-n}

    At a whole delay, where the line has a corner, the derivative is the mean of both sides,
    :math:`(x_{t-d-1} - x_{t-d+1})/2`, and at 0 and K that of the side that there is.

    Args:
        known: ``[K + T, B, *sample]``.
        delay: :math:`d`, of the shape of a sample.
        longest: :math:`K \ge 1`.
    """
    value = lax.stop_gradient(bounded(delay, longest))
    at, before, after = _neighbours(value, longest)
    here, sooner, later = (whole(known, lag.astype(jnp.int32), longest) for lag in (at, before, after))
    part, apart, moved = (
        number.astype(known.dtype)[None, None]
        for number in (value - at, after - before, straight_through(delay, jnp.zeros_like(delay)))
    )
    return here + part * (later - here) + (later - sooner) / apart * moved


def linear_taps(delay: jax.Array, longest: int) -> jax.Array:
    """The weights of the steps in :func:`linear`, ``[K + 1, *delay.shape]``: of this step, of the one before, ..."""
    value = lax.stop_gradient(bounded(delay, longest))[None]
    _, before, after = _neighbours(value, longest)
    lags = _lags(delay, longest)
    slope = (lags == after).astype(value.dtype) - (lags == before).astype(value.dtype)
    moved = straight_through(delay, jnp.zeros_like(delay))[None]
    slope = slope / (after - before)
    return jnp.maximum(1 - abs(lags - value), 0) + slope * moved


def gaussian_taps(delay: jax.Array, longest: int, sigma: jax.Array) -> jax.Array:
    r"""Weights of the steps around a delay, which add up to 1, ``[K + 1, *delay.shape]``.

    .. math:: w_k \propto \exp\left(-\frac{(k - d)^2}{2 \sigma^2}\right), \qquad k = 0 \dots K

    With :math:`\sigma = 0` the nearest step alone, without a derivative.

    Args:
        delay: :math:`d`.
        longest: K.
        sigma: :math:`\sigma`, one number, in steps.
    """
    value, lags = bounded(delay, longest)[None], _lags(delay, longest)
    wide = sigma > 0
    soft = jax.nn.softmax(-jnp.square((lags - value) / jnp.where(wide, sigma, 1)) / 2, axis=0)
    return jnp.where(wide, soft, (lags == jnp.rint(lax.stop_gradient(value))).astype(soft.dtype))


def weighted(known: jax.Array, taps: jax.Array, product: Product) -> jax.Array:
    r""":math:`y_t = \sum_k x_{t-k} \cdot w_k`, of which no copy of the inputs for each lag is kept.

    Args:
        known: ``[K + T, B, ...]``.
        taps: :math:`w`, ``[K + 1, ...]``.
        product: of inputs ``[T, B, ...]`` with the weights of one lag, linear in both.
    """
    longest = len(taps) - 1
    steps = known.shape[0] - longest
    if steps == 1:
        return jnp.sum(jax.vmap(product)(known[::-1, None], taps), axis=0)

    @jax.checkpoint
    def add(total: jax.Array, entry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        lag, tap = entry
        return total + product(lax.dynamic_slice_in_dim(known, longest - lag, steps), tap), None

    first = product(known[longest:], taps[0])
    return lax.scan(add, first, (jnp.arange(1, longest + 1), taps[1:]))[0]


def _neighbours(value: jax.Array, longest: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whole steps at or below a delay, next below it and next above it, from 0 to ``longest``, as floats."""
    at = jnp.floor(value)
    return at, jnp.maximum(jnp.ceil(value) - 1, 0), jnp.minimum(at + 1, longest)


def _lags(delay: jax.Array, longest: int) -> jax.Array:
    return jnp.arange(longest + 1, dtype=delay.dtype).reshape(-1, *(1,) * delay.ndim)
