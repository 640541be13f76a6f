"""torch's layers with weights that are rounded in each call, whose ``state_dict`` is that of the layer without."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnax.layers.rounding import WeightRounding


class RoundWeight(torch.autograd.Function):
    """Weights rounded to some bits, outputs on the first axis; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: int, per_channel: bool) -> Tensor:
        """The equation of ``snnax.dynamics.quantization``, operation by operation."""
        axes = tuple(range(1 if per_channel else 0, weight.ndim))
        size = weight.abs()
        peak = size.amax(axes, keepdim=True)
        if bits > 1:
            scale = peak / float(2 ** (bits - 1) - 1)
            return torch.round(weight / torch.where(scale == 0, 1.0, scale)) * scale
        count = math.prod(weight.shape[axis] for axis in axes)
        fine = 2 ** min(23, 30 - count.bit_length())
        steps = torch.round(size / torch.where(peak == 0, 1.0, peak) * fine).to(torch.int32)
        total = steps.sum(axes, keepdim=True, dtype=torch.int32).to(weight.dtype)
        # the divisor rounded to the precision of the weights first
        mean = total / torch.full_like(total, float(np.float64(count) * fine)) * peak
        return torch.where(weight < 0, -mean, mean)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient by the rounded weight."""
        return gradients[0], None, None


class _Rounded(nn.Module):
    """What the layers below have besides torch's arguments.

    Attributes:
        rounding: how the weight is rounded.
    """

    weight: Tensor
    rounding: WeightRounding

    def rounded(self) -> Tensor:
        """The weight that the layer computes with."""
        found: Tensor = RoundWeight.apply(self.weight, self.rounding.bits, self.rounding.per_channel)
        return found

    def extra_repr(self) -> str:
        """Torch's words for the layer, and the bits."""
        return f"{super().extra_repr()}, bits={self.rounding.bits}, per_channel={self.rounding.per_channel}"


class QuantizedLinear(_Rounded, nn.Linear):
    """``nn.Linear`` with a rounded weight."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N]``."""
        return F.linear(x, self.rounded(), self.bias)


class QuantizedConv1d(_Rounded, nn.Conv1d):
    """``nn.Conv1d`` with a rounded weight."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, L]``."""
        return self._conv_forward(x, self.rounded(), self.bias)


class QuantizedConv2d(_Rounded, nn.Conv2d):
    """``nn.Conv2d`` with a rounded weight."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]``."""
        return self._conv_forward(x, self.rounded(), self.bias)


ROUNDED = (QuantizedLinear, QuantizedConv1d, QuantizedConv2d)
_OF: dict[type[nn.Module], type[_Rounded]] = {
    nn.Linear: QuantizedLinear,
    nn.Conv1d: QuantizedConv1d,
    nn.Conv2d: QuantizedConv2d,
}


def quantized_layer(layer: nn.Module, rounding: WeightRounding) -> nn.Module:
    """The layer, made one that rounds its weight."""
    layer.__class__ = _OF[type(layer)]
    layer.rounding = rounding  # type: ignore[assignment]
    return layer


def plain_kind(module: nn.Module) -> type[nn.Module]:
    """The class of torch's that a layer is, but for its rounding."""
    kind = type(module)
    return next((plain for plain, made in _OF.items() if made is kind), kind)
