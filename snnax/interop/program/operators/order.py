"""Sorted numbers, the largest few, medians, and where a number belongs among sorted ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.extremes import chosen
from snnax.interop.program.operators.registry import Call, computes

Pair = tuple[jax.Array, jax.Array]


@computes("sort")
def sort(call: Call, x: jax.Array, dim: int = -1, descending: bool = False) -> Pair:
    """Sorted along an axis, equal numbers in their order, and from where each came."""
    return sort_stable(call, x, dim=dim, descending=descending)


@computes("sort.stable")
def sort_stable(
    call: Call, x: jax.Array, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Pair:
    """Sorted along an axis, equal numbers in their order, and from where each came."""
    del call, stable
    if not x.ndim:
        return x, jnp.zeros((), int)
    return chosen(x, jnp.argsort(x, dim, descending=descending, stable=True), dim, keepdim=True)


@computes("argsort", "argsort.stable")
def argsort(
    call: Call, x: jax.Array, dim: int = -1, descending: bool = False, *, stable: bool | None = None
) -> jax.Array:
    """From where each number of the sorted axis came."""
    return sort_stable(call, x, dim=dim, descending=descending, stable=stable)[1]


@computes("topk")
def topk(call: Call, x: jax.Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Pair:
    """The largest few along an axis, in order, and where they are; of equal ones the first."""
    del call, sorted
    if not x.ndim:
        return x, jnp.zeros((), int)
    index = jnp.argsort(x, dim, descending=largest, stable=True)
    return chosen(x, lax.slice_in_dim(index, 0, k, axis=dim), dim, keepdim=True)


@computes("kthvalue")
def kthvalue(call: Call, x: jax.Array, k: int, dim: int = -1, keepdim: bool = False) -> Pair:
    """The k-th smallest along an axis, counted from 1, and where it is."""
    del call
    if not x.ndim:
        return x, jnp.zeros((), int)
    index = jnp.argsort(x, dim, stable=True)
    return chosen(x, lax.slice_in_dim(index, k - 1, k, axis=dim), dim, keepdim)


@computes("median.dim")
def median_along(call: Call, x: jax.Array, dim: int, keepdim: bool = False) -> Pair:
    """The lower median along an axis, and where it is; no number where there is one that is none."""
    if not x.ndim:
        return x, jnp.zeros((), int)
    found = kthvalue(call, x, (x.shape[dim] + 1) // 2, dim, True)[1]
    if jnp.issubdtype(x.dtype, jnp.floating):
        missing = jnp.isnan(x)
        found = jnp.where(missing.any(dim, keepdims=True), jnp.argmax(missing, dim, keepdims=True), found)
    return chosen(x, found, dim, keepdim)


@computes("median")
def median(call: Call, x: jax.Array) -> jax.Array:
    """The lower median of all; equal numbers share its slope."""
    value = lax.stop_gradient(median_along(call, x.reshape(-1), 0)[0])
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return value
    alike = (x == value) | (jnp.isnan(x) & jnp.isnan(value))
    shared = jnp.where(alike, x - lax.stop_gradient(x), jnp.zeros_like(x)).sum() / alike.sum()
    return value + jnp.where(jnp.isnan(value), jnp.zeros_like(value), shared)


@computes("mode")
def mode(call: Call, x: jax.Array, dim: int = -1, keepdim: bool = False) -> Pair:
    """The commonest number along an axis, of several the smallest, and where it is last."""
    del call
    if not x.ndim:
        return x, jnp.zeros((), int)
    last = jnp.moveaxis(x, dim, -1)
    alike = last[..., :, None] == last[..., None, :]
    counts = alike.sum(-1)
    common = counts == counts.max(-1, keepdims=True)
    highest = jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).max
    smallest = jnp.where(common, last, jnp.asarray(highest, x.dtype)).min(-1, keepdims=True)
    places = lax.broadcasted_iota(int, last.shape, x.ndim - 1)
    found = jnp.where(last == smallest, places, -1).max(-1, keepdims=True)
    return chosen(x, jnp.moveaxis(found, -1, dim), dim, keepdim)


@computes("histc")
def histc(call: Call, x: jax.Array, bins: int = 100, min: Any = 0, max: Any = 0) -> jax.Array:
    """How many numbers lie in each of equal bins between two bounds; between the extremes where these are equal."""
    x = lax.stop_gradient(x.reshape(-1))
    low, high = (x.min(), x.max()) if min == max else (jnp.asarray(v, x.dtype) for v in (min, max))
    place = ((x - low) / (high - low) * bins).astype(int)
    place = jnp.where(x == high, bins - 1, place)
    inside = (x >= low) & (x <= high)
    return jnp.zeros(bins, call.dtype).at[place].add(inside.astype(call.dtype))


@computes("searchsorted.Tensor", "searchsorted.Scalar")
def searchsorted(
    call: Call,
    sorted_sequence: jax.Array,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: jax.Array | None = None,
) -> jax.Array:
    """Where each value belongs in the sorted last axis, before its equals, or with ``right`` after them."""
    del call, out_int32
    if sorter is not None:
        sorted_sequence = jnp.take_along_axis(sorted_sequence, sorter, -1)
    right = right or side == "right"
    values = jnp.asarray(values)
    among = sorted_sequence if sorted_sequence.ndim == 1 else sorted_sequence[..., None, :]
    sought = values[..., None]
    among = among.reshape((1,) * (sought.ndim - among.ndim) + among.shape)
    return (among <= sought if right else among < sought).sum(-1)


@computes("bucketize.Tensor", "bucketize.Scalar")
def bucketize(
    call: Call, x: Any, boundaries: jax.Array, *, out_int32: bool = False, right: bool = False
) -> jax.Array:
    """Between which of the sorted boundaries each value lies."""
    return searchsorted(call, boundaries, x, out_int32=out_int32, right=right)


@computes("flip")
def flip(call: Call, x: jax.Array, dims: Sequence[int]) -> jax.Array:
    """Backwards along these axes."""
    del call
    return jnp.flip(x, tuple(dims))


@computes("roll")
def roll(call: Call, x: jax.Array, shifts: Any, dims: Any = ()) -> jax.Array:
    """Moved along axes, what falls off coming back at the front; without axes along all numbers in reading order."""
    del call
    shifts, dims = (tuple([v] if isinstance(v, int) else v) for v in (shifts, dims))
    return jnp.roll(x, shifts, dims) if dims else jnp.roll(x.reshape(-1), shifts[0]).reshape(x.shape)


@computes("rot90")
def rot90(call: Call, x: jax.Array, k: int = 1, dims: Sequence[int] = (0, 1)) -> jax.Array:
    """Turned by right angles from the first axis to the second."""
    del call
    first, second = dims
    return jnp.rot90(x, k, (first, second))
