"""Layers whose weights are rounded to few bits in each call, and what a chip stores of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from snnax import checks
from snnax.dynamics.quantization import rounded_weight, weight_levels
from snnax.errors import ArgumentError

__all__ = ["integer_weights", "quantized"]

MOST_BITS = 16
Layer = TypeVar("Layer", nn.Dense, nn.Conv)


@dataclass(frozen=True)
class WeightRounding:
    """How a layer rounds its weights; :func:`quantized` puts it into a layer, as its ``promote_dtype``.

    Args:
        bits: of each weight, 1 to 16.
        per_channel: a scale for each output, not one for all.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.layers.rounding import WeightRounding
        >>> WeightRounding(2)(jnp.ones((1, 2)), jnp.array([[1.0, -0.6, 0.4], [0.0, 0.2, 1.0]]), None)[1].tolist()
        [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]

    Source: :func:`quantized`.
    """

    bits: int
    per_channel: bool = False

    def __call__(self, x: Any, kernel: Any, bias: Any, *, dtype: Any = None) -> Any:
        """What ``promote_dtype`` of Flax does to input, kernel and bias, after the kernel is rounded."""
        return promote_dtype(x, self.rounded(kernel), bias, dtype=dtype)

    def rounded(self, kernel: Any) -> jax.Array:
        """The weights that the layer computes with, outputs on the last axis; at least float32."""
        weight = _wide(kernel)
        return rounded_weight(weight, self.bits, self._axes(weight))

    def levels(self, kernel: Any) -> tuple[jax.Array, jax.Array]:
        """The whole numbers, and the scale with as many axes."""
        weight = _wide(kernel)
        return weight_levels(weight, self.bits, self._axes(weight))

    def _axes(self, weight: jax.Array) -> tuple[int, ...]:
        return tuple(range(weight.ndim - 1 if self.per_channel else weight.ndim))


def _wide(kernel: Any) -> jax.Array:
    weight = jnp.asarray(kernel)
    return weight.astype(jnp.promote_types(weight.dtype, jnp.float32))


def quantized(layer: Layer, bits: int, per_channel: bool = False) -> Layer:
    r"""The layer with weights that are rounded to ``bits`` bits in each call, for training and inference.

    .. math::
        s = \frac{\max |W|}{2^{b-1} - 1},\quad \hat W = s \operatorname{round}(W / s) \qquad
        \text{and for } b = 1\quad \hat W = \operatorname{mean} |W| \operatorname{sign} W

    with ``sign(0) = 1``. The gradient passes straight through: :math:`W` learns from the gradient by :math:`\hat W`.
    What is learned, and what ``params`` and a ``state_dict`` hold, is :math:`W`, under the same names as before. The
    bias is not rounded.

    Args:
        layer: ``flax.linen.Dense`` or ``Conv``, also from :func:`Linear`, :func:`Conv1d` and :func:`Conv2d`.
        bits: b, 1 to 16. Two bits are three levels, -1, 0 and 1 times the largest weight; one bit is binary.
        per_channel: a scale for each output (the last axis of the kernel) instead of one for all.

    Returns:
        A layer of the same class, with the same arguments otherwise.

    Raises:
        ArgumentError: for another module, a layer that is quantised already or has a ``promote_dtype`` of its own, or
            ``bits`` that are none.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp, snnax as snn
        >>> fc = snn.quantized(nn.Dense(2, use_bias=False), bits=1)
        >>> kernel = jnp.array([[0.5, -1.0], [2.0, 0.5]])
        >>> fc.apply({"params": {"kernel": kernel}}, jnp.eye(2)).tolist()
        [[1.0, -1.0], [1.0, 1.0]]

    Source: the straight-through estimator, Bengio et al., arXiv:1308.3432 (2013); binary weights with their mean as
    scale, Rastegari et al., XNOR-Net, arXiv:1603.05279 (2016). Compared with snnTorch: its documentation takes layers
    of Brevitas; ``QuantLinear(weight_bit_width=b)`` there has the same weights, but a gradient through the scale too.
    NIR has no such thing: ``to_nir`` writes :math:`\hat W`, which is what the network computes with.
    """
    if not isinstance(layer, nn.Dense | nn.Conv):
        name = checks.shown(layer)
        raise ArgumentError(
            f"quantized({name}); expected a layer with weights, nn.Dense or nn.Conv, as "
            "snnax.quantized(nn.Dense(10), bits=4). In a network quantise each layer where it is written."
        )
    if layer.promote_dtype is not promote_dtype:
        raise ArgumentError(
            f"quantized({type(layer).__name__}(promote_dtype={layer.promote_dtype!r})); expected a layer that is not "
            "quantised yet and has Flax's promote_dtype, as nn.Dense(10)."
        )
    found = checks.whole(bits, 1, MOST_BITS)
    if found is None:
        raise checks.refuse("quantized(bits=...)", bits, f"a whole number from 1 to {MOST_BITS}, as bits=4")
    rounding = WeightRounding(found, checks.flag(per_channel, "quantized(per_channel=...)"))
    return layer.clone(promote_dtype=rounding)


def rounding_of(layer: nn.Module) -> WeightRounding | None:
    """How a layer rounds its weights, or ``None``."""
    given = getattr(layer, "promote_dtype", None)
    return given if isinstance(given, WeightRounding) else None


class IntegerWeights(NamedTuple):
    """What a chip stores of a layer's weights: see :func:`integer_weights`.

    Attributes:
        values: whole numbers, int8 for up to 8 bits, else int16, in the shape of the kernel.
        scale: of all, or of each output, with as many axes as the kernel: ``values * scale`` are the weights.
        bits: of each number.

    Example:
        >>> import flax.linen as nn, jax.numpy as jnp, snnax as snn
        >>> stored = snn.integer_weights(snn.quantized(nn.Dense(1), 4), {"kernel": jnp.array([[0.7], [-0.31]])})
        >>> stored.bits, stored.values.dtype
        (4, dtype('int8'))
    """

    values: np.ndarray
    scale: np.ndarray
    bits: int


def integer_weights(layer: nn.Module, params: Mapping[str, Any]) -> IntegerWeights:
    r"""The weights of a :func:`quantized` layer as whole numbers and a scale, to be stored on a chip.

    .. math:: \hat W = q s, \qquad |q| \le 2^{b-1} - 1, \text{ or } q = \pm 1 \text{ for one bit}

    ``values * scale`` is what the layer computes with, bit for bit (or what it rounds to its ``dtype``, if that is
    narrower than float32).

    Args:
        layer: what :func:`quantized` returned.
        params: the layer's own, with ``kernel``, as ``variables["params"]["layers_0"]``.

    Returns:
        NumPy arrays ``values`` and ``scale``, and ``bits``.

    Raises:
        ArgumentError: the layer is not quantised, or ``params`` hold no kernel.

    Example:
        >>> import flax.linen as nn, jax.numpy as jnp, snnax as snn
        >>> fc = snn.quantized(nn.Dense(2), bits=4)
        >>> values, scale, bits = snn.integer_weights(fc, {"kernel": jnp.array([[0.7, -0.1], [0.3, 0.0]])})
        >>> values.tolist(), round(float(scale[0, 0]), 6)
        ([[7, -1], [3, 0]], 0.1)
    """
    rounding = rounding_of(layer)
    if rounding is None:
        raise ArgumentError(
            f"integer_weights({checks.shown(layer)}, ...); expected a layer that snnax.quantized made, as "
            "snnax.quantized(nn.Dense(10), bits=4)."
        )
    if not isinstance(params, Mapping) or "kernel" not in params:
        given = sorted(map(str, params)) if isinstance(params, Mapping) else checks.shown(params)
        raise ArgumentError(
            f"integer_weights(layer, params={given}); expected the layer's own parameters with 'kernel', as "
            "variables['params']['layers_0']."
        )
    levels, scale = rounding.levels(nn.unbox(params["kernel"]))
    # NumPy's product of these with float32 is float32, that of int32 would be float64
    stored = np.int8 if rounding.bits <= 8 else np.int16
    return IntegerWeights(np.asarray(levels).astype(stored), np.asarray(scale), rounding.bits)
