"""Operations whose rounding or gradient has to be that of torch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Constant = jax.Array | np.ndarray
"""A parameter: a NumPy array if it is fixed when the program is built, else a JAX array."""


def unit(decay: Constant) -> Constant:
    r""":math:`\min(\max(d, 0), 1)`, with gradient 1 on the borders as ``torch.clamp`` (``jnp.clip``: 1/2).

    Args:
        decay: array of any shape; NaN stays NaN.
    """
    if isinstance(decay, np.ndarray | np.generic):
        return np.asarray(np.clip(decay, 0, 1), decay.dtype)
    return jnp.where(decay < 0, 0, jnp.where(decay > 1, 1, decay))


def each_step(value: Constant) -> Constant:
    """A parameter that is aligned to one step, aligned to ``[T, ...]``."""
    return value[None] if value.ndim else value


def log(x: Constant) -> Constant:
    """Natural logarithm; of a fixed value on the host, in double precision, rounded once.

    XLA folds the logarithm of a constant with another routine than the one it runs for a variable, so
    without this a compiled program and an eager one would differ in the last bit.

    Args:
        x: array of any shape; zero gives minus infinity.
    """
    if isinstance(x, np.ndarray | np.generic):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(x.astype(np.float64)), x.dtype)
    return jnp.log(x)


def pinned(x: Constant) -> jax.Array:
    """``x``, hidden from the compiler, which else rewrites ``(a * b) * c`` or ``a / (b / c)`` and rounds anew."""
    return lax.optimization_barrier(jnp.asarray(x))


def quotient(x: jax.Array, by: jax.Array | float) -> jax.Array:
    """``x / by`` of floating-point numbers, rounded once, also where one number divides many.

    XLA would multiply by ``1 / by`` there, and ``round(x / by)`` could be another whole number.
    """
    x_or_nan = lax.stop_gradient(
        x
    )  # a divisor of each element's own is none that the compiler sees to be one for many
    return x / jnp.where(x_or_nan != x_or_nan, x_or_nan, jnp.asarray(by, x.dtype))
