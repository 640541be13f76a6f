"""Surrogates whose slope falls off smoothly with the distance to threshold."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from snnax.surrogate.base import Surrogate, number, surrogate


def atan(alpha: float = 2.0) -> Surrogate:
    r"""Arc-tangent surrogate, the default of every neuron.

    .. math:: S = [x > 0], \qquad
        \frac{dS}{dx} = \frac{\alpha / 2}{1 + (\frac{\pi}{2} \alpha x)^2}

    Args:
        alpha: sharpness; the slope at threshold is ``alpha / 2``.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: ``alpha`` is not one finite number.

    Example:
        >>> [round(float(d), 4) for d in atan().derivative([-0.5, 0.0, 0.1])]
        [0.2884, 1.0, 0.9102]

    Source: W. Fang et al. (2021), Incorporating learnable membrane time constant, arXiv:2007.05785.
    snnTorch's documentation has a factor :math:`1/\pi` that its code, followed here, has not.
    """
    return surrogate("atan", _atan, alpha=number("atan", "alpha", alpha))


def _atan(x: jax.Array, g: jax.Array, spikes: jax.Array, alpha: float) -> jax.Array:
    return alpha / 2 / (1 + jnp.square(math.pi / 2 * alpha * x)) * g


def fast_sigmoid(slope: float = 25) -> Surrogate:
    r"""Fast-sigmoid surrogate, SuperSpike.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = \frac{1}{(1 + k |x|)^2}

    Args:
        slope: :math:`k`, sharpness; the slope at threshold is 1 whatever it is.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: ``slope`` is not one finite number.

    Example:
        >>> [round(float(d), 4) for d in fast_sigmoid(slope=25).derivative([-0.1, 0.0, 0.1])]
        [0.0816, 1.0, 0.0816]

    Source: F. Zenke, S. Ganguli (2018), SuperSpike, Neural Computation 30(6). As snnTorch.
    """
    return surrogate("fast_sigmoid", _fast_sigmoid, slope=number("fast_sigmoid", "slope", slope))


def _fast_sigmoid(x: jax.Array, g: jax.Array, spikes: jax.Array, slope: float) -> jax.Array:
    return g / jnp.square(slope * jnp.abs(x) + 1)


def sigmoid(slope: float = 25) -> Surrogate:
    r"""Sigmoid surrogate, the derivative of the logistic function.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = \frac{k\, e^{-kx}}{(e^{-kx} + 1)^2}

    Args:
        slope: :math:`k`, sharpness; the slope at threshold is ``slope / 4``.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: ``slope`` is not one finite number.

    Example:
        >>> [round(float(d), 4) for d in sigmoid(slope=25).derivative([-4.0, 0.0, 0.1])]
        [0.0, 6.25, 1.7526]

    Source: F. Zenke, S. Ganguli (2018), SuperSpike, Neural Computation 30(6).
    snnTorch evaluates :math:`e^{-kx}` as written: in float32 with ``k = 25`` its square overflows below
    ``x = -1.77`` (slope 0), and it itself below ``x = -3.55`` (slope NaN). The function is even, so snnax
    evaluates it at :math:`|x|`, where nothing overflows: snnTorch's slope, and its limit where that is lost.
    """
    return surrogate("sigmoid", _sigmoid, slope=number("sigmoid", "slope", slope))


def _sigmoid(x: jax.Array, g: jax.Array, spikes: jax.Array, slope: float) -> jax.Array:
    decayed = jnp.exp(-jnp.abs(slope * x))
    return g * slope * decayed / jnp.square(decayed + 1)


def spike_rate_escape(beta: float = 1, slope: float = 25) -> Surrogate:
    r"""Escape-rate surrogate, a Boltzmann distribution.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = k\, e^{-\beta |x - 1|}

    Args:
        beta: :math:`\beta`, how fast the slope falls off.
        slope: :math:`k`, its largest value.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: an argument is not one finite number.

    Example:
        >>> [round(float(d), 3) for d in spike_rate_escape().derivative([-0.5, 0.0, 1.0])]
        [5.578, 9.197, 25.0]

    Source: W. Gerstner, W. Kistler (2002), Spiking Neuron Models, Cambridge University Press.
    Note that the slope peaks at ``x = 1``, not at threshold: snnTorch subtracts 1 from a membrane from which
    the neuron has already subtracted its threshold. snnax follows it.
    """
    beta = number("spike_rate_escape", "beta", beta)
    slope = number("spike_rate_escape", "slope", slope)
    return surrogate("spike_rate_escape", _spike_rate_escape, beta=beta, slope=slope)


def _spike_rate_escape(x: jax.Array, g: jax.Array, spikes: jax.Array, beta: float, slope: float) -> jax.Array:
    return g * slope * jnp.exp(-beta * jnp.abs(x - 1))


def SFS(slope: float = 25, B: float = 1) -> Surrogate:
    r"""Sparse fast sigmoid: the fast sigmoid above ``B``, nothing below.

    .. math:: S = [x > 0], \qquad \frac{dS}{dx} = \frac{[x > B]}{(1 + k |x|)^2}

    Args:
        slope: :math:`k`, sharpness.
        B: how far above threshold the membrane must be for a gradient to pass.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: an argument is not one finite number.

    Example:
        >>> [round(float(d), 4) for d in SFS(slope=1, B=0.5).derivative([0.5, 1.0, 3.0])]
        [0.0, 0.25, 0.0625]

    Source: N. Perez-Nieves, D. Goodman (2021), Sparse spiking gradient descent, arXiv:2105.08810.
    As snnTorch.
    """
    return surrogate("SFS", _sfs, slope=number("SFS", "slope", slope), B=number("SFS", "B", B))


def _sfs(x: jax.Array, g: jax.Array, spikes: jax.Array, slope: float, B: float) -> jax.Array:
    return _fast_sigmoid(x, g, spikes, slope) * (x > B).astype(x.dtype)
