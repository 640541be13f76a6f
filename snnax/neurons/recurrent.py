"""How spikes feed back into the layer that fired them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.neurons.base import SpikingNeuron
from snnax.neurons.buffers import buffer
from snnax.neurons.values import Parameter

__all__ = ["Recurrent", "RecurrentNeuron"]


class _Connections(Protocol):
    V: Parameter
    all_to_all: bool
    linear_features: int | None
    conv2d_channels: int | None
    kernel_size: int | Sequence[int] | None
    learn_recurrent: bool
    recurrent_bias: bool


class RecurrentNeuron(SpikingNeuron):
    """Base of the neurons whose spikes come back as a current in the next step.

    Beyond :class:`SpikingNeuron`, subclasses have these arguments:

    * ``all_to_all``: every neuron feeds every one, by a dense layer or a convolution with bias. With ``False`` each
      feeds itself, with the weight ``V``, a number or an array.
    * ``linear_features``: N, for a dense layer on ``[B, ..., N]``.
    * ``conv2d_channels``: C, for a convolution that keeps the size of ``[B, H, W, C]``.
    * ``kernel_size``: of that convolution, odd: one number or a pair.
    * ``learn_recurrent``: train these weights. Otherwise they are fixed, in the collection ``buffers``.
    * ``recurrent_bias``: ``False`` for no bias, as in snnTorch after ``lif.recurrent.bias = None``.

    Weights are in the submodule ``recurrent`` (``kernel`` ``(N, N)`` or ``(kh, kw, C, C)``, and ``bias``),
    drawn as torch draws them, or under ``V``. The bias is added in each step, the first included.
    """

    def __post_init__(self) -> None:
        """Check the recurrent connections and the arguments that all neurons have."""
        given = cast(_Connections, self)
        odd = checks.sizes(2, even="the recurrent current would have another size than the layer")
        checks.fields(
            self,
            linear_features=checks.maybe(checks.count(), False),
            conv2d_channels=checks.maybe(checks.count(), False),
            kernel_size=checks.maybe(odd, False),
        )
        _check_connections(type(self).__name__, given)
        super().__post_init__()

    @nn.nowrap
    def sample_shape(self) -> tuple[int, ...]:
        """Features, or channels of an image of one pixel."""
        given = cast(_Connections, self)
        if given.linear_features:
            return (given.linear_features,)
        return (1, 1, given.conv2d_channels) if given.conv2d_channels else super().sample_shape()

    @nn.nowrap
    def _recurrence(self, like: jax.Array) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
        """``(weights, spikes) -> current`` from the spikes of the step before, and the weights."""
        given = cast(_Connections, self)
        if not given.all_to_all:
            V = self._value("V", like, given.learn_recurrent)
            if isinstance(V, np.ndarray):
                return lambda _, spk: spk * V, None
            return lambda weight, spk: spk * weight, V
        features = cast(int, given.linear_features or given.conv2d_channels)
        axes = 1 if given.linear_features else 3
        if like.ndim < axes or like.shape[-1] != features:
            layout = "[B, ..., N]" if given.linear_features else "[B, H, W, C], channels last"
            raise ShapeError(
                f"{self._label()}: the input has shape {like.shape}; expected {layout}, with {features} in "
                "the last axis, as its recurrent weights have."
            )
        size = cast(tuple[int, ...], given.kernel_size) if axes == 3 else ()
        layer = Recurrent(features, size, given.learn_recurrent, given.recurrent_bias, parent=None)
        home = "params" if given.learn_recurrent else "buffers"
        if self.is_initializing() or not self.has_variable(home, "recurrent"):
            bound = layer.clone(
                parent=self, name="recurrent"
            )  # draws the weights, or says that they are missing
            return lambda _, spk: bound(spk), None
        weights: Any = self.get_variable(home, "recurrent")
        return lambda weights, spk: cast(jax.Array, layer.apply({home: weights}, spk)), weights


class Recurrent(nn.Module):
    """Dense layer, or convolution that keeps the size, with as many outputs as inputs.

    Attributes:
        features: neurons or channels.
        kernel_size: ``(kh, kw)``, both odd; empty for a dense layer.
        learn: weights in ``params``, else in ``buffers``.
        use_bias: add a bias.
    """

    features: int
    kernel_size: tuple[int, ...] = ()
    learn: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, spk: jax.Array) -> jax.Array:
        """Current ``[..., N]`` or ``[..., H, W, C]`` from spikes of the same shape."""
        kernel = self._weight("kernel", (*self.kernel_size, self.features, self.features), spk)
        if not self.kernel_size:
            return self._with_bias(jnp.dot(spk, kernel))
        current = lax.conv_general_dilated(
            spk.reshape(-1, *spk.shape[-3:]),
            kernel,
            window_strides=(1, 1),
            padding=[(k // 2, k // 2) for k in self.kernel_size],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return self._with_bias(current.reshape(spk.shape))

    @nn.nowrap
    def _with_bias(self, current: jax.Array) -> jax.Array:
        if not self.use_bias:
            return current
        bias = self._weight("bias", (self.features,), current)
        return current + bias.reshape((1,) * (current.ndim - 1) + bias.shape)

    @nn.nowrap
    def _weight(self, name: str, shape: tuple[int, ...], like: jax.Array) -> jax.Array:
        def start(key: jax.Array | None = None) -> jax.Array:
            bound = 1 / math.sqrt(self.features * math.prod(self.kernel_size))
            dtype = jnp.promote_types(like.dtype, jnp.float32)
            key = self.make_rng("params") if key is None else key
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        if self.learn:
            return self.param(name, start).astype(like.dtype)
        return cast(jax.Array, buffer(self, name, start, drawn=True)).astype(like.dtype)


def _check_connections(kind: str, given: _Connections) -> None:
    sizes = ("linear_features", "conv2d_channels", "kernel_size")
    chosen = [name for name in sizes if getattr(given, name)]
    if given.all_to_all and chosen not in (["linear_features"], ["conv2d_channels", "kernel_size"]):
        raise ArgumentError(
            f"{kind}(all_to_all=True) got {' and '.join(chosen) or 'no size'}; expected linear_features "
            "alone, or conv2d_channels and kernel_size. For one weight V for each neuron pass all_to_all=False."
        )
    if not given.all_to_all and chosen:
        raise ArgumentError(
            f"{kind}(all_to_all=False) got {' and '.join(chosen)}, but its recurrent weight is V. Leave it "
            "out, or pass all_to_all=True."
        )
