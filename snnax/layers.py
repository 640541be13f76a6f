"""Stateless layers that spiking networks need beside ``flax.linen``: pooling, flatten, reshape, scale.

Arrays are channels-last, ``[B, H, W, C]`` or ``[B, L, C]``, as everywhere in Flax. Arguments follow
``torch.nn``: ``kernel_size``, ``stride`` (the kernel size when not given) and ``padding``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.kernels.pooling import max_pool, sum_pool
from snnax.limits import check_values
from snnax.modules import LAYOUT, Module
from snnax.neurons.buffers import buffer
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
    try:
        entries: Any = value if np.ndim(value) else [value] * rank
        sizes = tuple(operator.index(entry) for entry in entries)
    except (TypeError, ValueError, RuntimeError):
        sizes = ()
    if len(sizes) != rank:
        raise ArgumentError(f"{what}={value!r}; expected an int or {rank} of them, as {what}={(2,) * rank}.")
    return sizes


class _Pool(Module):
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
        kind = type(self).__name__
        for name, value in (("kernel_size", self.kernel_size), ("stride", self.stride)):
            if min(value) < 1:
                raise ArgumentError(f"{kind}({name}={value}); expected sizes >= 1.")
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


def floating(x: jax.Array) -> jax.Array:
    """Integers as float32, as neurons take them: sums of small integers would wrap around."""
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


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
        return self._pool(max_pool, x)


class AvgPool2d(_Pool):
    """Mean of each window of ``[B, H, W, C]``; padding counts as zero and into the mean.

    Integers become float32. Same as ``torch.nn.AvgPool2d`` and NIR's ``AvgPool2d``.

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
    """Maximum of each window of ``[B, L, C]``; see :class:`MaxPool2d`."""

    rank = 1


class AvgPool1d(AvgPool2d):
    """Mean of each window of ``[B, L, C]``; see :class:`AvgPool2d`."""

    rank = 1


class SumPool1d(SumPool2d):
    """Sum of each window of ``[B, L, C]``; see :class:`SumPool2d`."""

    rank = 1


class Flatten(Module):
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

    least_axes: ClassVar[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Flatten ``[B, ...]`` to ``[B, N]``."""
        if self.channels_first and x.ndim > 2:
            x = jnp.moveaxis(x, -1, 1)
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Reshape(Module):
    """Another shape for each sample, read and written in torch's channels-first order.

    Args:
        shape: shape of one sample, without the batch, channels first: ``(C, H, W)``, ``(C, L)`` or ``(N,)``.
            One entry may be -1, for what is left.

    Raises:
        ArgumentError: at construction, for a bad ``shape``.
        ShapeError: if a sample has another number of elements.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.Reshape((2, 3, 4)).apply({}, jnp.zeros((5, 24))).shape
        (5, 3, 4, 2)
    """

    shape: Sequence[int]

    def __post_init__(self) -> None:
        try:
            rank = np.size(self.shape)
        except ValueError:  # ragged
            rank = 0
        shape = as_tuple(self.shape, rank, "shape") if isinstance(rank, int) else ()
        if not shape or any(s < 1 for s in shape if s != -1) or shape.count(-1) > 1:
            raise ArgumentError(
                f"Reshape(shape={self.shape!r}); expected sizes >= 1, one of them perhaps -1."
            )
        self.shape = shape
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Reshape ``[B, ...]`` to ``[B, *shape]``, kept channels-last."""
        elements = math.prod(x.shape[1:])
        known = math.prod(s for s in self.shape if s != -1)
        shape = tuple(elements // known if s == -1 else s for s in self.shape)
        if x.ndim < 2 or math.prod(shape) != elements:
            raise ShapeError(
                f"Reshape({self.shape}) got shape {x.shape}; expected [B, ...] with "
                f"{'a multiple of ' if -1 in self.shape else ''}{known} elements per sample."
            )
        return jnp.moveaxis(jnp.moveaxis(x, -1, 1).reshape(x.shape[0], *shape), 1, -1)


class Scale(Module):
    """``y = scale * x``, elementwise; NIR's ``Scale``.

    Args:
        scale: a number, or an array of the shape of one sample, channels last.
        learn_scale: train it (collection ``params``) instead of keeping it fixed (``buffers``).

    Raises:
        ArgumentError: at construction, if ``scale`` is no number or array.
        ShapeError: if it does not broadcast to one sample.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.Scale(0.5).apply({}, jnp.ones((1, 2))).tolist()
        [[0.5, 0.5]]
    """

    scale: Any
    learn_scale: bool = False

    buffer_names: ClassVar[dict[str, str]] = {"scale": "scale"}

    def __post_init__(self) -> None:
        self.scale = FrozenArray.wrap(self.scale, "Scale(scale=...)")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scale ``[B, ...]``; integers become float32."""
        x = floating(x)

        def start(*_: Any) -> jax.Array:
            dtype = jnp.promote_types(x.dtype, jnp.float32)
            return jnp.asarray(checks.rounded(self.scale, dtype, "Scale(scale=...)"))

        value: Any = self.scale
        if self.learn_scale:
            value = self.param("scale", start)
        else:
            kept = buffer(self, "scale", start, isinstance(value, FrozenArray))
            value = checks.rounded(value, x.dtype, "Scale(scale=...)") if kept is None else kept
        return x * for_sample("Scale: scale", jnp.asarray(value, x.dtype), x)


def for_sample(what: str, value: Any, x: jax.Array) -> Any:
    """``value``, a number or an array for each neuron, with the axes of ``x``; ``what`` it is, for the error."""
    shape, pairs = value.shape, zip(value.shape[::-1], x.shape[::-1], strict=False)
    if shape and (len(shape) >= max(x.ndim, 2) or any(s not in (1, n) for s, n in pairs)):
        raise ShapeError(
            f"{what} has shape {shape}, the input {x.shape}. Expected one number, or an array that broadcasts "
            f"from the right to one sample, as {x.shape[-1:]}."
        )
    return value.reshape((1,) * (x.ndim - len(shape)) + shape) if shape else value


class State(Module):
    """In a :class:`~snnax.Graph`: passes on a state of the neuron before it instead of its spikes.

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
