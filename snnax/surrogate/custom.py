"""A surrogate from the user's own gradient."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.surrogate.base import Surrogate, surrogate

Gradient = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def custom_surrogate(custom_surrogate_function: Gradient) -> Surrogate:
    r"""Surrogate with the gradient that you write.

    .. math:: S = [x > 0], \qquad \bar x = f(x, \bar S, S)

    Args:
        custom_surrogate_function: :math:`f(x, g, S)`, from the membrane above threshold, the incoming
            gradient and the spikes, all of one shape, to the whole outgoing gradient: ``g`` times your slope.
            Written with ``jax.numpy``, hashable, pointwise, and linear in ``g``.

    Returns:
        The spike function, from an array of any shape to spikes of that shape and dtype.

    Raises:
        ArgumentError: the argument is not callable or not hashable, or (found when it is differentiated) it
            is not linear in ``g``.
        ShapeError: (found when it is differentiated) the result has another shape than ``x``.

    Example:
        >>> import jax.numpy as jnp
        >>> def triangle(x, g, spikes):
        ...     return g * jnp.maximum(0, 1 - jnp.abs(x))
        >>> spike = custom_surrogate(triangle)
        >>> [float(d) for d in spike.derivative([-0.5, 0.0, 0.25])]
        [0.5, 1.0, 0.75]

    As snnTorch, which also takes an ``f`` that is not linear in ``g`` (gradient clipping, say). That is not
    a derivative and has no forward mode, so snnax refuses it; clip with ``optax.clip`` instead.
    """
    if not callable(custom_surrogate_function):
        raise ArgumentError(
            f"surrogate.custom_surrogate takes a function f(x, g, spikes), "
            f"got {checks.shown(custom_surrogate_function)}. "
            f"Write it as surrogate.custom_surrogate(lambda x, g, spikes: g / (25 * abs(x) + 1) ** 2)."
        )
    try:
        hash(custom_surrogate_function)
    except TypeError as error:
        raise ArgumentError(
            f"surrogate.custom_surrogate takes a hashable function, got {checks.shown(custom_surrogate_function)}: "
            f"pass a plain function or lambda instead."
        ) from error
    return surrogate("custom_surrogate", _custom, custom_surrogate_function=custom_surrogate_function)


def _custom(x: jax.Array, g: jax.Array, spikes: jax.Array, custom_surrogate_function: Gradient) -> jax.Array:
    gradient = custom_surrogate_function(x, g, spikes)
    _check(custom_surrogate_function, gradient, x)
    return gradient.astype(x.dtype)


def _check(function: Gradient, gradient: jax.Array, x: jax.Array) -> None:
    name = getattr(function, "__name__", repr(function))
    if gradient.shape != x.shape:
        raise ShapeError(
            f"custom_surrogate: {name}(x, g, spikes) must return an array of the shape of x, {x.shape}, "
            f"and returned {gradient.shape}. Return g times a slope for each element of x."
        )
    if not (_vanishes_without_gradient(function, x) and _is_transposable(function, x)):
        raise ArgumentError(
            f"custom_surrogate: {name}(x, g, spikes) is not linear in g, so it is not a derivative. "
            f"Return g times a slope, as g / (25 * abs(x) + 1) ** 2; clip gradients with optax.clip instead."
        )


def _vanishes_without_gradient(function: Gradient, x: jax.Array) -> bool:
    """Whether f(x, 0, S) is 0 at a point below and one above threshold; unknown counts as yes."""
    with jax.ensure_compile_time_eval():
        one = jnp.ones(x.shape, x.dtype)
        results = [function(one / 2, one * 0, one), function(-one / 2, one * 0, one * 0)]
        return all(isinstance(r, jax.core.Tracer) or not jnp.any(r) for r in results)


def _is_transposable(function: Gradient, x: jax.Array) -> bool:
    """Whether JAX can transpose g -> f(x, g, S), which it can for the linear functions only."""
    spec = jax.ShapeDtypeStruct(x.shape, x.dtype)

    def transposed(x: jax.Array, g: jax.Array, spikes: jax.Array) -> list[jax.Array]:
        return jax.linear_transpose(lambda t: function(x, t, spikes).astype(x.dtype), g)(g)

    try:
        jax.eval_shape(transposed, spec, spec, spec)
    except Exception:
        return False
    return True
