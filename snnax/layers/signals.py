"""Layers that NIR has beside neurons: a threshold without a membrane, a delay, and a part of the input.

Arrays are channels-last, ``[B, N]`` or ``[B, H, W, C]``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax import checks, surrogate
from snnax.errors import ArgumentError, ShapeError, StateError
from snnax.layers.arrays import floating, for_sample
from snnax.limits import check_values
from snnax.modules import Module
from snnax.neurons.base import SpikeFunction
from snnax.neurons.elementwise import check_surrogate
from snnax.neurons.values import FrozenArray, Parameter

__all__ = ["Delay", "Slice", "Threshold"]


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


class Delay(Module):
    r"""Hands on what came in some steps ago; NIR's ``Delay``.

    .. math:: y_t = x_{t - d}, \qquad x_t = 0 \text{ for } t < 0

    State: ``past``, the inputs of the last :math:`\max d` steps, in the collection ``hidden``.

    Args:
        steps: :math:`d`, a whole number >= 0 of time steps, or an array with one for each neuron.

    Raises:
        ArgumentError: at construction, for a delay that is no whole number of steps.
        ShapeError: the delays do not broadcast to one sample, or keep more than :func:`~snnax.size_limit` allows.
        StateError: the collection ``hidden`` is not mutable, or belongs to another batch size.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> y, _ = snn.unroll(snn.Delay(2), {}, jnp.arange(1.0, 5.0).reshape(4, 1, 1))
        >>> y.ravel().tolist()
        [0.0, 0.0, 1.0, 2.0]

    Source: NIR 1.0.8, ``nir.Delay``, whose delay is in seconds. Norse and snnTorch 1.0.0 have no such layer.
    """

    steps: Any

    least_axes: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check the delays and make them hashable."""
        given = FrozenArray.finite(self.steps, "Delay(steps=...)")
        check_values(
            "Delay", float(np.max(np.asarray(given), initial=0)), "keeps the inputs of as many steps"
        )
        whole = np.rint(np.asarray(given)).astype(np.int64)
        if np.any(whole != np.asarray(given)) or np.any(whole < 0):
            raise ArgumentError(
                f"Delay(steps={self.steps!r}); expected whole numbers of time steps >= 0. A delay in seconds is "
                "delay/dt steps."
            )
        self.steps = given if isinstance(given, FrozenArray) else int(whole)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """One time step on ``[B, ...]``."""
        x = jnp.asarray(x)
        steps = for_sample("Delay: steps", np.asarray(self.steps).astype(np.int64), x)
        longest = int(steps.max(initial=0))
        if longest == 0:
            return x
        kept = longest * math.prod(x.shape[1:])
        check_values("/".join(self.path) or "Delay", kept, f"keeps the inputs of {longest} steps")
        past = self._past(x, longest)
        known = jnp.concatenate([x[:, None], past], axis=1)
        if not self.is_initializing():
            self.put_variable("hidden", "past", known[:, :-1])
        at = np.broadcast_to(steps, (1, *x.shape[1:]) if steps.ndim else (1,) * x.ndim)[:, None]
        index = jnp.broadcast_to(jnp.asarray(at), (x.shape[0], 1, *x.shape[1:]))
        return jnp.take_along_axis(known, index, axis=1)[:, 0]

    @nn.nowrap
    def _past(self, x: jax.Array, longest: int) -> jax.Array:
        """The inputs before this one, the latest first: ``[B, longest, ...]``."""
        shape = (x.shape[0], longest, *x.shape[1:])
        if not self.is_mutable_collection("hidden"):
            if self.is_initializing():
                return jnp.zeros(shape, x.dtype)
            raise StateError(
                "Delay keeps what came before, but the collection 'hidden' is not mutable in this call. Call "
                "apply(variables, x, mutable=['hidden']) and carry the result on."
            )
        past = self.variable("hidden", "past", jnp.zeros, shape, x.dtype).value
        if past.shape != shape:
            raise StateError(
                f"Delay: the stored inputs have shape {past.shape}, expected {shape}. For another batch size start "
                "anew: leave the collection 'hidden' out of the variables, as snnax.utils.reset(variables) does."
            )
        return past.astype(x.dtype)


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
