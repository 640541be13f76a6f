"""torch's pooling functions, for a ``forward`` that calls them."""

from __future__ import annotations

import jax
from jax.typing import ArrayLike

from snnax import checks
from snnax.layers.arrays import Size
from snnax.layers.pooling import AvgPool2d, MaxPool2d

__all__ = ["avg_pool2d", "max_pool2d"]


def max_pool2d(
    input: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Size = 0
) -> jax.Array:
    """Maximum of each window of ``[B, H, W, C]``: :class:`snnax.MaxPool2d` as a function, ``F.max_pool2d(x, 2)``.

    Args:
        input: images, channels last.
        kernel_size: of a window, one number or two, height first.
        stride: from window to window; ``None`` for ``kernel_size``.
        padding: on both sides, up to half a window; it counts as minus infinity.

    Raises:
        ArgumentError: a size that is none.
        ShapeError: the input is no batch of images, or smaller than a window.

    Example:
        >>> import jax.numpy as jnp
        >>> import snnax.functional as F
        >>> F.max_pool2d(jnp.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]

    Compared with ``torch.nn.functional``: images are channels-last, as in all layers here.
    """
    result: jax.Array = MaxPool2d(kernel_size, stride, padding, parent=None)(
        checks.array(input, "max_pool2d(input=...)")
    )
    return result


def avg_pool2d(
    input: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Size = 0
) -> jax.Array:
    """Mean of each window of ``[B, H, W, C]``: :class:`snnax.AvgPool2d` as a function; see :func:`max_pool2d`.

    Args:
        input: images, channels last.
        kernel_size: of a window, one number or two, height first.
        stride: from window to window; ``None`` for ``kernel_size``.
        padding: on both sides, up to half a window; it counts as zero and into the mean.

    Raises:
        ArgumentError: a size that is none.
        ShapeError: the input is no batch of images, or smaller than a window.

    Example:
        >>> import jax.numpy as jnp
        >>> import snnax.functional as F
        >>> F.avg_pool2d(jnp.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0].tolist()
        [[2.5, 4.5], [10.5, 12.5]]
    """
    result: jax.Array = AvgPool2d(kernel_size, stride, padding, parent=None)(
        checks.array(input, "avg_pool2d(input=...)")
    )
    return result
