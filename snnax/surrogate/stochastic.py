"""The surrogate with a random slope."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp

from snnax.errors import ArgumentError
from snnax.surrogate.base import Surrogate, number, surrogate


def SSO(mean: float = 0, variance: float = 0.2, seed: int = 0) -> Surrogate:
    r"""Stochastic spike operator: full gradient where there is a spike, noise elsewhere.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = \begin{cases} 1 & S = 1 \\
        (u + \mu)\, \sigma^2, \; u \sim \mathcal{U}[-\frac12, \frac12) & S = 0 \end{cases}

    Args:
        mean: :math:`\mu`.
        variance: :math:`\sigma^2`, the width of the noise (not the variance of anything; snnTorch's name).
        seed: which noise; give layers different seeds where they could see equal inputs.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: ``mean`` or ``variance`` is not one finite number, or ``seed`` is not an integer.

    Example:
        >>> spike = SSO(mean=1, variance=0.2)
        >>> bool((spike.derivative([-1.0, -2.0]) >= 0.1).all())
        True
        >>> bool((spike.derivative([-1.0, -2.0]) == spike.derivative([-1.0, -2.0])).all())
        True

    snnTorch draws the noise from torch's global generator at each backward pass. A JAX function has no hidden
    generator, so here the noise is a pure function of ``seed`` and of the whole array ``x``, bit by bit:
    equal in distribution, different at each step and training iteration (their membranes differ), and the
    same in forward mode, in reverse mode and when a run is repeated. Two calls on identical arrays get
    identical noise; under ``vmap`` the array is one example.
    """
    try:
        seed = operator.index(seed)
    except TypeError as error:
        raise ArgumentError(
            f"surrogate.SSO(seed=...) takes a Python int, got {seed!r}: "
            f"it must be known when the network is built, as in surrogate.SSO(seed=1)."
        ) from error
    return surrogate(
        "SSO", _sso, mean=number("SSO", "mean", mean), variance=number("SSO", "variance", variance), seed=seed
    )


def _sso(x: jax.Array, g: jax.Array, spikes: jax.Array, mean: float, variance: float, seed: int) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), _checksum(jax.lax.stop_gradient(x)))
    noise = jax.random.uniform(key, x.shape, x.dtype, -0.5, 0.5)
    return g * jnp.where(spikes > 0, jnp.ones_like(x), (noise + mean) * variance)


def _checksum(x: jax.Array) -> jax.Array:
    """A 32-bit number that changes when any bit of ``x`` or the order of its elements does, almost surely."""
    unsigned = jnp.uint16 if x.dtype.itemsize == 2 else jnp.uint32
    words = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32).ravel()
    weights = jnp.arange(words.size, dtype=jnp.uint32) * jnp.uint32(2654435769) | jnp.uint32(1)
    mixed = (words ^ (words >> 15)) * weights
    return jnp.sum(mixed ^ (mixed >> 13), dtype=jnp.uint32)
