"""The same numbers in other shapes, in other orders of axes, or several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.forms import ATOM, Text, Words, axes, call, forms, indexed, method
from snnax.interop.program.operators.registry import Call, computes


@computes("view", "_unsafe_view", "reshape", "_reshape_alias")
def view(call: Call, x: jax.Array, size: Sequence[int], stride: Any = None) -> jax.Array:
    """In another shape; -1 stands for what is left."""
    del call, stride
    return x.reshape(tuple(size))


@forms("view", "_unsafe_view", "reshape", "_reshape_alias")
def _in_shape(words: Words, x: Text, size: Any, stride: Any = None) -> Text:
    return x if x.shape == words.shape else method(x, "reshape", words.list(size, "") or "()")


@computes("flatten.using_ints")
def flatten(call: Call, x: jax.Array, start_dim: int = 0, end_dim: int = -1) -> jax.Array:
    """Neighbouring axes as one."""
    del call
    if not x.ndim:
        return x.reshape(1)
    first, last = start_dim % x.ndim, end_dim % x.ndim
    size = 1
    for length in x.shape[first : last + 1]:
        size *= length
    return x.reshape(*x.shape[:first], size, *x.shape[last + 1 :])


@computes("permute")
def permute(call: Call, x: jax.Array, dims: Sequence[int]) -> jax.Array:
    """Axes in another order."""
    del call
    return jnp.transpose(x, tuple(dims))


@forms("permute")
def _permuted(words: Words, x: Text, dims: Sequence[int]) -> Text:
    turned = [dim % x.ndim for dim in dims] == [1, 0]
    return Text(f"{x.within(ATOM)}.T") if turned else method(x, "transpose", *dims)


@computes("transpose.int")
def transpose(call: Call, x: jax.Array, dim0: int, dim1: int) -> jax.Array:
    """Two axes changed for each other."""
    del call
    return jnp.swapaxes(x, dim0, dim1) if x.ndim else x


@forms("transpose.int")
def _turned(words: Words, x: Text, dim0: int, dim1: int) -> Text:
    return method(x, "swapaxes", dim0, dim1) if x.ndim else x


@computes("t")
def t(call: Call, x: jax.Array) -> jax.Array:
    """Rows as columns."""
    del call
    return x.T


@computes("alias", "clone", "contiguous", "lift", "lift_fresh", "lift_fresh_copy", "_to_copy", "positive")
def same(call: Call, x: jax.Array, **ignored: Any) -> jax.Array:
    """The same numbers, in the result's type: a copy and another name for one are the same here."""
    del ignored
    return x.astype(call.dtype)


@forms("alias", "clone", "contiguous", "lift", "lift_fresh", "lift_fresh_copy", "_to_copy", "positive")
def _same(words: Words, x: Text, **ignored: Any) -> Text:
    return words.cast(x)


forms("t")(lambda words, x: Text(f"{x.within(ATOM)}.T"))
forms("detach")(lambda words, x: call("jax.lax.stop_gradient", x))
forms("unsqueeze")(lambda words, x, dim: indexed(x, dim % (x.ndim + 1), "None"))


@computes("copy")
def copy(call: Call, x: jax.Array, src: jax.Array, non_blocking: bool = False) -> jax.Array:
    """The numbers of ``src`` in the shape and type of ``x``."""
    del non_blocking
    return jnp.broadcast_to(src.astype(call.dtype), x.shape)


@computes("detach")
def detach(call: Call, x: jax.Array) -> jax.Array:
    """The same numbers, without slope: straight-through estimators and detached resets are made of it."""
    del call
    return lax.stop_gradient(x)


@computes("unsqueeze")
def unsqueeze(call: Call, x: jax.Array, dim: int) -> jax.Array:
    """With one more axis, of length 1."""
    del call
    return jnp.expand_dims(x, dim)


@computes("squeeze", "squeeze.dim", "squeeze.dims")
def squeeze(call: Call, x: jax.Array, dim: Any = None) -> jax.Array:
    """Without axes of length 1; those that are asked for and are longer stay."""
    del call
    if dim is None or not x.ndim:
        return jnp.squeeze(x)
    axes = [axis % x.ndim for axis in ([dim] if isinstance(dim, int) else dim)]
    return jnp.squeeze(x, tuple(axis for axis in axes if x.shape[axis] == 1))


@forms("squeeze", "squeeze.dim", "squeeze.dims")
def _without_ones(words: Words, x: Text, dim: Any = None) -> Text:
    wanted = range(x.ndim) if dim is None else [d % x.ndim for d in ([dim] if isinstance(dim, int) else dim)]
    single = [d for d in wanted if x.shape is not None and x.shape[d] == 1]
    return method(x, "squeeze", axes(single, x)) if single else x


@forms("expand", "broadcast_to")
def _expanded(words: Words, x: Text, size: Any, implicit: bool = False) -> Text:
    return x if x.shape == words.shape else call("jnp.broadcast_to", x, words.list(words.shape))


