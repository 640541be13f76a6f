"""Checks of the arguments that the functions of :mod:`snnax.event` share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ShapeError

__all__ = ["floats", "seconds", "shaped_alike"]

seconds = checks.number(above=0.0, called="seconds: a finite number")
"""A length of time that is not zero, as a Python float."""


def floats(value: Any, what: str) -> jax.Array:
    """Real numbers as a floating array: whole ones in the default type, the others in their own."""
    array = checks.array(value, what)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def shaped_alike(function: str, **given: Any) -> tuple[jax.Array, ...]:
    """Floating arrays of one shape; single numbers are taken for each of its places.

    Raises:
        ArgumentError: for anything but real numbers.
        ShapeError: for two shapes.
    """
    arrays = {name: floats(value, f"{function}({name}=...)") for name, value in given.items()}
    shapes = {array.shape for array in arrays.values() if array.ndim}
    if len(shapes) > 1:
        named = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
        raise ShapeError(f"{function}({named}): expected the same shape, or single numbers.")
    shape = next(iter(shapes), ())
    return tuple(jnp.broadcast_to(array, shape) for array in arrays.values())
