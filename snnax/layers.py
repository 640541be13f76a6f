"""Stateless layers that spiking networks need beside ``flax.linen``: pooling, flatten, reshape, scale.

Arrays are channels-last, ``[B, H, W, C]`` or ``[B, L, C]``, as everywhere in Flax. Arguments follow
``torch.nn``: ``kernel_size``, ``stride`` (the kernel size when not given) and ``padding``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from snnax.errors import ArgumentError, ShapeError
from snnax.neurons.values import FrozenArray

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "Flatten",
    "MaxPool1d",
    "MaxPool2d",
    "Reshape",
    "Scale",
    "State",
    "SumPool1d",
    "SumPool2d",
]

Size = int | Sequence[int]


def as_tuple(value: Size, rank: int, what: str) -> tuple[int, ...]:
    """``3`` -> ``(3, 3)``; checks the length of a sequence."""
    sizes = (int(value),) * rank if isinstance(value, int) else tuple(int(v) for v in value)
    if len(sizes) != rank:
        raise ArgumentError(f"{what}={value!r} has {len(sizes)} entries; expected an int or {rank} entries.")
    return sizes


class _Pool(nn.Module):
    """Windows over the spatial axes of a channels-last array, in torch's floor mode."""

    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0

    rank = 2

    def __post_init__(self) -> None:
        self.kernel_size = as_tuple(self.kernel_size, self.rank, "kernel_size")
        stride = self.kernel_size if self.stride is None else self.stride
        self.stride = as_tuple(stride, self.rank, "stride")
        self.padding = as_tuple(self.padding, self.rank, "padding")
        for size, pad in zip(self.kernel_size, self.padding, strict=True):
            if 2 * pad > size:
                raise ArgumentError(f"padding={pad} is more than half of kernel_size={size}.")
        super().__post_init__()

    def _reduce(self, x: jax.Array, start: Any, operation: Any) -> jax.Array:
        if x.ndim != self.rank + 2:
            axes = "[B, L, C]" if self.rank == 1 else "[B, H, W, C]"
            raise ShapeError(f"{type(self).__name__} got shape {x.shape}; expected {axes}, channels last.")
        pads = [(0, 0), *((p, p) for p in _sizes(self.padding)), (0, 0)]
        window = (1, *_sizes(self.kernel_size), 1)
        strides = (1, *_sizes(self.stride), 1)
        return lax.reduce_window(x, start, operation, window, strides, pads)

    def _window_size(self) -> int:
        count = 1
        for size in _sizes(self.kernel_size):
            count *= size
        return count


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(value)


class MaxPool2d(_Pool):
    """Maximum of each window of ``[B, H, W, C]``; padding counts as minus infinity.

    Same as ``torch.nn.MaxPool2d`` in floor mode with dilation 1. NIR has no such node: it travels as
    an extension.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> snn.MaxPool2d(2).apply({}, x)[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Pool ``[B, H, W, C]``."""
        return self._reduce(x, -jnp.inf, lax.max)


class AvgPool2d(_Pool):
    """Mean of each window of ``[B, H, W, C]``; padding counts as zero and into the mean.

    Same as ``torch.nn.AvgPool2d`` and NIR's ``AvgPool2d``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> snn.AvgPool2d(2).apply({}, x)[0, :, :, 0].tolist()
        [[2.5, 4.5], [10.5, 12.5]]
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Pool ``[B, H, W, C]``."""
        return self._reduce(x, 0.0, lax.add) / self._window_size()


class SumPool2d(_Pool):
    """Sum of each window of ``[B, H, W, C]``; NIR's ``SumPool2d``, torch's ``LPPool2d(1, ...)``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> snn.SumPool2d(2).apply({}, jnp.ones((1, 4, 4, 1)))[0, :, :, 0].tolist()
        [[4.0, 4.0], [4.0, 4.0]]
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Pool ``[B, H, W, C]``."""
        return self._reduce(x, 0.0, lax.add)


class MaxPool1d(MaxPool2d):
    """Maximum of each window of ``[B, L, C]``; see :class:`MaxPool2d`."""

    rank = 1


class AvgPool1d(AvgPool2d):
    """Mean of each window of ``[B, L, C]``; see :class:`AvgPool2d`."""

    rank = 1


class SumPool1d(SumPool2d):
    """Sum of each window of ``[B, L, C]``; see :class:`SumPool2d`."""

    rank = 1


class Flatten(nn.Module):
    """All axes but the batch in one.

    Args:
        channels_first: flatten in torch's order ``C, H, W`` although the array is channels-last, so that
            the weights of a following ``Dense`` line up with those of a torch ``Linear``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> x = jnp.arange(8.0).reshape(1, 2, 2, 2)
        >>> snn.Flatten(channels_first=True).apply({}, x)[0].tolist()
        [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]
    """

    channels_first: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Flatten ``[B, ...]`` to ``[B, N]``."""
        if self.channels_first and x.ndim > 2:
            x = jnp.moveaxis(x, -1, 1)
        return x.reshape(x.shape[0], -1)


class Reshape(nn.Module):
    """Another shape for each sample, read and written in torch's channels-first order.

    Args:
        shape: shape of one sample, without the batch, channels first: ``(C, H, W)``, ``(C, L)`` or ``(N,)``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.Reshape((2, 3, 4)).apply({}, jnp.zeros((5, 24))).shape
        (5, 3, 4, 2)
    """

    shape: Sequence[int]

    def __post_init__(self) -> None:
        self.shape = tuple(int(s) for s in self.shape)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Reshape ``[B, ...]`` to ``[B, *shape]``, kept channels-last."""
        y = jnp.moveaxis(x, -1, 1).reshape(x.shape[0], *self.shape)
        return jnp.moveaxis(y, 1, -1)


class Scale(nn.Module):
    """``y = scale * x``, elementwise; NIR's ``Scale``.

    Args:
        scale: a number, or an array of the shape of one sample, channels last.
        learn_scale: train it (collection ``params``) instead of keeping it fixed (``buffers``).

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.Scale(0.5).apply({}, jnp.ones((1, 2))).tolist()
        [[0.5, 0.5]]
    """

    scale: Any
    learn_scale: bool = False

    def __post_init__(self) -> None:
        self.scale = FrozenArray.wrap(self.scale)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scale ``[B, ...]``."""
        if self.learn_scale:
            scale = self.param("scale", lambda _: jnp.asarray(self.scale))
        elif isinstance(self.scale, FrozenArray):
            scale = self.variable("buffers", "scale", lambda: jnp.asarray(self.scale)).value
        else:
            scale = self.scale
        scale = jnp.asarray(scale, x.dtype)
        return x * (jnp.expand_dims(scale, tuple(range(x.ndim - scale.ndim))) if scale.ndim else scale)


class State(nn.Module):
    """In a :class:`~snnax.Graph`: passes on a state of the neuron before it, as the membrane, instead of its spikes.

    Args:
        state: ``"mem"``, ``"syn"``: a state of the neuron that feeds this node.

    Raises:
        ArgumentError: when called outside a ``Graph``, which is what knows the neuron's states.
    """

    state: str = "mem"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Never called: the graph reads the state itself."""
        raise ArgumentError(
            f"State({self.state!r}) reads a neuron's state inside snnax.Graph and cannot be called alone; "
            "outside a Graph use the states that a neuron with output=True returns."
        )
