"""Layers that NIR has beside neurons: a threshold without a membrane, and a part of the input.

Arrays are channels-last, ``[B, N]`` or ``[B, H, W, C]``.
"""

from __future__ import annotations

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax import checks, surrogate
from snnax.errors import ArgumentError, ShapeError
from snnax.layers.arrays import floating, for_sample
from snnax.modules import Module
from snnax.neurons.base import SpikeFunction
from snnax.neurons.elementwise import check_surrogate
from snnax.neurons.values import FrozenArray, Parameter

__all__ = ["Slice", "Threshold"]


class Threshold(Module):
    r"""Spikes where a signal is above a threshold, without a membrane; NIR's ``Threshold``.

    .. math:: S = [x > \theta]

    Args:
        threshold: number, or an array that broadcasts from the right to one sample.
        spike_grad: a function of :mod:`snnax.surrogate`; ``None`` is ``atan()``.

    Raises:
        ArgumentError: at construction, for a bad argument.
        ShapeError: the threshold does not broadcast to one sample.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.Threshold(0.5).apply({}, jnp.array([[0.25, 0.5, 0.75]])).tolist()
        [[0.0, 0.0, 1.0]]

    Source: NIR 1.0.8, ``nir.Threshold``. Norse and snnTorch have no such layer.
    """

    threshold: Parameter
    spike_grad: SpikeFunction | None = None

    time_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Make the threshold hashable."""
        self.threshold = FrozenArray.finite(self.threshold, "Threshold(threshold=...)")
        check_surrogate(self.spike_grad, "Threshold(spike_grad=...)")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """Spikes of ``[B, ...]``."""
        x = floating(jnp.asarray(x))
        limit = for_sample(
            "Threshold: threshold", checks.rounded(self.threshold, x.dtype, "Threshold(threshold=...)"), x
        )
        return (self.spike_grad or surrogate.atan())(x - limit)


class Slice(Module):
    """A part of each sample, which is a vector, in a shape of its own: one of several inputs of a graph.

    Args:
        begin: index of its first element.
        shape: shape of the part, without the batch, channels first: ``(C, H, W)``, ``(C, L)`` or ``(N,)``.

    Raises:
        ArgumentError: at construction, for a bad argument.
        ShapeError: the input is not ``[B, N]`` with N large enough.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.Slice(2, (3,)).apply({}, jnp.arange(6.0)[None]).tolist()
        [[2.0, 3.0, 4.0]]
    """

    begin: int
    shape: tuple[int, ...]

    time_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the arguments."""
        begin = checks.whole(self.begin, least=0)
        try:
            shape = checks.shape(self.shape, "shape")
        except ArgumentError:
            shape = ()
        if begin is None or not shape:
            raise ArgumentError(
                f"Slice(begin={checks.shown(self.begin)}, shape={checks.shown(self.shape)}); expected begin >= 0 and "
                "sizes >= 1, as Slice(0, (3,))."
            )
        self.begin, self.shape = begin, shape
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """The part of ``[B, N]``, channels last."""
        x = jnp.asarray(x)
        end = self.begin + math.prod(self.shape)
        if x.ndim != 2 or x.shape[1] < end:
            raise ShapeError(
                f"Slice({self.begin}, {self.shape}) got shape {x.shape}; expected [B, N] with N >= {end}."
            )
        return jnp.moveaxis(x[:, self.begin : end].reshape(x.shape[0], *self.shape), 1, -1)
