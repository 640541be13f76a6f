"""Layers of torch's that Flax has not, or not with torch's arguments: transposed convolution, adaptive mean, ReLU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.layers.arrays import Size, as_tuple, floating
from snnax.modules import LAYOUT, Module

__all__ = ["AdaptiveAvgPool2d", "ConvTranspose2d", "ReLU"]


class ConvTranspose2d(Module):
    r"""The transpose of a convolution, over ``[B, H, W, C]``, with torch's arguments and initial weights.

    .. math:: y_o[n s - p + d m] \mathrel{+}= W_{co}[m]\, x_c[n], \qquad W, b \sim \mathcal U(\pm 1/\sqrt{M})

    for every place n of the input and m of the kernel, with M, the weights of one input channel; a side of H becomes
    ``(H - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``.

    Args:
        in_channels: C, the length of the last axis of the input.
        out_channels: of the output.
        kernel_size: one number or two, height first.
        stride: s, as ``kernel_size``.
        padding: p, that much is cut from each side of the output.
        output_padding: lengthens the output below and to the right; less than ``stride`` or than ``dilation``.
        groups: of channels that are convolved apart.
        bias: whether there is b.
        dilation: d, distance between two taps of the kernel.

    Parameters: ``kernel`` ``(H, W, N / groups, C)``, torch's ``weight`` with its axes in another order, and ``bias``.

    Raises:
        ArgumentError: a size that is none, channels that ``groups`` does not divide, or too much ``output_padding``.
        ShapeError: in ``init`` and ``apply``, for another number of channels, as a channels-first input has, or for an
            image that leaves nothing.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> up = snn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1)
        >>> x = jnp.ones((4, 7, 7, 32))
        >>> up.apply(up.init(jax.random.key(0), x), x).shape
        (4, 14, 14, 16)

    Source: PyTorch 2.13, ``torch.nn.ConvTranspose2d``. Compared with torch: images are channels-last. NIR has no such
    node: it travels as an extension.
    """

    in_channels: int
    out_channels: int
    kernel_size: Size
    stride: Size = 1
    padding: Size = 0
    output_padding: Size = 0
    groups: int = 1
    bias: bool = True
    dilation: Size = 1

    time_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "groups"):
            setattr(self, name, checks.count()(getattr(self, name), f"ConvTranspose2d({name}=...)"))
        for name, least in _SIZES.items():
            setattr(self, name, _pair(getattr(self, name), f"ConvTranspose2d({name}=...)", least))
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError(
                f"ConvTranspose2d({self.in_channels}, {self.out_channels}, groups={self.groups}); expected groups that "
                "divide the channels."
            )
        limits = zip(*(_sizes(v) for v in (self.output_padding, self.stride, self.dilation)), strict=True)
        if any(more >= max(step, apart) for more, step, apart in limits):
            raise ArgumentError(
                f"ConvTranspose2d(output_padding={self.output_padding}, stride={self.stride}, dilation={self.dilation}"
                "); expected an output_padding that is less than the stride, or than the dilation."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve ``[B, H, W, C]``."""
        size, step, pad, more, apart = (_sizes(getattr(self, name)) for name in _SIZES)
        outside = [
            (d * (k - 1) - p, d * (k - 1) - p + m) for k, p, m, d in zip(size, pad, more, apart, strict=True)
        ]
        self._check(x, size, outside)
        bound = 1 / math.sqrt(self.out_channels // self.groups * math.prod(size))

        def draw(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

        shape = (*size, self.out_channels // self.groups, self.in_channels)
        kernel, bias = self.param("kernel", draw, shape), None
        if self.bias:
            bias = self.param("bias", draw, (self.out_channels,))
        x, kernel, bias = promote_dtype(floating(x), kernel, bias)
        y = jax.lax.conv_general_dilated(
            x, _turned(kernel, self.groups), (1, 1), outside, lhs_dilation=step, rhs_dilation=apart,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=self.groups,
        )  # fmt: skip
        return y if bias is None else y + bias.reshape(1, 1, 1, -1)

    @nn.nowrap
    def _check(self, x: jax.Array, size: tuple[int, ...], outside: Sequence[tuple[int, int]]) -> None:
        if x.ndim != 4 or x.shape[-1] != self.in_channels:
            raise ShapeError(
                f"{self._label()} got an input of shape {x.shape}; expected {self.in_channels} features on the last "
                f"axis, [B, H, W, {self.in_channels}]. {LAYOUT}"
            )
        steps, apart = _sizes(self.stride), _sizes(self.dilation)
        lengths = [
            (n - 1) * s + 1 + sum(out) - d * (k - 1)
            for n, s, out, d, k in zip(x.shape[1:3], steps, outside, apart, size, strict=True)
        ]
        if min(lengths) < 1:
            raise ShapeError(
                f"{self._label()} leaves nothing of an input of shape {x.shape} (sides of {lengths}): take less "
                f"padding than {self.padding}."
            )


_SIZES = {"kernel_size": 1, "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
"""The arguments that are one number or two, and the least of each."""


def _turned(kernel: jax.Array, groups: int) -> jax.Array:
    """The kernel of the convolution that is the transpose: turned round, ``(H, W, C / groups, N)``."""
    height, width, each, inputs = kernel.shape
    parts = kernel[::-1, ::-1].reshape(height, width, each, groups, inputs // groups)
    return parts.transpose(0, 1, 4, 3, 2).reshape(height, width, inputs // groups, groups * each)


class AdaptiveAvgPool2d(Module):
    r"""Means that make an image of ``output_size`` out of any ``[B, H, W, C]``.

    .. math:: y[i] = \operatorname{mean}\, x[\lfloor i H / O \rfloor \dots \lceil (i + 1) H / O \rceil - 1]

    along both sides, for O outputs of a side H.

    Args:
        output_size: one number or two, height first; ``None`` leaves a side as it is.

    Raises:
        ArgumentError: at construction, for anything else.
        ShapeError: for an input that is no image.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
        >>> snn.AdaptiveAvgPool2d((1, 2)).apply({}, x)[0, :, :, 0].tolist()
        [[3.5, 4.5]]

    Source: PyTorch 2.13, ``torch.nn.AdaptiveAvgPool2d``. Compared with torch: images are channels-last. NIR has no such
    node: it travels as an extension.
    """

    output_size: int | Sequence[int | None] | None

    time_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = self.output_size
        both = tuple(given) if isinstance(given, list | tuple) else (given, given)
        sizes = tuple(None if size is None else checks.whole(size) for size in both)
        if len(both) != 2 or any(
            new is None and old is not None for new, old in zip(sizes, both, strict=True)
        ):
            raise checks.refuse(
                "AdaptiveAvgPool2d(output_size=...)", given, "a whole number >= 1, or two of them, as (7, 7)"
            )
        self.output_size = sizes
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Average ``[B, H, W, C]``."""
        if x.ndim != 4:
            raise ShapeError(f"{self._label()} got shape {x.shape}; expected [B, H, W, C]. {LAYOUT}")
        x, sizes = floating(x), _outputs(self.output_size, x.shape[1:3])
        for axis, outputs in enumerate(sizes, 1):
            if outputs != x.shape[axis]:
                means = jnp.asarray(shares(x.shape[axis], outputs), x.dtype)
                x = jnp.moveaxis(jnp.tensordot(x, means, ((axis,), (1,))), -1, axis)
        return x


def _outputs(given: Any, sides: Sequence[int]) -> tuple[int, ...]:
    return tuple(side if size is None else size for size, side in zip(given, sides, strict=True))


def shares(inputs: int, outputs: int) -> np.ndarray:
    """What part each input has in each output's mean, ``[O, H]``."""
    table = np.zeros((outputs, inputs))
    for place in range(outputs):
        begin, end = place * inputs // outputs, -(-(place + 1) * inputs // outputs)
        table[place, begin:end] = 1 / (end - begin)
    return table


class ReLU(Module):
    r""":math:`y = \max(x, 0)`, elementwise, as ``torch.nn.ReLU``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.ReLU()(jnp.array([[-1.0, 2.0]])).tolist()
        [[0.0, 2.0]]

    Source: PyTorch 2.13, ``torch.nn.ReLU``. Compared with torch: nothing is done in place. NIR has no such node: it
    travels as an extension.
    """

    time_independent: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[B, ...]``."""
        return nn.relu(x)


def _pair(value: Any, what: str, least: int) -> tuple[int, ...]:
    pair = as_tuple(value, 2, what)
    if any(checks.whole(size, least) is None for size in pair):
        raise checks.refuse(what, value, f"one size >= {least}, or two of them")
    return pair


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(value)
