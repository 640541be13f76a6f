"""Operands as torch brings them together: their common type, and their axes aligned from the right."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax.interop.program.operators.forms import forms, of_function
from snnax.interop.program.operators.registry import Call, Function, computes


def aligned(*values: Any) -> list[jax.Array]:
    """Arrays with the same number of axes: torch adds axes in front, here that is said."""
    arrays = [jnp.asarray(value) for value in values]
    rank = max(array.ndim for array in arrays)
    return [a if a.ndim == rank else a.reshape((1,) * (rank - a.ndim) + a.shape) for a in arrays]


def operands(call: Call, *values: Any) -> list[jax.Array]:
    """Arrays of the result's type with the same number of axes."""
    return aligned(*(jnp.asarray(value, call.dtype) for value in values))


def elementwise(*names: str) -> Callable[[Callable[..., jax.Array]], Function]:
    """Register a function of operands alone: it gets them in the type of the result, axes aligned."""

    def register(function: Callable[..., jax.Array]) -> Function:
        @wraps(function)
        def applied(call: Call, *values: Any) -> jax.Array:
            return function(*operands(call, *values))

        written = of_function(function)
        if written is not None:
            forms(*names)(lambda words, *values: written(words.operands(*values)))
        return computes(*names)(applied)

    return register


def compared(*values: Any) -> list[jax.Array]:
    """Operands of an operator of which the result's type says nothing, as of ``x > y``: torch's common type."""
    dtype = common_type(*values)
    return aligned(*(jnp.asarray(value, dtype) for value in values))


def common_type(*values: Any) -> np.dtype[Any]:
    """The type that torch computes in.

    Arrays with axes decide; 0-d arrays, and after them Python's numbers, only if they are of a higher kind, as a
    fraction among integers. In JAX 0-d arrays count like all others.
    """
    chosen: np.dtype[Any] | None = None
    for group in _by_weight(values):
        dtype = reduce(jnp.promote_types, group)
        if chosen is None:
            chosen = dtype
        elif _kind(dtype) > _kind(chosen):
            chosen = jnp.promote_types(chosen, dtype)
    return jax.dtypes.canonicalize_dtype(chosen)


def _by_weight(values: tuple[Any, ...]) -> list[list[Any]]:
    """The types of arrays with axes, of 0-d arrays, and of numbers; those that there are."""
    groups: list[list[Any]] = [[], [], []]
    for value in values:
        if isinstance(value, bool | int | float):
            kind = np.bool_ if isinstance(value, bool) else np.int64 if isinstance(value, int) else np.float32
            groups[2].append(np.dtype(kind))
        else:
            groups[0 if np.ndim(value) else 1].append(jnp.asarray(value).dtype)
    return [group for group in groups if group]


def _kind(dtype: Any) -> int:
    """Boolean, integer, floating."""
    return 0 if dtype == np.bool_ else 1 if jnp.issubdtype(dtype, jnp.integer) else 2
