"""Pooling of windows that lie side by side, with derivatives that stay fast on CPU.

``lax.reduce_window`` computes the same values; its derivatives scatter. Here the windows are axes of a reshaped array,
and what the derivative of a maximum keeps is one byte for each window: which of its numbers was the largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

__all__ = ["max_pool", "sum_pool"]

PLACE = "snnax_pool"  # the name, for checkpoints, of where the largest numbers are
LARGEST = 16  # numbers in a window; of larger ones each number would be a line of the program


def max_pool(
    x: jax.Array,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    padding: Sequence[int] | None = None,
) -> jax.Array:
    r"""The largest number of each window; padding counts as minus infinity.

    .. math:: y_{n,p,c} = \max_k x_{n,\,ps + k,\,c}

    Of equal numbers the first of the window, row by row, gets the derivative, as in torch. If one of them is not a
    number, so is the maximum. The position of the largest is named :data:`PLACE`, for the policy of a
    ``jax.checkpoint``; nothing else is kept for the derivative.

    Args:
        x: images ``[B, H, W, C]`` or rows ``[B, L, C]``, of any type.
        kernel: size of the window along each spatial axis.
        stride: distance of windows; the size of the window when not given.
        padding: how far windows reach over both edges; 0 when not given.

    Returns:
        ``[B, H', W', C]`` or ``[B, L', C]``; rests too small for a window are left out.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax.kernels.pooling import max_pool
        >>> jax.grad(lambda x: max_pool(x, (2,)).sum())(jnp.array([[[1.0], [3.0], [2.0], [2.0]]]))[0, :, 0].tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    if _side_by_side(x, kernel, stride, padding):
        return _largest(x, tuple(kernel))
    return _reduce(x, _lowest(x.dtype), lax.max, kernel, stride, padding)


def sum_pool(
    x: jax.Array,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    padding: Sequence[int] | None = None,
) -> jax.Array:
    r"""The sum of each window; padding counts as zero. Arguments as for :func:`max_pool`.

    .. math:: y_{n,p,c} = \sum_k x_{n,\,ps + k,\,c}

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.kernels.pooling import sum_pool
        >>> sum_pool(jnp.ones((1, 5, 1)), (2,))[0, :, 0].tolist()
        [2.0, 2.0]
    """
    if _side_by_side(x, kernel, stride, padding):
        return _total(x, tuple(kernel))
    return _reduce(x, 0, lax.add, kernel, stride, padding)


def _side_by_side(
    x: jax.Array, kernel: Sequence[int], stride: Sequence[int] | None, padding: Sequence[int] | None
) -> bool:
    """Windows that neither overlap nor leave gaps, few numbers in each, one or two spatial axes."""
    return (
        (stride is None or tuple(stride) == tuple(kernel))
        and not any(padding or ())
        and math.prod(kernel) <= LARGEST
        and len(kernel) in (1, 2)
        and x.ndim == len(kernel) + 2
    )


def _reduce(
    x: jax.Array,
    start: Any,
    operation: Callable[..., jax.Array],
    kernel: Sequence[int],
    stride: Sequence[int] | None,
    padding: Sequence[int] | None,
) -> jax.Array:
    pads = [(0, 0), *((p, p) for p in padding or [0] * len(kernel)), (0, 0)]
    size, step = (1, *kernel, 1), (1, *(stride or kernel), 1)
    return lax.reduce_window(x, np.asarray(start, x.dtype), operation, size, step, pads)


def _lowest(dtype: Any) -> Any:
    """What no value of ``dtype`` is below."""
    if jnp.issubdtype(dtype, jnp.floating):
        return -jnp.inf
    return jnp.iinfo(dtype).min if jnp.issubdtype(dtype, jnp.integer) else False


def _windows(x: jax.Array, kernel: Sequence[int]) -> jax.Array:
    """``[B, H, W, C]`` as ``[B, H', KH, W', KW * C]``; ``[B, L, C]`` as images of one row."""
    if len(kernel) == 1:
        return _windows(x[:, None], (1, *kernel))
    (batch, *sizes, channels), (rows, columns) = x.shape, kernel
    high, wide = (n // k for n, k in zip(sizes, kernel, strict=True))
    x = x[:, : high * rows, : wide * columns]
    return x.reshape(batch, high, rows, wide, columns * channels)


def _numbers(x: jax.Array, kernel: Sequence[int]) -> jax.Array:
    """The numbers of each window, row by row, ``[B, H', W', KH * KW, C]``, or ``[B, L', K, C]``."""
    windows = _windows(x, kernel).swapaxes(2, 3)
    ahead = windows.shape[:3] if len(kernel) == 2 else windows.shape[::2][:2]
    return windows.reshape(*ahead, math.prod(kernel), x.shape[-1])


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _total(x: jax.Array, kernel: tuple[int, ...]) -> jax.Array:
    return _reduce(x, 0, lax.add, kernel, None, None)


@_total.defjvp
def _total_jvp(kernel: tuple[int, ...], primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """The slope of a sum goes to all its numbers: written as the sum of an axis, not scattered."""
    (x,), (change,) = primals, tangents
    return _total(x, kernel), _numbers(change, kernel).sum(-2)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _largest(x: jax.Array, kernel: tuple[int, ...]) -> jax.Array:
    return _reduce(x, _lowest(x.dtype), lax.max, kernel, None, None)


@_largest.defjvp
def _largest_jvp(kernel: tuple[int, ...], primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x,), (change,) = primals, tangents
    y = _largest(x, kernel)
    numbers = _numbers(x, kernel)
    last = numbers.shape[-2] - 1
    first = jnp.full(y.shape, last, jnp.int32)
    for k in reversed(range(last)):
        first = jnp.where(numbers[..., k, :] == y, k, first)
    first = checkpoint_name(first.astype(jnp.uint8), PLACE)
    return y, jax.checkpoint(partial(_pick, kernel=kernel), prevent_cse=False)(change, first)


def _pick(x: jax.Array, first: jax.Array, kernel: tuple[int, ...]) -> jax.Array:
    """The number of each window at ``first``; linear in ``x``."""
    numbers = _numbers(x, kernel)
    place = jnp.arange(numbers.shape[-2], dtype=first.dtype)[:, None]
    chosen = first[..., None, :] == place.reshape((1,) * (first.ndim - 1) + place.shape)
    return jnp.where(chosen, numbers, jnp.zeros((), numbers.dtype)).sum(-2)
