"""Parts of an array, and arrays with a part of them replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.interop.program.operators.forms import ATOM, Text, Words, call, forms, indexed
from snnax.interop.program.operators.registry import Call, computes


def place(index: Any, length: int) -> Any:
    """A position counted from the front; it may be a number that changes in a loop."""
    return index % length if isinstance(index, int) else jnp.where(index < 0, index + length, index)


def span(length: int, start: int | None, end: int | None, step: int) -> slice:
    """A slice with bounds inside the axis; torch takes any."""
    first, last, _ = slice(start, end).indices(length)
    return slice(first, max(first, last), step)


def taken(x: jax.Array, places: np.ndarray, axis: int) -> jax.Array:
    """What lies at these places of an axis, in their shape; all of them are inside."""
    return jnp.take(x, places, axis, mode="clip")


def _along(x: jax.Array, dim: int, part: Any) -> tuple[Any, ...]:
    """The index of a part along one axis."""
    index: list[Any] = [slice(None)] * x.ndim
    index[dim] = part
    return tuple(index)


@computes("select.int")
def select(call: Call, x: jax.Array, dim: int, index: Any) -> jax.Array:
    """One slice of an axis, without it."""
    del call
    where = place(index, x.shape[dim])
    if isinstance(where, int):
        return lax.index_in_dim(x, where, dim, keepdims=False)
    return lax.dynamic_index_in_dim(x, where, dim, keepdims=False)


@forms("select.int")
def _selected(words: Words, x: Text, dim: int, index: Any) -> Text:
    return indexed(x, dim % x.ndim, index if isinstance(index, Text) else words.number(index))


@forms("slice.Tensor")
def _sliced(words: Words, x: Text, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Text:
    return indexed(x, dim % x.ndim, _bounds(words, start, end, step))


def _bounds(words: Words, start: Any, end: Any, step: int) -> str:
    first = "" if start in (None, 0) else str(words.number(start))
    last = "" if end is None or (isinstance(end, int) and end >= 2**31) else str(words.number(end))
    return f"{first}:{last}" + (f":{step}" if step != 1 else "")


@forms("select_scatter")
def _with_entry(words: Words, x: Text, src: Text, dim: int, index: Any) -> Text:
    index = index if isinstance(index, Text) else words.number(index)
    return call(f"{x.within(ATOM)}.at[{':, ' * (dim % x.ndim)}{index}].set", words.cast(src))


@forms("slice_scatter")
def _with_part(
    words: Words, x: Text, src: Text, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Text:
    where = _bounds(words, start, end, step)
    return call(f"{x.within(ATOM)}.at[{':, ' * (dim % x.ndim)}{where}].set", words.cast(src))


@computes("slice.Tensor")
def part(
    call: Call, x: jax.Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> jax.Array:
    """A part of an axis."""
    del call
    bounds = span(x.shape[dim], start, end, step)
    return lax.slice_in_dim(x, bounds.start, bounds.stop, bounds.step, dim)


@computes("narrow")
def narrow(call: Call, x: jax.Array, dim: int, start: Any, length: int) -> jax.Array:
    """So many slices of an axis from one on, which may change in a loop."""
    del call
    return lax.dynamic_slice_in_dim(x, place(start, x.shape[dim]), length, dim)


@computes("select_scatter")
def select_scatter(call: Call, x: jax.Array, src: jax.Array, dim: int, index: Any) -> jax.Array:
    """With one slice of an axis replaced."""
    del call
    return lax.dynamic_update_index_in_dim(x, src.astype(x.dtype), place(index, x.shape[dim]), dim)


@computes("slice_scatter")
def slice_scatter(
    call: Call,
    x: jax.Array,
    src: jax.Array,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> jax.Array:
    """With a part of an axis replaced."""
    del call
    bounds = span(x.shape[dim], start, end, step)
    return x.at[_along(x, dim, bounds)].set(src.astype(x.dtype))


@computes("diagonal")
def diagonal(call: Call, x: jax.Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> jax.Array:
    """A diagonal of two axes as the last axis."""
    del call
    return jnp.diagonal(x, offset, dim1, dim2)


def _diagonal_index(
    x: jax.Array, offset: int, dim1: int, dim2: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``x`` with the two axes last, and the positions of the diagonal on them."""
    moved = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    rows, columns = moved.shape[-2:]
    count = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    along = jnp.arange(count)
    return moved, along + max(-offset, 0), along + max(offset, 0)


@computes("diagonal_scatter")
def diagonal_scatter(
    call: Call, x: jax.Array, src: jax.Array, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> jax.Array:
    """With a diagonal of two axes replaced."""
    del call
    moved, rows, columns = _diagonal_index(x, offset, dim1, dim2)
    return jnp.moveaxis(moved.at[..., rows, columns].set(src.astype(x.dtype)), (-2, -1), (dim1, dim2))


@computes("diag_embed")
def diag_embed(call: Call, x: jax.Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> jax.Array:
    """The last axis as a diagonal of two."""
    size = x.shape[-1] + abs(offset)
    zeros = jnp.moveaxis(jnp.zeros((*x.shape[:-1], size, size), x.dtype), (-2, -1), (dim1, dim2))
    return diagonal_scatter(call, zeros, x, offset, dim1, dim2)


@computes("tril")
def tril(call: Call, x: jax.Array, diagonal: int = 0) -> jax.Array:
    """Zero above a diagonal."""
    del call
    return jnp.tril(x, diagonal)


@computes("triu")
def triu(call: Call, x: jax.Array, diagonal: int = 0) -> jax.Array:
    """Zero below a diagonal."""
    del call
    return jnp.triu(x, diagonal)


@computes("unfold")
def unfold(call: Call, x: jax.Array, dimension: int, size: int, step: int) -> jax.Array:
    """Windows along an axis, their inside as the last axis."""
    del call
    if not x.ndim:
        return jnp.broadcast_to(x, (size,))
    axis = dimension % x.ndim
    starts = np.arange((x.shape[axis] - size) // step + 1) * step
    places = starts[:, None] + np.arange(size)
    return jnp.moveaxis(taken(x, places, axis), axis + 1, -1)


def _strided(size: Sequence[int], stride: Sequence[int], offset: int | None) -> np.ndarray:
    """Where each number lies in memory."""
    places = np.asarray(offset or 0)
    for length, step in zip(size, stride, strict=True):
        places = places[..., None] + np.arange(length) * step
    return places


@computes("as_strided")
def as_strided(
    call: Call, x: jax.Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> jax.Array:
    """The numbers at these distances in memory, where ``x`` lies in reading order."""
    del call
    return x.reshape(-1)[_strided(size, stride, storage_offset)]


@computes("as_strided_scatter")
def as_strided_scatter(
    call: Call,
    x: jax.Array,
    src: jax.Array,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> jax.Array:
    """With the numbers at these distances in memory replaced."""
    del call
    places = _strided(size, stride, storage_offset)
    return x.reshape(-1).at[places].set(src.astype(x.dtype)).reshape(x.shape)
