"""Comparisons, logic, choices, and bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax.interop.program.operators.forms import Text, Words, call, forms, of_function
from snnax.interop.program.operators.promotion import aligned, compared, elementwise, operands
from snnax.interop.program.operators.registry import Call, Function, computes


def _comparison(function: Callable[..., jax.Array]) -> Function:
    def applied(call: Call, *values: Any) -> jax.Array:
        del call
        return function(*compared(*values))

    return applied


def _compares(*names: str) -> Callable[[Callable[..., jax.Array]], Function]:
    """Register a comparison, and its form: arrays with axes are of one type there, or one of two is a number."""

    def register(function: Callable[..., jax.Array]) -> Function:
        written = of_function(function)

        def form(words: Words, *values: Any) -> Text | None:
            kinds = {v.dtype for v in values if isinstance(v, Text)}
            if written is None or len(kinds) > 1:
                return None
            return written(words.operands(*values, cast=False))

        forms(*names)(form)
        return computes(*names)(_comparison(function))

    return register


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
    _compares(f"{name}.Tensor", f"{name}.Scalar")(function)
for name, function in _ONE_OVERLOAD.items():
    _compares(name)(function)


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


@forms("where.self", "where.ScalarSelf", "where.ScalarOther", "where.Scalar")
def _chosen(words: Words, condition: Text, x: Any, other: Any) -> Text | None:
    x, other = (words.cast(v) if isinstance(v, Text) else call("jnp.asarray", words.number(v), words.type(words.dtype))
                for v in (x, other))  # fmt: skip
    parts = words.operands(condition, x, other, cast=False)
    return call("jnp.where", *parts) if condition.dtype == np.bool_ else None


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


@forms("clamp", "clamp.Tensor")
def _bounded(words: Words, x: Any, min: Any = None, max: Any = None) -> Text:
    for bound, sign in ((min, "<"), (max, ">")):  # jnp.clip would hand on a half of the slope at a bound
        if bound is not None:
            x, limit = map(words.named, words.operands(x, bound))
            x = replace(
                call("jnp.where", f"{x} {sign} {limit}", limit, x), shape=words.shape, dtype=words.dtype
            )
    return x


@computes("clamp_min", "clamp_min.Tensor")
def clamp_min(call: Call, x: Any, min: Any) -> jax.Array:
    """``x``, at least the bound."""
    return clamp(call, x, min)


@computes("clamp_max", "clamp_max.Tensor")
def clamp_max(call: Call, x: Any, max: Any) -> jax.Array:
    """``x``, at most the bound."""
    return clamp(call, x, None, max)
