r"""Linear recurrences over all time steps at once, and the rectified one of ``torch.nn.RNN``.

:math:`S_t = a_t S_{t-1} + u_t` can be computed by a loop (``lax.scan``), as a tree of logarithmic depth
(``lax.associative_scan``), or, for a constant decay, by convolution with :math:`a^k`. Neither the loop nor the
tree divides by a product of decays, as snnTorch does, so neither overflows nor loses small decays at any length.

Medians of one run of ``benchmarks/parallel_neurons.py`` on two CPU cores that also did other work, float32,
milliseconds forward / with gradient:

==================  ============  ============  ============  ===================  ====================
``[T, B, N]``       loop          tree          FFT           64 taps, convolved   64 taps, by doubling
==================  ============  ============  ============  ===================  ====================
100, 32, 128        0.77 / 2.6    0.80 / 2.7    11 / 20       119 / 273            2.2 / 5.7
1000, 32, 128       5.4 / 45      11 / 60       120 / 214     not run              56 / 86
1000, 8, 16         0.47 / 1.2    0.53 / 3.0    2.6 / 5.8     10 / 47              0.65 / 2.3
4000, 1, 64         0.92 / 2.7    0.82 / 2.2    9.3 / 15      38 / 71              1.6 / 13
==================  ============  ============  ============  ===================  ====================

So the loop is the default on a CPU. On other devices it is the tree, for its depth; that is not measured here.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.dynamics.arithmetic import Constant

Method = Literal["auto", "scan", "associative"]


def time_constant(beta: Constant) -> Constant:
    r""":math:`\tau = 1 / (1 - \beta + 10^{-12})`, in steps; the small number keeps it finite at one.

    Args:
        beta: array of any shape, in the precision in which snnTorch computes (float32, or more).
    """
    tiny = beta.dtype.type(1e-12)
    return 1 / (1 - beta + tiny)


def decay_per_step(tau: Constant) -> Constant:
    r""":math:`e^{-1/\tau}`; of a fixed value on the host, in double precision, rounded once.

    Args:
        tau: time constant in steps, of any shape.
    """
    if isinstance(tau, np.ndarray | np.generic):
        return np.asarray(np.exp(-1 / tau.astype(np.float64)), tau.dtype)
    return jnp.exp(-1 / tau)


def leak(state: jax.Array, x: jax.Array, decay: Constant) -> jax.Array:
    r"""One step of :math:`S' = aS + u`."""
    return state * decay + x


def recurrence(x: jax.Array, decay: Constant, method: Method = "auto") -> jax.Array:
    r"""All steps of :math:`S_t = a_t S_{t-1} + u_t` from :math:`S_{-1} = 0`.

    Args:
        x: :math:`u`, ``[T, ...]``.
        decay: :math:`a`, with as many axes as ``x``, each of its length or 1; 1 in front: constant in time.
        method: ``"scan"``, ``"associative"``, or ``"auto"``: a scan on the CPU, else associative.

    Returns:
        :math:`S_t` of every step, ``[T, ...]``.
    """
    if method == "scan":
        return _by_scan(x, decay)
    if method == "associative":
        return _by_association(x, decay)
    return lax.platform_dependent(x, jnp.asarray(decay), cpu=_by_scan, default=_by_association)


def _by_scan(x: jax.Array, decay: Constant) -> jax.Array:
    start = jnp.zeros_like(x[0])
    if decay.shape[0] == 1:
        return lax.scan(lambda s, u: (leak(s, u, decay[0]),) * 2, start, x)[1]
    return lax.scan(lambda s, e: (leak(s, *e),) * 2, start, (x, decay))[1]


def _by_association(x: jax.Array, decay: Constant) -> jax.Array:
    def join(early: tuple[jax.Array, jax.Array], late: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        return early[0] * late[0], leak(early[1], late[1], late[0])

    return lax.associative_scan(join, (jnp.broadcast_to(decay, (len(x), *decay.shape[1:])), x))[1]


def window(x: jax.Array, decay: Constant, steps: int) -> jax.Array:
    r"""The last ``steps`` terms only: :math:`S_t = \sum_{k<K} a^k u_{t-k}`.

    By doubling: two windows of L terms one behind the other are one of 2L, and one more input makes L + 1. Only
    sums, about :math:`\log_2 K` of them; to subtract what leaves the window from a recurrence would cancel.

    Args:
        x: :math:`u`, ``[T, ...]``.
        decay: :math:`a`, with as many axes as ``x``, 1 in front.
        steps: :math:`K \ge 1`.

    Returns:
        :math:`S_t` of every step, ``[T, ...]``.
    """
    if steps >= len(x):
        return recurrence(x, decay)
    sums, factor, length = x, decay, 1
    for bit in f"{steps:b}"[1:]:
        sums, factor, length = leak(_later(sums, length), sums, factor), factor * factor, 2 * length
        if bit == "1":
            sums, factor, length = leak(_later(sums, 1), x, decay), factor * decay, length + 1
    return sums


def _later(x: jax.Array, steps: int) -> jax.Array:
    """``x`` delayed by some steps, with zeros before it; ``x`` is longer than that."""
    return jnp.concatenate([jnp.zeros_like(x[:steps]), x[:-steps]])


def window_step(past: jax.Array, x: jax.Array, decay: Constant) -> tuple[jax.Array, jax.Array]:
    r"""One step of :func:`window`.

    Args:
        past: the K - 1 inputs before this one, oldest first, ``[B, K - 1, ...]``.
        x: :math:`u_t`, ``[B, ...]``.
        decay: :math:`a`, with as many axes as ``x``, 1 in front.

    Returns:
        ``(past, S)`` after the step.
    """
    known = jnp.concatenate([past, x[:, None]], axis=1)
    powers = _powers(decay, known.shape[1])[::-1]
    return known[:, 1:], jnp.sum(known * powers[None], axis=1)


def _powers(decay: Constant, count: int) -> jax.Array:
    """``a^0, a^1 ... a^(count - 1)`` along the first axis, which is 1 in ``decay``."""
    factors = jnp.broadcast_to(decay, (count, *decay.shape[1:])).at[0].set(1)
    return lax.cumprod(factors)


def rectified_step(state: jax.Array, x: jax.Array, weight: Constant, bias: Constant) -> jax.Array:
    r"""One step of :math:`h' = \max(0,\; u + (W h + b))`.

    Args:
        state: :math:`h`, ``[B, H]``.
        x: :math:`u`, ``[B, H]``.
        weight: :math:`W`: its diagonal ``[1, H]``, or all of it ``[H, H]``, from row to column.
        bias: :math:`b`, ``[1, H]``.
    """
    fed = jnp.dot(state, weight) if weight.shape[0] > 1 else state * weight
    return jax.nn.relu(x + (fed + bias))


def rectified(x: jax.Array, weight: Constant, bias: Constant) -> jax.Array:
    r"""All steps of :func:`rectified_step` from zero; ``x`` is ``[T, B, H]``.

    With a diagonal :math:`W` that is not negative each step is a clipped line, and a tree could join those too: on
    a CPU that took 1.6 to 7 times as long as this loop.
    """

    def step(state: jax.Array, current: jax.Array) -> tuple[jax.Array, jax.Array]:
        after = rectified_step(state, current, weight, bias)
        return after, after

    return lax.scan(step, jnp.zeros_like(x[0]), x)[1]
