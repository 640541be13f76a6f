"""``lax.conv_general_dilated`` for networks that are trained on CPU inside a loop over time.

XLA compiles the values of a convolution to fast code on CPU where there are more than a few channels, and its
derivatives, inside a loop, to very slow code. So the derivative of the image is written as what it is, a convolution
with the reversed kernel, and that of the kernel as a product of patches with a matrix (:mod:`snnax.kernels.patches`).
Where channels are few, or the window strides, all three are products of patches. Those add in the order in which
``lax`` mostly adds; with one or two channels the last bit of some values differs. So it does in ``lax`` itself between
one frame among few and the same frame among many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.kernels import patches
from snnax.kernels.bilinear import operation
from snnax.kernels.patches import Patches, Window

__all__ = ["conv"]

# XLA adds up the products of small and of narrow matrices in other orders; patches leave those to it.
WORK = 2_000_000  # multiplications
TILE = 4  # output channels that are multiplied at a time
# Measured: from so many channels in and out on, XLA's own convolution is as fast as patches or up to 1.7 times as fast.
MANY_IN, MANY_OUT = 12, 32
LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}


def conv(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    r"""``jax.lax.conv_general_dilated`` with its arguments and its values, up to rounding, and fast on CPU.

    .. math:: y_{n,p,o} = \sum_{k,c} x_{n,\,ps + k,\,c}\; w_{k,c,o}

    Fast are one- and two-dimensional convolutions of floating-point arrays, channels last, without dilation or
    groups, whatever the strides and the padding. Everything else is ``lax``'s own, and so is everything on other
    platforms than CPU, or of sizes that ``jax.export`` leaves open. Derivatives of any order and in both modes exist,
    and ``vmap``, ``checkpoint`` and ``shard_map`` work as with ``lax``.

    Args:
        lhs: images ``[N, H, W, C]`` or rows ``[N, L, C]``.
        rhs: kernel ``[KH, KW, C, O]`` or ``[K, C, O]``.
        window_strides: strides, one for each spatial axis.
        padding: ``"SAME"``, ``"VALID"``, or pairs of numbers.
        lhs_dilation: as ``lax`` takes it, and so are all that follow.
        rhs_dilation: see ``lax``.
        dimension_numbers: see ``lax``; what is given there for channels last is needed here too.
        feature_group_count: see ``lax``.
        batch_group_count: see ``lax``.
        precision: see ``lax``.
        preferred_element_type: see ``lax``.

    Returns:
        ``[N, H', W', O]``, or as ``lax`` has it for other dimension numbers.

    Raises:
        TypeError, ValueError: what ``lax`` raises.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.kernels.convolution import conv
        >>> conv(jnp.ones((1, 4, 1)), jnp.ones((2, 1, 1)), (2,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))
        Array([[[2.],
                [2.]]], dtype=float32)
    """
    settings: dict[str, Any] = {
        "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation, "dimension_numbers": dimension_numbers,
        "feature_group_count": feature_group_count, "batch_group_count": batch_group_count,
        "precision": precision, "preferred_element_type": preferred_element_type,
    }  # fmt: skip
    rank = np.ndim(lhs) - 2
    plain = (
        rank in (1, 2)
        and np.ndim(rhs) == rank + 2
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and (feature_group_count, batch_group_count, preferred_element_type) == (1, 1, None)
        and all(d is None or all(n == 1 for n in d) for d in (lhs_dilation, rhs_dilation))
        and _channels_last(lhs.shape, rhs.shape, dimension_numbers)
        and lhs.shape[-1] == rhs.shape[-2]
        and len(window_strides) == rank
        and all(isinstance(n, int) and n for n in (*lhs.shape, *rhs.shape))
    )
    if not plain:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **settings)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:-1], rhs.shape[:-2], window_strides, padding)
    strides = tuple(int(s) for s in window_strides)
    pads = tuple((int(low), int(high)) for low, high in padding)
    window = Window(strides, pads, precision)
    if min(_sizes(lhs.shape, rhs.shape, window).out) < 1:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **settings)
    return convolve(lhs, rhs, window=window)


def _channels_last(lhs: tuple[int, ...], rhs: tuple[int, ...], given: Any) -> bool:
    numbers = lax.conv_dimension_numbers(lhs, rhs, given)
    rank = len(lhs) - 2
    outer = (0, rank + 1, *range(1, rank + 1))
    kernel = (rank + 1, rank, *range(rank))
    return tuple(map(tuple, numbers)) == (outer, kernel, outer)


def _sizes(image: tuple[int, ...], kernel: tuple[int, ...], window: Window) -> Patches:
    """The patches of images, or of rows as images of one row."""
    strides, padding, precision = window
    if len(strides) == 1:
        image, kernel = (image[0], 1, *image[1:]), (1, *kernel)
        strides, padding = (1, *strides), ((0, 0), *padding)
    return Patches(image, kernel, Window(strides, padding, precision))


def _by_lax(lhs: jax.Array, rhs: jax.Array, *, window: Window) -> jax.Array:
    strides, padding, precision = window
    return lax.conv_general_dilated(
        lhs, rhs, strides, padding, dimension_numbers=LAST[len(strides)], precision=precision
    )


def _on_cpu(lhs: jax.Array, rhs: jax.Array, *, window: Window) -> jax.Array:
    """By patches where that is faster."""
    sizes = _sizes(lhs.shape, rhs.shape, window)
    features = rhs.shape[-1]
    alike = features >= 2 * TILE and (sizes.columns == 1 or features % TILE == 0)
    if not _many(*rhs.shape[-2:]) and alike and sizes.work >= WORK and lhs.dtype == jnp.float32:
        y = patches.forward(lhs.reshape(sizes.image), rhs.reshape(sizes.kernel), sizes)
        return y.reshape(lhs.shape[0], *y.shape[5 - lhs.ndim :])
    return _by_lax(lhs, rhs, window=window)


def _many(inputs: int, outputs: int) -> bool:
    return inputs >= MANY_IN and outputs >= MANY_OUT


def _image_slope(slope: jax.Array, rhs: jax.Array, *, shape: tuple[int, ...], window: Window) -> jax.Array:
    inner = [(k - 1 - low, k - 1 - up) for k, (low, up) in zip(rhs.shape, window.padding, strict=False)]
    if _many(rhs.shape[-1], rhs.shape[-2]) and set(window.strides) == {1} and min(map(min, inner)) >= 0:
        around = jnp.flip(rhs, range(rhs.ndim - 2)).swapaxes(-1, -2)
        return _by_lax(slope, around, window=window._replace(padding=tuple(inner)))
    sizes = _sizes(shape, rhs.shape, window)
    y = slope.reshape(-1, *sizes.out, slope.shape[-1])
    return patches.image_slope(y, rhs.reshape(sizes.kernel), sizes).reshape(shape)


def _kernel_slope(slope: jax.Array, lhs: jax.Array, *, shape: tuple[int, ...], window: Window) -> jax.Array:
    sizes = _sizes(lhs.shape, shape, window)
    y = slope.reshape(-1, *sizes.out, slope.shape[-1])
    return patches.kernel_slope(y, lhs.reshape(sizes.image), sizes).reshape(shape)


convolve = operation("snnax_conv", _by_lax, _on_cpu, _image_slope, _kernel_slope)
