"""What layers ask of their arguments and arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError

Size = int | Sequence[int]


def as_tuple(value: Size, rank: int, what: str) -> tuple[int, ...]:
    """``3`` -> ``(3, 3)``; checks the length of a sequence."""
    try:
        entries: Any = value if np.ndim(value) else [value] * rank
        sizes = tuple(operator.index(entry) for entry in entries)
    except (TypeError, ValueError, RuntimeError):
        sizes = ()
    if len(sizes) != rank:
        expected = f"a whole number or {rank} of them, as {(2,) * rank}"
        if what.endswith("=...)"):
            raise checks.refuse(what, value, expected)
        raise ArgumentError(f"{what}={checks.shown(value)}; expected {expected}.")
    return sizes


def floating(x: jax.Array) -> jax.Array:
    """Integers as float32, as neurons take them: sums of small integers would wrap around."""
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def for_sample(what: str, value: Any, x: jax.Array) -> Any:
    """``value``, a number or an array for each neuron, with the axes of ``x``; ``what`` it is, for the error."""
    shape, pairs = value.shape, zip(value.shape[::-1], x.shape[::-1], strict=False)
    if shape and (len(shape) >= max(x.ndim, 2) or any(s not in (1, n) for s, n in pairs)):
        raise ShapeError(
            f"{what} has shape {shape}, the input {x.shape}. Expected one number, or an array that broadcasts "
            f"from the right to one sample, as {x.shape[-1:]}."
        )
    return value.reshape((1,) * (x.ndim - len(shape)) + shape) if shape else value
