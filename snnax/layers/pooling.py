"""Maximum, mean and sum over windows, with torch's arguments.

Arrays are channels-last, ``[B, H, W, C]`` or ``[B, L, C]``, as everywhere in Flax. Arguments follow
``torch.nn``: ``kernel_size``, ``stride`` (the kernel size when not given) and ``padding``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax

from snnax.errors import ArgumentError, ShapeError
from snnax.kernels.pooling import max_pool, sum_pool
from snnax.layers.arrays import Size, as_tuple, floating
from snnax.limits import check_values
from snnax.modules import LAYOUT, Module

__all__ = ["AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d", "SumPool1d", "SumPool2d"]


class _Pool(Module):
    """Windows over the spatial axes of a channels-last array, in torch's floor mode."""

    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0

    time_independent: ClassVar[bool] = True
    rank = 2

    def __post_init__(self) -> None:
        self.kernel_size = as_tuple(self.kernel_size, self.rank, "kernel_size")
        stride = self.kernel_size if self.stride is None else self.stride
        self.stride = as_tuple(stride, self.rank, "stride")
        self.padding = as_tuple(self.padding, self.rank, "padding")
        kind = type(self).__name__
        for name, value in (("kernel_size", self.kernel_size), ("stride", self.stride)):
            if not all(1 <= size < 2**31 for size in value):
                raise ArgumentError(f"{kind}({name}={value}); expected sizes >= 1, and below 2**31.")
        for size, pad in zip(self.kernel_size, self.padding, strict=True):
            if not 0 <= 2 * pad <= size:
                raise ArgumentError(
                    f"{kind}(padding={pad}) with kernel_size={size}; expected 0 to {size // 2}, half the "
                    "kernel size."
                )
        super().__post_init__()

    @nn.nowrap
    def _pool(self, operation: Callable[..., jax.Array], x: jax.Array) -> jax.Array:
        if x.ndim != self.rank + 2:
            axes = "[B, L, C]" if self.rank == 1 else "[B, H, W, C]"
            raise ShapeError(
                f"{type(self).__name__} got shape {x.shape}; expected {axes}, channels last. {LAYOUT}"
            )
        kernel, stride, padding = (_sizes(v) for v in (self.kernel_size, self.stride, self.padding))
        if any(n + 2 * p < k for n, p, k in zip(x.shape[1:-1], padding, kernel, strict=True)):
            raise ShapeError(
                f"{type(self).__name__} got shape {x.shape}, smaller than its kernel_size={kernel} with "
                f"padding={padding}. Take a smaller kernel, or more padding. {LAYOUT}"
            )
        padded = tuple(n + 2 * p for n, p in zip(x.shape[1:-1], padding, strict=True))
        check_values(type(self).__name__, math.prod(padded) * x.shape[-1], f"pads samples to {padded}")
        return operation(x, kernel, stride, padding)

    @nn.nowrap
    def _window_size(self) -> int:
        return math.prod(_sizes(self.kernel_size))


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(value)


class MaxPool2d(_Pool):
    """Maximum of each window of ``[B, H, W, C]``; padding counts as minus infinity.

    Same as ``torch.nn.MaxPool2d`` in floor mode with dilation 1. NIR has no such node: it travels as
    an extension.

    Args:
        kernel_size: of the window, one number or two, height first.
        stride: from window to window, one number or two; ``None`` for the size of the window.
        padding: on both sides, one number or two, at most half the size of the window.

    Raises:
        ArgumentError: a size below 1, or more padding than half a window.
        ShapeError: in a call, for another rank, or an input that is smaller than the window.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> snn.MaxPool2d(2).apply({}, x)[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Pool ``[B, H, W, C]``."""
        return self._pool(max_pool, x)


class AvgPool2d(_Pool):
    """Mean of each window of ``[B, H, W, C]``; padding counts as zero and into the mean.

    Integers become float32. Same as ``torch.nn.AvgPool2d`` and NIR's ``AvgPool2d``.

    Args:
        kernel_size: of the window, one number or two, height first.
        stride: from window to window, one number or two; ``None`` for the size of the window.
        padding: on both sides, one number or two, at most half the size of the window.

    Raises:
        ArgumentError: a size below 1, or more padding than half a window.
        ShapeError: in a call, for another rank, or an input that is smaller than the window.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> snn.AvgPool2d(2).apply({}, x)[0, :, :, 0].tolist()
        [[2.5, 4.5], [10.5, 12.5]]
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Pool ``[B, H, W, C]``."""
        return self._pool(sum_pool, floating(x)) / self._window_size()


class SumPool2d(_Pool):
    """Sum of each window of ``[B, H, W, C]``; NIR's ``SumPool2d``, torch's ``LPPool2d(1, ...)``.

    Integers become float32.

    Args:
        kernel_size: of the window, one number or two, height first.
        stride: from window to window, one number or two; ``None`` for the size of the window.
        padding: on both sides, one number or two, at most half the size of the window.

    Raises:
        ArgumentError: a size below 1, or more padding than half a window.
        ShapeError: in a call, for another rank, or an input that is smaller than the window.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> snn.SumPool2d(2).apply({}, jnp.ones((1, 4, 4, 1)))[0, :, :, 0].tolist()
        [[4.0, 4.0], [4.0, 4.0]]
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Pool ``[B, H, W, C]``."""
        return self._pool(sum_pool, floating(x))


class MaxPool1d(MaxPool2d):
    """Maximum of each window of ``[B, L, C]``; see :class:`MaxPool2d`.

    Args:
        kernel_size: of the window, one number.
        stride: from window to window, one number; ``None`` for the size of the window.
        padding: on both sides, one number, at most half the size of the window.

    Raises:
        ArgumentError: a size below 1, or more padding than half a window.
        ShapeError: in a call, for another rank, or an input that is smaller than the window.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.MaxPool1d(2).apply({}, jnp.arange(4.0).reshape(1, 4, 1)).ravel().tolist()
        [1.0, 3.0]
    """

    rank = 1


class AvgPool1d(AvgPool2d):
    """Mean of each window of ``[B, L, C]``; see :class:`AvgPool2d`.

    Args:
        kernel_size: of the window, one number.
        stride: from window to window, one number; ``None`` for the size of the window.
        padding: on both sides, one number, at most half the size of the window.

    Raises:
        ArgumentError: a size below 1, or more padding than half a window.
        ShapeError: in a call, for another rank, or an input that is smaller than the window.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.AvgPool1d(2).apply({}, jnp.arange(4.0).reshape(1, 4, 1)).ravel().tolist()
        [0.5, 2.5]
    """

    rank = 1


class SumPool1d(SumPool2d):
    """Sum of each window of ``[B, L, C]``; see :class:`SumPool2d`.

    Args:
        kernel_size: of the window, one number.
        stride: from window to window, one number; ``None`` for the size of the window.
        padding: on both sides, one number, at most half the size of the window.

    Raises:
        ArgumentError: a size below 1, or more padding than half a window.
        ShapeError: in a call, for another rank, or an input that is smaller than the window.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.SumPool1d(2).apply({}, jnp.arange(4.0).reshape(1, 4, 1)).ravel().tolist()
        [1.0, 5.0]
    """

    rank = 1
