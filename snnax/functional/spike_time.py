"""Spike times that a gradient passes through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.functional import arrays
from snnax.neurons.values import FrozenArray

__all__ = ["SpikeTime", "spike_times"]

Times = float | tuple[float, ...]


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def spike_times(spk_out: jax.Array, count: int = 1) -> jax.Array:
    r"""The steps of each neuron's first ``count`` spikes, in order.

    .. math:: t_f = \min\{t : S_t \text{ is the } f\text{-th spike}\}, \quad
        \frac{\partial t_f}{\partial S_t} = -[t = t_f]

    A spike that never comes counts as one in the last step, T - 1, also in the gradient: more spikes mean
    earlier ones.

    Args:
        spk_out: spikes ``[T, B, N]``, floats.
        count: F.

    Returns:
        ``[F, B, N]`` in the dtype of the spikes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax.functional.spike_time import spike_times
        >>> spk = jnp.array([0.0, 1.0, 0.0, 1.0]).reshape(4, 1, 1)
        >>> spike_times(spk, 3).ravel().tolist()
        [1.0, 3.0, 3.0]
        >>> jax.grad(lambda s: spike_times(s).sum())(spk).ravel().tolist()
        [0.0, -1.0, 0.0, 0.0]
    """
    return _steps(spk_out, count).astype(spk_out.dtype)


@spike_times.defjvp
def _spike_times_jvp(
    count: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (spk_out,), (change,) = primals, tangents
    steps = _steps(spk_out, count)
    return steps.astype(spk_out.dtype), -jnp.take_along_axis(change, steps, axis=0)


def _steps(spk_out: jax.Array, count: int) -> jax.Array:
    so_far = jnp.cumsum(spk_out != 0, axis=0, dtype=jnp.int32)[None]
    nth = jnp.arange(1, count + 1, dtype=jnp.int32).reshape(-1, 1, 1, 1)
    return jnp.minimum((so_far < nth).sum(1), spk_out.shape[0] - 1)


@dataclass(frozen=True)
class SpikeTime:
    r"""Turns spikes, and the labels of the right classes, into spike times: ``times, targets = ...``.

    See :func:`~snnax.functional.spike_time.spike_times` for the times and their gradient. A target below 0
    counts from the end: -1 is T - 1.

    Args:
        target_is_time: the targets are spike times ``[B, N]`` or ``[N]``, with ``multi_spike``
            ``[F, B, N]`` or ``[F, N]``, instead of labels ``[B]``.
        on_target: time at which the neuron of the right class should spike; with ``multi_spike`` F of them.
        off_target: the same for the other neurons.
        tolerance: a time nearer to its target than this is set to the target; its gradient stays.
        multi_spike: look at the first F spikes instead of the first.

    Raises:
        ArgumentError: if ``on_target`` and ``off_target`` are not both numbers, or with ``multi_spike`` not
            both sequences of the same length; for labels as in :class:`LossFunctions`.
        ShapeError: for spikes that are not ``[T, B, N]``, or targets that do not fit them.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> spk = jnp.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])[:, None]  # [T=3, B=1, N=2]
        >>> times, targets = SF.SpikeTime()(spk, jnp.array([0]))
        >>> times.tolist(), targets.tolist()
        ([[1.0, 2.0]], [[0.0, 2.0]])

    Compared with snnTorch: that takes a negative ``off_target``, the default, for 0; its second and later
    spike times are wrong, because it takes away a spike from all neurons and samples at once; a spike that
    never comes passes on the gradient of the last such time only; and it writes into targets that are times.
    """

    target_is_time: bool = False
    on_target: Any = 0
    off_target: Any = -1
    tolerance: float = 0
    multi_spike: bool = False

    def __post_init__(self) -> None:
        checks.annotated(self)
        checks.fields(self, tolerance=checks.number(0))
        if self.target_is_time:
            return
        on = _frozen(self.on_target, "SpikeTime(on_target=...)")
        off = _frozen(self.off_target, "SpikeTime(off_target=...)")
        counts = [len(v) if isinstance(v, tuple) else 0 for v in (on, off)]
        if counts[0] != counts[1] or self.multi_spike != (counts[0] > 0):
            expected = (
                "a time for each of the F spikes in both, as SpikeTime(on_target=[5, 10], off_target=[20, 24], "
                "multi_spike=True)"
                if self.multi_spike
                else "one number for each, as SpikeTime(on_target=5, off_target=-1), or multi_spike=True"
            )
            raise ArgumentError(
                f"SpikeTime(on_target={self.on_target!r}, off_target={self.off_target!r}, "
                f"multi_spike={self.multi_spike}); expected {expected}."
            )
        object.__setattr__(self, "on_target", on)
        object.__setattr__(self, "off_target", off)

    def __call__(self, spk_out: ArrayLike, targets: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Spike times and target times, both ``[B, N]``, or ``[F, B, N]`` with ``multi_spike``."""
        spk_out = arrays.record("SpikeTime", spk_out)
        goal = self._goal(spk_out, targets)
        goal = jnp.where(goal < 0, goal + spk_out.shape[0], goal)
        times = spike_times(spk_out, goal.shape[0])
        if self.tolerance:
            near = lax.stop_gradient(jnp.where(jnp.abs(times - goal) < self.tolerance, goal, times))
            times = near + (times - lax.stop_gradient(times))
        return (times, goal) if self.multi_spike else (times[0], goal[0])

    def _goal(self, spk_out: jax.Array, targets: ArrayLike) -> jax.Array:
        """Target times ``[F, B, N]``, those below 0 as they are."""
        _, samples, neurons = spk_out.shape
        if self.target_is_time:
            times = checks.array(targets, "SpikeTime(targets=...)").astype(spk_out.dtype)
            return self._given(times, samples, neurons)
        labels = arrays.class_labels("SpikeTime", targets, (samples,), neurons)
        pairs = zip(np.ravel(self.on_target), np.ravel(self.off_target), strict=True)
        return jnp.stack([arrays.on_off(labels, neurons, *pair, spk_out.dtype) for pair in pairs])

    def _given(self, goal: jax.Array, samples: int, neurons: int) -> jax.Array:
        full = goal if self.multi_spike else goal[None]
        if full.ndim == 2:
            full = full[:, None]
        if full.ndim != 3 or full.shape[1] not in (1, samples) or full.shape[2] != neurons:
            axes = f"[F, B, N] = (F, {samples}, {neurons})" if self.multi_spike else f"{(samples, neurons)}"
            raise ShapeError(
                f"SpikeTime(target_is_time=True) got targets of shape {goal.shape}; expected spike times {axes}, "
                "or the same without B. For class labels leave out target_is_time."
            )
        return jnp.broadcast_to(full, (full.shape[0], samples, neurons))


def _frozen(value: Any, what: str) -> Times:
    wrapped = FrozenArray.finite(value, what)
    if isinstance(wrapped, float):
        return wrapped
    if not np.size(wrapped):
        raise checks.refuse(what, value, "a time, or a time for each spike, as [5, 10]")
    return tuple(float(v) for v in np.asarray(wrapped).ravel())
