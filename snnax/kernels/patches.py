r"""The three products of a convolution as matrix products of patches, a few frames at a time.

With ``P`` the patches of ``x`` and ``K`` the kernel as a matrix, both linear,

.. math:: y = P(x)\,K(w) \qquad
    \bar x = P^T(\bar y\,K(w)^T) \qquad \bar w = K^T(P(x)^T\,\bar y)

A patch is what ``Q`` neighbouring output columns see. ``Q`` is 1 unless a row of the kernel is so short that the
matrices would be too narrow to multiply well; then ``K(w)`` is banded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from snnax.kernels.bilinear import transposed, vary, varying

CHUNK = 160_000  # numbers in the patches that are there at a time: they should stay in the cache
# The same for the derivative of the kernel, whose products need many rows to be shared among cores.
SUMMED = 500_000
WIDE = 96  # numbers in one row of a patch with which a product for each row of the kernel is faster than one for all
SHORT = 16  # a row of the kernel with fewer numbers makes patches of several output columns
COLUMNS = 4


class Window(NamedTuple):
    """How a kernel moves over an image: what a convolution is told beside its arrays."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    precision: Any = None


class Patches(NamedTuple):
    """Sizes of the patches of an image ``[N, H, W, C]`` under a kernel ``[KH, KW, C, O]``."""

    image: tuple[int, ...]
    kernel: tuple[int, ...]
    window: Window

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        sizes = zip(self.image[1:3], self.kernel[:2], self.window.padding, self.window.strides, strict=True)
        high, wide = ((n + low + up - k) // s + 1 for n, k, (low, up), s in sizes)
        return high, wide

    @property
    def columns(self) -> int:
        """Output columns of one patch."""
        return min(COLUMNS, self.out[1]) if math.prod(self.kernel[1:3]) < SHORT else 1

    @property
    def blocks(self) -> int:
        """Patches side by side."""
        return -(-self.out[1] // self.columns)

    @property
    def width(self) -> int:
        """Input columns of one patch."""
        return (self.columns - 1) * self.window.strides[1] + self.kernel[1]

    @property
    def length(self) -> int:
        """Numbers in one patch."""
        return self.kernel[0] * self.width * self.kernel[2]

    @property
    def work(self) -> int:
        """Multiplications of the patches that are there at a time."""
        return self.frames * self.out[0] * self.blocks * self.length * self.columns * self.kernel[3]

    @property
    def frames(self) -> int:
        """Frames whose patches are there at a time."""
        return self.near(CHUNK // (self.out[0] * self.blocks * self.length))

    def near(self, most: int) -> int:
        """So many frames, or a divisor of all of them that is not much smaller."""
        most = max(1, min(self.image[0], most))
        return next((n for n in range(most, most // 2, -1) if self.image[0] % n == 0), most)

    def gather(self, x: jax.Array) -> jax.Array:
        """``P(x)``: ``[N, H, W, C]`` to ``[N * H' * blocks, length]``. Linear."""
        return jnp.stack(self.rows(self.spread(x)), 3).reshape(-1, self.length)

    def spread(self, x: jax.Array) -> jax.Array:
        """``[N, H, W, C]`` to rows of patches, ``[N, padded H, blocks, width, C]``. Linear."""
        along, (rows, columns) = self.window.strides[1], self.window.padding
        apart = self.columns * along
        right = (self.blocks - 1) * apart + self.width - x.shape[2] - columns[0]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*rows, 0), (columns[0], right, 0), (0, 0, 0)])
        if self.blocks < self.width:
            starts = range(0, self.blocks * apart, apart)
            return jnp.stack([x[:, :, s : s + self.width] for s in starts], 2)
        until = (self.blocks - 1) * apart + 1
        return jnp.stack([x[:, :, j : j + until : apart] for j in range(self.width)], 3)

    def rows(self, spread: jax.Array) -> list[jax.Array]:
        """For each row of the kernel, what it sees of the rows of patches."""
        down = self.window.strides[0]
        until = (self.out[0] - 1) * down + 1
        return [spread[:, i : i + until : down] for i in range(self.kernel[0])]

    def matrix(self, w: jax.Array) -> jax.Array:
        """``K(w)``: ``[KH, KW, C, O]`` to ``[length, columns * O]``. Linear."""
        zero, along = jnp.zeros((), w.dtype), self.window.strides[1]
        none = (0, 0, 0)
        bands = [
            lax.pad(w, zero, [none, (q * along, self.width - w.shape[1] - q * along, 0), none, none])
            for q in range(self.columns)
        ]
        return jnp.stack(bands, 3).reshape(self.length, -1)

    def split(self, y: jax.Array) -> jax.Array:
        """``[N, H', W', O]`` to the rows of the product, ``[N * H' * blocks, columns * O]``. Linear."""
        missing = self.blocks * self.columns - self.out[1]
        if missing:
            y = jnp.pad(y, ((0, 0), (0, 0), (0, missing), (0, 0)))
        return y.reshape(-1, self.columns * self.kernel[3])

    def join(self, rows: jax.Array) -> jax.Array:
        """The reverse of :meth:`split`, for ``[N, H', W', O]``."""
        y = rows.reshape(-1, self.out[0], self.blocks * self.columns, self.kernel[3])
        return y[:, :, : self.out[1]]


def forward(x: jax.Array, w: jax.Array, sizes: Patches) -> jax.Array:
    """``[N, H, W, C]`` and ``[KH, KW, C, O]`` to ``[N, H', W', O]``."""
    matrix = sizes.matrix(w)
    return _each(sizes, lambda part: sizes.join(jnp.dot(sizes.gather(part), matrix)), x)


def image_slope(slope: jax.Array, w: jax.Array, sizes: Patches) -> jax.Array:
    """The derivative of the image, given that of the output ``[N, H', W', O]``."""
    wide = jnp.promote_types(w.dtype, jnp.float32)
    matrix = sizes.matrix(w).astype(wide).T

    def one(part: jax.Array) -> jax.Array:
        rows = jnp.dot(sizes.split(part).astype(wide), matrix)
        return transposed(sizes.gather, (part.shape[0], *sizes.image[1:]), rows).astype(slope.dtype)

    return _each(sizes, one, slope)


def kernel_slope(slope: jax.Array, x: jax.Array, sizes: Patches) -> jax.Array:
    """The derivative of the kernel, given that of the output ``[N, H', W', O]``."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    features = sizes.columns * slope.shape[-1]
    row = sizes.length // sizes.kernel[0]

    def product(other: jax.Array, seen: jax.Array) -> jax.Array:
        # not preferred_element_type: of bfloat16 with sums of float32 XLA has no product in some shapes
        return jnp.dot(other.astype(wide), seen.astype(wide))

    def all_rows(part: jax.Array, other: jax.Array) -> jax.Array:
        return product(other, sizes.gather(part))

    def each_row(part: jax.Array, other: jax.Array) -> jax.Array:
        rows = (seen.reshape(-1, row) for seen in sizes.rows(sizes.spread(part)))
        return jnp.stack([product(other, seen) for seen in rows], 1)

    if row < WIDE:
        one, numbers = all_rows, sizes.out[0] * sizes.blocks * sizes.length
    else:
        one, numbers = each_row, (sizes.image[1] + sum(sizes.window.padding[0])) * sizes.blocks * row
    slopes = sizes.split(slope).reshape(len(x), -1, features)
    frames = sizes.near(min(SUMMED // numbers, len(x) // 2))  # outside of a loop the patches are slow
    total = _sum(frames, one, x, slopes).reshape(features, -1)
    return transposed(sizes.matrix, sizes.kernel, total.T).astype(x.dtype)


def _each(sizes: Patches, one: Callable[..., jax.Array], x: jax.Array) -> jax.Array:
    """``one`` of every few frames, one after the other."""
    whole, rest = _cut(sizes.frames, x)
    if len(whole) < 2:
        y = one(x[: sizes.frames])
    else:
        y = lax.map(one, whole)
        y = y.reshape(-1, *y.shape[2:])
    if not len(rest):
        return y
    # as many frames as before: smaller matrices may be multiplied in another order
    return jnp.concatenate([y, one(x[-sizes.frames :])[-len(rest) :]])


def _sum(frames: int, one: Callable[..., jax.Array], x: jax.Array, slope: jax.Array) -> jax.Array:
    """The sum over all of what ``one`` makes of a few frames and of the slopes ``[N, rows, O]`` of their patches.

    Slopes are transposed here, all at once: XLA's product of a transposed matrix with another is slow, and so are
    transpositions within a loop.
    """
    (images, image), (slopes, rest) = _cut(frames, x), _cut(frames, slope)
    slopes, rest = (_transposed_rows(s) for s in (slopes, rest))

    def add(total: jax.Array, parts: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return total + one(*parts), None

    if len(images) < 2:
        total = one(images[0], slopes[0])
    else:
        made = jax.eval_shape(one, images[0], slopes[0])
        start = jnp.zeros(made.shape, made.dtype)
        total, _ = lax.scan(add, vary(start, varying(x) | varying(slope)), (images, slopes))
    return total + one(image, rest) if len(image) else total


def _transposed_rows(slopes: jax.Array) -> jax.Array:
    """``[..., frames, rows, O]`` to ``[..., O, frames * rows]``, as an array in memory."""
    rows = slopes.reshape(*slopes.shape[:-3], -1, slopes.shape[-1])
    return lax.optimization_barrier(rows.swapaxes(-1, -2))


def _cut(frames: int, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Frames ``[N, ...]`` as ``[N // frames, frames, ...]`` and what is left."""
    whole = x.shape[0] // frames * frames
    return x[:whole].reshape(-1, frames, *x.shape[1:]), x[whole:]
