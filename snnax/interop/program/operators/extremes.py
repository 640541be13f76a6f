"""Largest and smallest numbers, and where they are.

Where several are equal, torch hands the slope to the one that ``max`` along an axis found; ``amax``, and ``max`` over
all axes, share it among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.forms import Text, Words, axes, forms, method
from snnax.interop.program.operators.reductions import Axes, axes_of
from snnax.interop.program.operators.registry import Call, Function, computes

Reduction = Callable[..., jax.Array]


def chosen(x: jax.Array, index: jax.Array, dim: int, keepdim: bool) -> tuple[jax.Array, jax.Array]:
    """The value at one position along an axis, which alone has the slope, and that position; ``index`` has the axis."""
    values = jnp.take_along_axis(x, index, dim)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


def _over_all(reduction: Reduction) -> Function:
    def applied(call: Call, x: jax.Array, dim: Axes = (), keepdim: bool = False) -> jax.Array:
        del call
        return reduction(x, axes_of(dim) if x.ndim else None, keepdims=keepdim)

    return applied


def _along(find: Reduction) -> Function:
    def applied(call: Call, x: jax.Array, dim: int, keepdim: bool = False) -> tuple[jax.Array, jax.Array]:
        del call
        if not x.ndim:
            return x, jnp.zeros((), int)
        return chosen(x, find(x, dim, keepdims=True), dim, keepdim)

    return applied


def _place(find: Reduction) -> Function:
    def applied(call: Call, x: jax.Array, dim: int | None = None, keepdim: bool = False) -> jax.Array:
        del call
        return find(x, dim if x.ndim else None, keepdims=keepdim)

    return applied


def _form(name: str) -> Any:
    def form(words: Words, x: Text, dim: Any = None, keepdim: bool = False) -> Text:
        made = replace(method(x, name, axes(dim, x), keepdims=True if keepdim else None), dtype=x.dtype)
        return words.cast(replace(made, dtype=None)) if name.startswith("arg") else made

    return form


for side, reduction, find in (("max", jnp.max, jnp.argmax), ("min", jnp.min, jnp.argmin)):
    computes(f"a{side}", side)(_over_all(reduction))
    computes(f"{side}.dim")(_along(find))
    computes(f"arg{side}")(_place(find))
    forms(f"a{side}", side)(_form(side))
    forms(f"arg{side}")(_form(f"arg{side}"))


@computes("aminmax")
def aminmax(
    call: Call, x: jax.Array, dim: int | None = None, keepdim: bool = False
) -> tuple[jax.Array, jax.Array]:
    """The smallest and the largest."""
    del call
    axis = dim if x.ndim else None
    return jnp.min(x, axis, keepdims=keepdim), jnp.max(x, axis, keepdims=keepdim)


def _running(call: Call, x: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    """The extreme up to each position, and where it is: of equal ones the last."""
    if not x.ndim:
        return x, jnp.zeros((), int)
    later = jnp.greater_equal if call.name == "cummax" else jnp.less_equal
    places = lax.broadcasted_iota(jnp.int32, x.shape, dim % x.ndim)

    def better(first: Any, second: Any) -> tuple[jax.Array, jax.Array]:
        take = later(second[0], first[0]) | jnp.isnan(second[0])
        take = take & ~(jnp.isnan(first[0]) & ~jnp.isnan(second[0]))
        return jnp.where(take, second[0], first[0]), jnp.where(take, second[1], first[1])

    _, index = lax.associative_scan(better, (lax.stop_gradient(x), places), axis=dim % x.ndim)
    return chosen(x, index, dim, keepdim=True)


computes("cummax", "cummin")(_running)
