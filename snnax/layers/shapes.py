"""Layers without memory that spiking networks need beside ``flax.linen``: shapes, scale, a state as output.

Arrays are channels-last, ``[B, H, W, C]`` or ``[B, L, C]``, as everywhere in Flax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, GraphError, ShapeError
from snnax.layers.arrays import as_tuple, floating, for_sample
from snnax.modules import Module
from snnax.neurons.buffers import buffer
from snnax.neurons.values import FrozenArray

__all__ = ["Concatenate", "Flatten", "Reshape", "Scale", "State"]


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

    time_independent: ClassVar[bool] = True
    least_axes: ClassVar[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Flatten ``[B, ...]`` to ``[B, N]``."""
        if self.channels_first and x.ndim > 2:
            x = jnp.moveaxis(x, -1, 1)
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Reshape(Module):
    """Another shape for each sample, as ``x.reshape`` makes it: the channels come last.

    Args:
        shape: shape of one sample, without the batch: ``(H, W, C)``, ``(L, C)`` or ``(N,)``. One entry may be -1, for
            what is left.
        channels_first: ``shape`` is ``(C, H, W)``, and values are read and written in torch's order, although the
            arrays are channels-last.

    Raises:
        ArgumentError: at construction, for a bad ``shape``.
        ShapeError: if a sample has another number of elements.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> snn.Reshape((3, 4, 2)).apply({}, jnp.zeros((5, 24))).shape
        (5, 3, 4, 2)
        >>> snn.Reshape((2, 3, 4), channels_first=True).apply({}, jnp.zeros((5, 24))).shape
        (5, 3, 4, 2)
    """

    shape: Sequence[int]
    channels_first: bool = False

    time_independent: ClassVar[bool] = True

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
        """Reshape ``[B, ...]``; the result is channels-last."""
        elements = math.prod(x.shape[1:])
        known = math.prod(s for s in self.shape if s != -1)
        shape = tuple(elements // known if s == -1 else s for s in self.shape)
        if x.ndim < 2 or math.prod(shape) != elements:
            raise ShapeError(
                f"Reshape({self.shape}) got shape {x.shape}; expected [B, ...] with "
                f"{'a multiple of ' if -1 in self.shape else ''}{known} elements per sample."
            )
        if self.channels_first:
            return jnp.moveaxis(jnp.moveaxis(x, -1, 1).reshape(x.shape[0], *shape), 1, -1)
        return x.reshape(x.shape[0], *shape)


class Scale(Module):
    """``y = scale * x``, elementwise; NIR's ``Scale``.

    Args:
        scale: a number, or an array of the shape of one sample, channels last.
        learn_scale: train the factor, in the collection ``params``; otherwise it is fixed, in ``buffers``.

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

    time_independent: ClassVar[bool] = True
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


class State(Module):
    """In a :class:`~snnax.Graph`: passes on a state of the neuron before it instead of its spikes.

    Args:
        state: ``"mem"``, ``"syn"``: a state of the neuron that feeds this node.

    Raises:
        ArgumentError: when called outside a ``Graph``, which is what knows the neuron's states.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import snnax as snn
        >>> net = snn.Graph(
        ...     {"lif": snn.Leaky(beta=0.5, init_hidden=True, output=True), "read": snn.State("mem")},
        ...     [("input", "lif"), ("lif", "read"), ("read", "output")],
        ... )
        >>> x = jnp.full((3, 1, 1), 0.5)  # [T, B, N]
        >>> snn.unroll(net, {}, x)[0].ravel().tolist()
        [0.5, 0.75, 0.875]
    """

    state: str = "mem"

    time_independent: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Never called: the graph reads the state itself."""
        raise ArgumentError(
            f"State({self.state!r}) reads a neuron's state inside snnax.Graph and cannot be called alone; "
            "outside a Graph use the states that a neuron with output=True returns."
        )


class Concatenate(Module):
    r"""In a :class:`~snnax.Graph`: puts side by side what its edges bring, where other nodes add it up.

    .. math:: y = [x_1, x_2, \dots], \qquad x_i \text{ of the sources, in the order of the edges}

    Args:
        axis: the axis along which signals are joined, counted from the last one: -1 for features and channels, which
            are last here, -2 for the columns of an image.

    Raises:
        ArgumentError: ``axis`` is not negative.
        GraphError: fewer than two edges lead to it, or their signals differ in another axis than ``axis``.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Graph(
        ...     nodes={
        ...         "left": nn.Dense(4), "right": nn.Dense(3), "both": snn.Concatenate(),
        ...         "lif": snn.Leaky(0.9, init_hidden=True),
        ...     },
        ...     edges=[("input", "left"), ("input", "right"), ("left", "both"), ("right", "both"), ("both", "lif"),
        ...            ("lif", "output")])
        >>> variables = net.init(jax.random.key(0), jnp.ones((2, 5)))
        >>> snn.unroll(net, variables, jnp.ones((6, 2, 5)))[0].shape
        (6, 2, 7)

    Compared with torch: ``torch.cat([a, b], dim=-1)``; its channels are axis 1. Compared with Keras: ``Concatenate``.
    Compared with NIR: where edges meet, signals are added, so that ``to_nir`` refuses it. The same network without it:
    a ``Dense`` behind it is one ``Dense`` for each source, whose results are added.
    """

    axis: int = -1

    time_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the axis, which is the same one with and without time."""
        axis = checks.whole(self.axis, -64, -1)
        if axis is None:
            raise checks.refuse(
                "Concatenate(axis=...)",
                self.axis,
                "a whole number below zero: -1 is the axis of features and channels",
            )
        self.axis = axis
        super().__post_init__()

    @nn.nowrap
    def joined(self, name: str, parts: Sequence[jax.Array]) -> jax.Array:
        """What arrives at this node of a graph.

        Raises:
            GraphError: the signals do not fit side by side.
        """
        axis, shapes = self.axis, [part.shape for part in parts]
        fits = -axis < len(shapes[0]) and len({len(shape) for shape in shapes}) == 1
        if not fits or len({tuple(np.delete(shape, axis)) for shape in shapes}) > 1:
            raise GraphError(
                f"{name!r}: signals of shapes {' and '.join(map(str, shapes))} cannot be joined by "
                f"Concatenate(axis={axis}); all axes but this one must be equal."
            )
        return jnp.concatenate(parts, axis)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``x`` itself: the graph has joined it."""
        return x
