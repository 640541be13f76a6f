"""Numbers written, or added, to positions that are arrays themselves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax.interop.program.operators.indexing import Indices, along, whole
from snnax.interop.program.operators.registry import Call, computes


@computes("index_put", "_unsafe_index_put")
def index_put(
    call: Call, x: jax.Array, indices: Indices, values: jax.Array, accumulate: bool = False
) -> jax.Array:
    """With what lies at these positions replaced, or added to; a mask alone takes one value for all it chooses."""
    values = values.astype(x.dtype)
    mask = indices[0] if len(indices) == 1 else None
    if mask is not None and mask.dtype == np.bool_ and values.size == 1:
        seen = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
        value = values.reshape(())
        return jnp.where(seen, x + value if accumulate else value, x)
    at = x.at[whole(call, indices)]
    return at.add(values) if accumulate else at.set(values)


def _spread(x: jax.Array, dim: int, index: jax.Array) -> Any:
    """The slices of an axis at ``index``, to write to."""
    position: list[Any] = [slice(None)] * x.ndim
    position[dim] = index.reshape(-1)
    return x.at[tuple(position)]


@computes("index_add")
def index_add(
    call: Call, x: jax.Array, dim: int, index: jax.Array, source: jax.Array, *, alpha: Any = 1
) -> jax.Array:
    """With slices added to slices of an axis."""
    del call
    added = source.astype(x.dtype) * jnp.asarray(alpha, x.dtype)
    return _spread(x, dim, index).add(added) if x.ndim else x + added.sum()


@computes("index_copy")
def index_copy(call: Call, x: jax.Array, dim: int, index: jax.Array, source: jax.Array) -> jax.Array:
    """With slices of an axis replaced."""
    del call
    return _spread(x, dim, index).set(source.astype(x.dtype))


@computes("index_fill.int_Scalar", "index_fill.int_Tensor")
def index_fill(call: Call, x: jax.Array, dim: int, index: jax.Array, value: Any) -> jax.Array:
    """With slices of an axis filled."""
    return _spread(x, dim, index).set(jnp.asarray(value, call.dtype))


def _part(src: Any, index: jax.Array, dtype: Any) -> jax.Array:
    """The numbers of ``src`` that have a position; a number stands for all."""
    src = jnp.asarray(src, dtype)
    return src[tuple(slice(length) for length in index.shape)] if src.ndim else src


def _at(x: jax.Array, dim: int, index: jax.Array) -> Any:
    """The positions that ``index`` gives along one axis, to write to."""
    return x.at[along(index, dim)]


@computes("scatter.src", "scatter.value", "scatter.reduce", "scatter.value_reduce")
def scatter(
    call: Call, x: jax.Array, dim: int, index: jax.Array, src: Any, *, reduce: str | None = None
) -> jax.Array:
    """With the numbers at positions of one axis replaced, or added to, or multiplied."""
    if not x.ndim:
        x, index, src = x.reshape(1), index.reshape(1), jnp.asarray(src).reshape(-1)[0]
        return scatter(call, x, 0, index, src, reduce=reduce).reshape(())
    at, values = _at(x, dim, index), _part(src, index, x.dtype)
    if reduce is None:
        return at.set(values)
    return at.add(values) if reduce == "add" else _multiplied(x, dim, index, values)


@computes("scatter_add")
def scatter_add(call: Call, x: jax.Array, dim: int, index: jax.Array, src: jax.Array) -> jax.Array:
    """With numbers added at positions of one axis."""
    return scatter(call, x, dim, index, src, reduce="add")


@computes("scatter_reduce.two")
def scatter_reduce(
    call: Call,
    x: jax.Array,
    dim: int,
    index: jax.Array,
    src: jax.Array,
    reduce: str,
    *,
    include_self: bool = True,
) -> jax.Array:
    """With numbers summed, multiplied, averaged or compared at positions of one axis."""
    values = _part(src, index, x.dtype)
    reached = _at(jnp.zeros(x.shape, bool), dim, index).set(True)
    if not include_self:
        lowest, highest = _limits(x.dtype)
        start = {"sum": 0, "mean": 0, "prod": 1, "amax": lowest, "amin": highest}[reduce]
        x = jnp.where(reached, jnp.asarray(start, x.dtype), x)
    at = _at(x, dim, index)
    if reduce == "prod":
        return _multiplied(x, dim, index, values)
    if reduce == "mean":
        counts = _at(jnp.full(x.shape, int(include_self)), dim, index).add(1)
        return at.add(values) / jnp.where(reached, counts, 1).astype(x.dtype)
    return {"sum": at.add, "amax": at.max, "amin": at.min}[reduce](values)


def _multiplied(x: jax.Array, dim: int, index: jax.Array, values: jax.Array) -> jax.Array:
    """With numbers multiplied at positions of one axis; JAX has no derivative where it does so by itself."""
    values = jnp.broadcast_to(values, index.shape)
    place, factor = (jnp.moveaxis(a, dim, -1)[..., None, :] for a in (index, values))
    hit = place == jnp.arange(x.shape[dim]).reshape((1,) * (index.ndim - 1) + (-1, 1))
    factors = jnp.moveaxis(jnp.where(hit, factor, jnp.ones_like(factor)).prod(-1), -1, dim)
    return x.at[tuple(slice(length) for length in factors.shape)].multiply(factors, unique_indices=True)


def _limits(dtype: Any) -> tuple[Any, Any]:
    """The smallest and largest value of a type."""
    if jnp.issubdtype(dtype, jnp.floating):
        return -np.inf, np.inf
    info = jnp.iinfo(dtype)
    return info.min, info.max


@computes("put")
def put(call: Call, x: jax.Array, index: jax.Array, source: jax.Array, accumulate: bool = False) -> jax.Array:
    """With numbers at places in reading order replaced, or added to."""
    del call
    at, values = x.reshape(-1).at[index.reshape(-1)], source.reshape(-1)
    return (at.add(values) if accumulate else at.set(values)).reshape(x.shape)


@computes("masked_scatter")
def masked_scatter(call: Call, x: jax.Array, mask: jax.Array, source: jax.Array) -> jax.Array:
    """With the numbers that a mask chooses replaced by those of ``source``, in reading order."""
    del call
    shape = jnp.broadcast_shapes(x.shape, mask.shape)
    x, mask = (jnp.broadcast_to(a, shape) for a in (x, mask))
    order = jnp.cumsum(mask.reshape(-1)) - 1
    return jnp.where(mask, source.reshape(-1)[order].reshape(shape), x)