@computes("expand", "broadcast_to")
def expand(call: Call, x: jax.Array, size: Sequence[int], implicit: bool = False) -> jax.Array:
    """Repeated along axes of length 1, and along new ones in front; -1 leaves an axis as it is."""
    del call, implicit
    lead = len(size) - x.ndim
    shape = tuple(x.shape[i - lead] if length == -1 else length for i, length in enumerate(size))
    return jnp.broadcast_to(x, shape)


@computes("repeat")
def repeat(call: Call, x: jax.Array, repeats: Sequence[int]) -> jax.Array:
    """Laid out several times along each axis."""
    del call
    return jnp.tile(x.reshape((1,) * (len(repeats) - x.ndim) + x.shape), tuple(repeats))


@computes("repeat_interleave.self_int")
def repeat_interleave(
    call: Call, x: jax.Array, repeats: int, dim: int | None = None, *, output_size: int | None = None
) -> jax.Array:
    """Each number, or each slice of an axis, several times in a row."""
    del call, output_size
    return jnp.repeat(x, repeats, axis=dim)


@computes("cat")
def cat(call: Call, tensors: Sequence[jax.Array], dim: int = 0) -> jax.Array:
    """Side by side along an axis; empty arrays of one axis are left out, as torch's history has it."""
    there = [x for x in tensors if x.shape != (0,)] or list(tensors[:1])
    return jnp.concatenate([x.astype(call.dtype) for x in there], dim)


@computes("stack")
def stack(call: Call, tensors: Sequence[jax.Array], dim: int = 0) -> jax.Array:
    """Side by side along a new axis."""
    return jnp.stack([x.astype(call.dtype) for x in tensors], dim)


@forms("cat")
def _joined(words: Words, tensors: Sequence[Text], dim: int = 0) -> Text | None:
    if any(x.shape == (0,) for x in tensors):
        return None
    return call("jnp.concatenate", f"[{', '.join(str(words.cast(x)) for x in tensors)}]", dim)


@forms("stack")
def _stacked(words: Words, tensors: Sequence[Text], dim: int = 0) -> Text:
    return call("jnp.stack", f"[{', '.join(str(words.cast(x)) for x in tensors)}]", dim)


@computes("unbind.int")
def unbind(call: Call, x: jax.Array, dim: int = 0) -> tuple[jax.Array, ...]:
    """The slices of an axis."""
    del call
    return tuple(lax.index_in_dim(x, i, dim, keepdims=False) for i in range(x.shape[dim]))


@computes("split_with_sizes", "split.sizes")
def split_with_sizes(
    call: Call, x: jax.Array, split_sizes: Sequence[int], dim: int = 0
) -> tuple[jax.Array, ...]:
    """Parts of these lengths along an axis."""
    del call
    ends = [sum(split_sizes[: i + 1]) for i in range(len(split_sizes))]
    return tuple(
        lax.slice_in_dim(x, end - size, end, axis=dim) for end, size in zip(ends, split_sizes, strict=True)
    )


@computes("split.Tensor")
def split(call: Call, x: jax.Array, split_size: int, dim: int = 0) -> tuple[jax.Array, ...]:
    """Parts of one length along an axis; the last may be shorter."""
    length = x.shape[dim]
    sizes = [min(split_size, length - start) for start in range(0, length, split_size or 1)] or [0]
    return split_with_sizes(call, x, sizes, dim)


@computes("chunk")
def chunk(call: Call, x: jax.Array, chunks: int, dim: int = 0) -> tuple[jax.Array, ...]:
    """At most so many parts along an axis."""
    return split(call, x, -(-x.shape[dim] // chunks), dim)


@computes("pixel_shuffle")
def pixel_shuffle(call: Call, x: jax.Array, upscale_factor: int) -> jax.Array:
    """Channels as finer pixels: ``[..., C r r, H, W]`` as ``[..., C, H r, W r]``."""
    del call
    *lead, channels, high, wide = x.shape
    r = upscale_factor
    parts = x.reshape(*lead, channels // r**2, r, r, high, wide)
    n = len(lead)
    moved = jnp.transpose(parts, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return moved.reshape(*lead, channels // r**2, high * r, wide * r)


@computes("pixel_unshuffle")
def pixel_unshuffle(call: Call, x: jax.Array, downscale_factor: int) -> jax.Array:
    """Pixels as channels: ``[..., C, H r, W r]`` as ``[..., C r r, H, W]``."""
    del call
    *lead, channels, high, wide = x.shape
    r = downscale_factor
    parts = x.reshape(*lead, channels, high // r, r, wide // r, r)
    n = len(lead)
    moved = jnp.transpose(parts, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return moved.reshape(*lead, channels * r**2, high // r, wide // r)


@computes("channel_shuffle")
def channel_shuffle(call: Call, x: jax.Array, groups: int) -> jax.Array:
    """The channels of groups mixed."""
    del call
    batch, channels, *sizes = x.shape
    return x.reshape(batch, groups, channels // groups, *sizes).swapaxes(1, 2).reshape(x.shape)
