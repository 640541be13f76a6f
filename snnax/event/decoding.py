"""What an event-driven network says: the class whose neuron fires first, or has the largest voltage."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.event.arguments import floats
from snnax.event.spike_trains import Trains, given_trains
from snnax.functional import arrays

__all__ = [
    "accuracy_first_spike", "accuracy_max_voltage", "first_spike_class", "first_times", "largest",
    "max_voltage_class",
]  # fmt: skip


def first_spike_class(spikes: Any) -> jax.Array:
    """The neuron that fires first.

    Args:
        spikes: :class:`Trains`, or their times ``[B, N]`` or ``[B, N, K]``.

    Returns:
        ``[B]``, whole numbers: of neurons that fire together the first, and -1 if none fires.

    Raises:
        ArgumentError: for what are no times.
        ShapeError: for times of another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> event.first_spike_class(jnp.array([[3e-3, 1e-3], [jnp.inf, jnp.inf]])).tolist()
        [1, -1]
    """
    times = first_times(spikes, "first_spike_class(spikes=...)")
    return jnp.where(jnp.isfinite(jnp.min(times, 1)), jnp.argmin(times, 1), -1)


def max_voltage_class(voltages: Any) -> jax.Array:
    """The integrator whose voltage is largest.

    Args:
        voltages: ``[B, N]``, as the maxima of :class:`~snnax.event.LI`; or a trace ``[T, B, N]``, whose largest counts.

    Returns:
        ``[B]``, whole numbers; of equal ones the first.

    Raises:
        ArgumentError: for what is no array of real numbers.
        ShapeError: for another rank.

    Example:
        >>> from snnax import event
        >>> event.max_voltage_class([[0.1, 0.7, 0.2]]).tolist()
        [1]
    """
    return jnp.argmax(largest(voltages, "max_voltage_class(voltages=...)"), 1)


def accuracy_first_spike(spikes: Any, targets: Any) -> jax.Array:
    """The share of samples in which the neuron of the right class fires first; silence is no answer.

    Args:
        spikes: :class:`Trains`, or their times ``[B, N]`` or ``[B, N, K]``.
        targets: labels ``[B]``.

    Raises:
        ArgumentError: for what are no times, or labels that are no whole numbers or outside.
        ShapeError: for times of another rank, or targets of another shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> times = jnp.array([[3e-3, 1e-3], [jnp.inf, jnp.inf]])
        >>> float(event.accuracy_first_spike(times, jnp.array([1, 0])))
        0.5
    """
    times = first_times(spikes, "accuracy_first_spike(spikes=...)")
    labels = arrays.class_labels("accuracy_first_spike", targets, times.shape[:1], times.shape[1])
    return jnp.mean(first_spike_class(times) == labels)


def accuracy_max_voltage(voltages: Any, targets: Any) -> jax.Array:
    """The share of samples in which the voltage of the right class is largest.

    Args:
        voltages: ``[B, N]``, or a trace ``[T, B, N]``, whose largest counts.
        targets: labels ``[B]``.

    Raises:
        ArgumentError: for what is no array of real numbers, or labels that are no whole numbers or outside.
        ShapeError: for another rank, or targets of another shape.

    Example:
        >>> from snnax import event
        >>> float(event.accuracy_max_voltage([[0.1, 0.7], [0.4, 0.2]], [1, 1]))
        0.5
    """
    peaks = largest(voltages, "accuracy_max_voltage(voltages=...)")
    labels = arrays.class_labels("accuracy_max_voltage", targets, peaks.shape[:1], peaks.shape[1])
    return jnp.mean(jnp.argmax(peaks, 1) == labels)


def first_times(spikes: Any, what: str) -> jax.Array:
    """The time of each neuron's first spike ``[B, N]``, of trains or of times.

    Raises:
        ArgumentError: for what are neither.
        ShapeError: for times of another rank.
    """
    if isinstance(spikes, Trains):
        return given_trains(spikes, what).times[..., 0]
    try:
        times = floats(spikes, what)
    except ArgumentError as error:
        raise checks.refuse(what, spikes, "spike trains, or their times [B, N] or [B, N, K]") from error
    if times.ndim not in (2, 3) or 0 in times.shape:
        raise ShapeError(
            f"{what.removesuffix('=...)')} of shape {times.shape}): expected times [B, N] or [B, N, K]."
        )
    return times if times.ndim == 2 else jnp.min(times, -1)


def largest(voltages: Any, what: str) -> jax.Array:
    """The largest voltages ``[B, N]``, of these or of a trace.

    Raises:
        ArgumentError: for what is no array of real numbers.
        ShapeError: for another rank.
    """
    values = floats(voltages, what)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ShapeError(
            f"{what.removesuffix('=...)')} of shape {values.shape}): expected voltages [B, N] or [T, B, N]."
        )
    return values if values.ndim == 2 else jnp.max(values, 0)
