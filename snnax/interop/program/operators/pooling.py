"""Maximum and mean over windows, and where the maximum was."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.interop.program.operators.convolutions import each
from snnax.interop.program.operators.registry import Call, Function, computes
from snnax.interop.program.operators.views import taken
from snnax.kernels.pooling import max_pool, sum_pool

Sizes = tuple[int, ...]


class _Windows:
    """Where the windows of a pooling lie; arguments as torch passes them.

    Attributes:
        kernel, stride, padding, dilation: one number for each spatial axis.
        sizes: of the spatial axes.
        out: how many windows lie along each.
        over: how far the last window reaches beyond the padding: more than 0 only with ``ceil_mode``.
    """

    def __init__(
        self, x: jax.Array, rank: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> None:
        self.kernel = each(kernel, rank)
        self.stride = each(stride, rank) if stride not in ([], ()) else self.kernel
        self.padding, self.dilation = each(padding, rank), each(dilation, rank)
        self.sizes: Sizes = x.shape[x.ndim - rank :]
        axes = [self._axis(axis, ceil_mode) for axis in range(rank)]
        self.out, self.over = (tuple(values) for values in zip(*axes, strict=True))

    def _axis(self, axis: int, ceil_mode: bool) -> tuple[int, int]:
        size, step, pad = self.sizes[axis], self.stride[axis], self.padding[axis]
        room = size + 2 * pad - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        out = (room + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (out - 1) * step >= size + pad:  # the last window must begin inside
            out -= 1
        return out, max((out - 1) * step - room, 0)

    def places(self, axis: int) -> np.ndarray:
        """The positions of each window, ``[windows, kernel]``; what lies outside is its first or last inside.

        Of equal numbers the first one counts, so that one that is there twice changes nothing.
        """
        start = np.arange(self.out[axis]) * self.stride[axis] - self.padding[axis]
        place = start[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
        inside = (place >= 0) & (place < self.sizes[axis])
        first = np.where(inside, place, self.sizes[axis]).min(1, keepdims=True)
        last = np.where(inside, place, -1).max(1, keepdims=True)
        return np.clip(place, first, last)


def picked(x: jax.Array, index: jax.Array, axis: int, places: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The largest of each window along one axis, and its entry of ``index``; of equal ones the first."""
    seen, numbers = (taken(array, places, axis) for array in (x, index))
    where = jnp.argmax(seen, axis + 1, keepdims=True)
    values, found = (jnp.take_along_axis(array, where, axis + 1) for array in (seen, numbers))
    return values.squeeze(axis + 1), found.squeeze(axis + 1)


def numbered(x: jax.Array, rank: int) -> jax.Array:
    """The number of each value among those of its channel, in the shape of ``x``."""
    sizes = x.shape[x.ndim - rank :]
    numbers = jnp.arange(np.prod(sizes, dtype=int)).reshape((1,) * (x.ndim - rank) + sizes)
    return jnp.broadcast_to(numbers, x.shape)


