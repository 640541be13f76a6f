"""Surrogates whose slope is a constant on each side of the threshold."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnax.surrogate.base import Surrogate, number, surrogate


def straight_through_estimator() -> Surrogate:
    r"""Straight-through estimator: the gradient passes unchanged.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = 1

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Example:
        >>> [float(d) for d in straight_through_estimator().derivative([-9.0, 0.0, 9.0])]
        [1.0, 1.0, 1.0]

    Source: Y. Bengio et al. (2013), arXiv:1308.3432. As snnTorch.
    """
    return surrogate("straight_through_estimator", _straight_through_estimator)


def _straight_through_estimator(x: jax.Array, g: jax.Array, spikes: jax.Array) -> jax.Array:
    return g


def triangular(threshold: float = 1) -> Surrogate:
    r"""The "triangular" surrogate of snnTorch: a constant that changes sign at threshold.

    .. math:: S = [x > 0], \qquad
        \frac{dS}{dx} = \begin{cases} \theta & x < 0 \\ -\theta & x \ge 0 \end{cases}

    Args:
        threshold: :math:`\theta`, the size of the slope.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: ``threshold`` is not one finite number.

    Example:
        >>> [float(d) for d in triangular(threshold=2).derivative([-0.5, 0.0, 1.5])]
        [2.0, -2.0, -2.0]

    Despite its name it is not a triangle (that would be :math:`\max(0, \theta - |x|)`), and its slope is
    negative above threshold: more input, less spiking. snnax follows snnTorch, so that ported training runs
    agree. For a triangle use :func:`custom_surrogate`.
    """
    return surrogate("triangular", _triangular, threshold=number("triangular", "threshold", threshold))


def _triangular(x: jax.Array, g: jax.Array, spikes: jax.Array, threshold: float) -> jax.Array:
    return g * jnp.where(x >= 0, -threshold, threshold).astype(x.dtype)


def heaviside() -> Surrogate:
    r"""Heaviside surrogate: the gradient passes where there is a spike.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = S

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Example:
        >>> [float(d) for d in heaviside().derivative([-0.5, 0.0, 0.1])]
        [0.0, 0.0, 1.0]

    As snnTorch.
    """
    return surrogate("heaviside", _heaviside)


def _heaviside(x: jax.Array, g: jax.Array, spikes: jax.Array) -> jax.Array:
    return g * spikes


def LSO(slope: float = 0.1) -> Surrogate:
    r"""Leaky spike operator: full gradient where there is a spike, a small one elsewhere.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = \begin{cases} 1 & S = 1 \\ k & S = 0 \end{cases}

    Args:
        slope: :math:`k`, the slope below threshold.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: ``slope`` is not one finite number.

    Example:
        >>> [round(float(d), 4) for d in LSO(slope=0.1).derivative([-0.5, 0.0, 0.1])]
        [0.1, 0.1, 1.0]

    snnTorch 1.0.0 raises a TypeError when its ``LSO`` is called (it wraps the class of ``SSO``; reported as
    jeshraghian/snntorch#347). snnax does what its documentation describes.
    """
    return surrogate("LSO", _lso, slope=number("LSO", "slope", slope))


def _lso(x: jax.Array, g: jax.Array, spikes: jax.Array, slope: float) -> jax.Array:
    return g * jnp.where(spikes > 0, 1.0, slope).astype(x.dtype)
