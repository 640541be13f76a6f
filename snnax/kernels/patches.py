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
        """Frames whose patches are there at a time: a divisor of all of them if one is near."""
        most = max(1, min(self.image[0], CHUNK // (self.out[0] * self.blocks * self.length)))
        near = (n for n in range(most, most // 2, -1) if self.image[0] % n == 0)
        return next(near, most)

    def gather(self, x: jax.Array) -> jax.Array:
        """``P(x)``: ``[N, H, W, C]`` to ``[N * H' * blocks, length]``. Linear."""
        (down, along), (rows, columns) = self.window.strides, self.window.padding
        (high, _), apart = self.out, self.columns * along
        right = (self.blocks - 1) * apart + self.width - x.shape[2] - columns[0]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*rows, 0), (columns[0], right, 0), (0, 0, 0)])
        if self.blocks < self.width:
            starts = range(0, self.blocks * apart, apart)
            x = jnp.stack([x[:, :, s : s + self.width] for s in starts], 2)
        else:
            until = (self.blocks - 1) * apart + 1
            x = jnp.stack([x[:, :, j : j + until : apart] for j in range(self.width)], 3)
        until = (high - 1) * down + 1
        x = jnp.stack([x[:, i : i + until : down] for i in range(self.kernel[0])], 3)
        return x.reshape(-1, self.length)

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

    def one(part: jax.Array, other: jax.Array) -> jax.Array:
        return jnp.dot(other, sizes.gather(part), preferred_element_type=wide)

    total = _sum(sizes, one, x, sizes.split(slope).reshape(len(x), -1, sizes.columns * slope.shape[-1]))
    return transposed(sizes.matrix, sizes.kernel, total.T).astype(x.dtype)


def _each(sizes: Patches, one: Callable[..., jax.Array], x: jax.Array) -> jax.Array:
    """``one`` of every few frames, one after the other."""
    whole, rest = _cut(sizes, x)
    if len(whole) < 2:
        y = one(x[: sizes.frames])
    else:
        y = lax.map(one, whole)
        y = y.reshape(-1, *y.shape[2:])
    if not len(rest):
        return y
    # as many frames as before: smaller matrices may be multiplied in another order
    return jnp.concatenate([y, one(x[-sizes.frames :])[-len(rest) :]])


def _sum(sizes: Patches, one: Callable[..., jax.Array], x: jax.Array, slope: jax.Array) -> jax.Array:
    """The sum over all frames of what ``one`` makes of a few and of the slopes ``[N, rows, O]`` of their patches.

    Slopes are transposed here, all at once: XLA's product of a transposed matrix with another is slow, and so are
    transpositions within a loop.
    """
    (images, image), (slopes, rest) = _cut(sizes, x), _cut(sizes, slope)
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


def _cut(sizes: Patches, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Frames ``[N, ...]`` as ``[N // frames, frames, ...]`` and what is left."""
    whole = x.shape[0] // sizes.frames * sizes.frames
    return x[:whole].reshape(-1, sizes.frames, *x.shape[1:]), x[whole:]
