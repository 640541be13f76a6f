"""Comparisons, logic, choices, and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from snnax.interop.program.operators.promotion import aligned, compared, elementwise, operands
from snnax.interop.program.operators.registry import Call, Function, computes


def _comparison(function: Callable[..., jax.Array]) -> Function:
    def applied(call: Call, *values: Any) -> jax.Array:
        del call
        return function(*compared(*values))

    return applied


_TWO_OVERLOADS: dict[str, Callable[..., jax.Array]] = {
    "gt": jnp.greater, "lt": jnp.less, "ge": jnp.greater_equal, "le": jnp.less_equal, "eq": jnp.equal,
    "ne": jnp.not_equal,
}  # fmt: skip
_ONE_OVERLOAD: dict[str, Callable[..., jax.Array]] = {
    "logical_and": jnp.logical_and, "logical_or": jnp.logical_or, "logical_xor": jnp.logical_xor,
    "logical_not": jnp.logical_not, "isnan": jnp.isnan, "isinf": jnp.isinf, "isfinite": jnp.isfinite,
    "isposinf": jnp.isposinf, "isneginf": jnp.isneginf,
}  # fmt: skip
for name, function in _TWO_OVERLOADS.items():
    computes(f"{name}.Tensor", f"{name}.Scalar")(_comparison(function))
for name, function in _ONE_OVERLOAD.items():
    computes(name)(_comparison(function))


@computes("signbit")
def signbit(call: Call, x: jax.Array) -> jax.Array:
    """Whether the sign is negative, that of -0 too."""
    del call
    return jnp.signbit(x) if jnp.issubdtype(x.dtype, jnp.floating) else x < 0


elementwise("bitwise_not")(jnp.bitwise_not)


@computes("where.self", "where.ScalarSelf", "where.ScalarOther", "where.Scalar")
def where(call: Call, condition: jax.Array, x: Any, other: Any) -> jax.Array:
    """``x`` where the condition holds, else ``other``."""
    chosen, x, other = aligned(condition.astype(bool), *(jnp.asarray(v, call.dtype) for v in (x, other)))
    return jnp.where(chosen, x, other)


@elementwise("heaviside")
def heaviside(x: jax.Array, values: jax.Array) -> jax.Array:
    """0 below zero, ``values`` at zero, 1 above."""
    return jnp.where(x == 0, values, (x > 0).astype(x.dtype))


elementwise("maximum", "max.other")(jnp.maximum)
elementwise("minimum", "min.other")(jnp.minimum)


@elementwise("fmax")
def fmax(x: jax.Array, other: jax.Array) -> jax.Array:
    """The larger one, or the one that is a number; of equal ones the first has the slope, not each a half."""
    return jnp.where((x >= other) | jnp.isnan(other), x, other)


@elementwise("fmin")
def fmin(x: jax.Array, other: jax.Array) -> jax.Array:
    """The smaller one, or the one that is a number; of equal ones the first has the slope, not each a half."""
    return jnp.where((x <= other) | jnp.isnan(other), x, other)


@computes("clamp", "clamp.Tensor")
def clamp(call: Call, x: Any, min: Any = None, max: Any = None) -> jax.Array:
    """``x`` within bounds.

    A choice, not a maximum and a minimum: at the bound torch hands the whole slope on, those a half of it.
    """
    if min is not None:
        x, bound = operands(call, x, min)
        x = jnp.where(x < bound, bound, x)
    if max is not None:
        x, bound = operands(call, x, max)
        x = jnp.where(x > bound, bound, x)
    return x


@computes("clamp_min", "clamp_min.Tensor")
def clamp_min(call: Call, x: Any, min: Any) -> jax.Array:
    """``x``, at least the bound."""
    return clamp(call, x, min)


@computes("clamp_max", "clamp_max.Tensor")
def clamp_max(call: Call, x: Any, max: Any) -> jax.Array:
    """``x``, at most the bound."""
    return clamp(call, x, None, max)