def largest(x: jax.Array, windows: _Windows) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window, and where it is; a compiler drops what nobody reads."""
    rank = len(windows.sizes)
    values, index = x, numbered(x, rank)
    for axis in reversed(range(rank)):  # rows last: of equal numbers the first in reading order is found
        values, index = picked(values, index, x.ndim - rank + axis, windows.places(axis))
    if max(windows.dilation) > 1:  # of a window with gaps JAX has no derivative
        return values, index
    frames = _last(x, rank)
    if not any(windows.over):
        pooled = max_pool(frames, windows.kernel, windows.stride, windows.padding)
    else:
        lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
        pooled = _reduced(frames, lowest, lax.max, windows)
    return _first(pooled, x.ndim), index


def _last(x: jax.Array, rank: int) -> jax.Array:
    """``[B, C, H, W]`` or ``[C, H, W]`` with the channels last, as convolutions beside it have them."""
    return jnp.moveaxis(x if x.ndim == rank + 2 else x[None], 1, -1)


def _first(y: jax.Array, ndim: int) -> jax.Array:
    """The reverse."""
    y = jnp.moveaxis(y, -1, 1)
    return y if y.ndim == ndim else y[0]


def _reduced(x: jax.Array, start: Any, operation: Any, windows: _Windows) -> jax.Array:
    """``lax.reduce_window``, which is differentiable only where its start is a number and no array of JAX."""
    pads = [(p, p + more) for p, more in zip(windows.padding, windows.over, strict=True)]
    size, step = (1, *windows.kernel, 1), (1, *windows.stride, 1)
    return lax.reduce_window(x, np.asarray(start, x.dtype), operation, size, step, [(0, 0), *pads, (0, 0)])


def _maximum(rank: int) -> Function:
    def pool(
        call: Call,
        x: jax.Array,
        kernel_size: Any,
        stride: Any = (),
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        del call
        return largest(x, _Windows(x, rank, kernel_size, stride, padding, dilation, ceil_mode))

    return pool


def _values(rank: int) -> Function:
    def pool(*args: Any, **kwargs: Any) -> jax.Array:
        values: jax.Array = _maximum(rank)(*args, **kwargs)[0]
        return values

    return pool


for rank in (1, 2, 3):
    computes(f"max_pool{rank}d_with_indices")(_maximum(rank))
    computes(f"max_pool{rank}d")(_values(rank))


def _mean(rank: int) -> Function:
    def pool(
        call: Call,
        x: jax.Array,
        kernel_size: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> jax.Array:
        del call
        windows = _Windows(x, rank, kernel_size, stride, padding, 1, ceil_mode)
        frames = _last(x, rank)
        if any(windows.over):
            total = _reduced(frames, 0, lax.add, windows)
        else:
            total = sum_pool(frames, windows.kernel, windows.stride, windows.padding)
        total = _first(total, x.ndim)
        count = divisor_override or _counts(windows, count_include_pad)
        return total / jnp.asarray(count, x.dtype).reshape((1,) * (x.ndim - np.ndim(count)) + np.shape(count))

    return pool


def _counts(windows: _Windows, with_padding: bool) -> np.ndarray:
    """How many numbers each window has; beyond the padding there are none."""

    def along(axis: int) -> np.ndarray:
        start = np.arange(windows.out[axis]) * windows.stride[axis] - windows.padding[axis]
        size, pad = windows.sizes[axis], windows.padding[axis] if with_padding else 0
        return np.minimum(start + windows.kernel[axis], size + pad) - np.maximum(start, -pad)

    return np.asarray(reduce(np.multiply.outer, [along(axis) for axis in range(len(windows.sizes))]))


for rank in (1, 2, 3):
    computes(f"avg_pool{rank}d")(_mean(rank))


def _bounds(size: int, out: int) -> list[tuple[int, int]]:
    """First position and end of each window of an adaptive pooling."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


@computes(
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
)
def adaptive_mean(call: Call, x: jax.Array, output_size: Sequence[int]) -> jax.Array:
    """The mean over as many windows as are asked for, of sizes that may differ by one."""
    del call
    rank = len(output_size)
    counts = []
    for axis, out in zip(range(x.ndim - rank, x.ndim), output_size, strict=True):
        bounds = _bounds(x.shape[axis], out)
        x = _sums(x, axis, bounds)
        shape = (1,) * axis + (out,) + (1,) * (x.ndim - axis - 1)
        counts.append(np.array([end - first for first, end in bounds]).reshape(shape))
    for (
        count
    ) in counts:  # after all sums, which of spikes are exact, and one after the other, as torch divides
        x = x / jnp.asarray(count, x.dtype)
    return x


def _sums(x: jax.Array, axis: int, bounds: list[tuple[int, int]]) -> jax.Array:
    """The sum of each part of an axis."""
    out, size = len(bounds), x.shape[axis]
    if size % out == 0:
        return x.reshape(*x.shape[:axis], out, size // out, *x.shape[axis + 1 :]).sum(axis + 1)
    parts = (lax.slice_in_dim(x, first, end, axis=axis).sum(axis, keepdims=True) for first, end in bounds)
    return jnp.concatenate(list(parts), axis)


@computes("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max(call: Call, x: jax.Array, output_size: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """The maximum over as many windows as are asked for, and where it is."""
    del call
    rank = len(output_size)
    values, index = x, numbered(x, rank)
    for axis in reversed(range(rank)):
        bounds = _bounds(x.shape[x.ndim - rank + axis], output_size[axis])
        widest = max(end - first for first, end in bounds)
        places = np.array([np.minimum(first + np.arange(widest), end - 1) for first, end in bounds])
        values, index = picked(values, index, x.ndim - rank + axis, places)
    return values, index


@computes("max_unpool2d", "max_unpool3d")
def max_unpool(
    call: Call, x: jax.Array, indices: jax.Array, output_size: Sequence[int], *given: Any
) -> jax.Array:
    """Zeros, and each value where it was the maximum."""
    del call, given  # stride and padding, which only check the size
    rank = len(output_size)
    lead = x.shape[: x.ndim - rank]
    values, places = (a.reshape(int(np.prod(lead)), -1) for a in (x, indices))
    rows = jnp.arange(values.shape[0])[:, None]
    flat = jnp.zeros((values.shape[0], int(np.prod(output_size))), x.dtype)
    return flat.at[rows, places].set(values).reshape(*lead, *output_size)
