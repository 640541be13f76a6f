"""Accuracies: the share of samples whose right class wins."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax.functional import arrays
from snnax.functional.spike_time import spike_times

__all__ = ["accuracy_rate", "accuracy_temporal"]


def accuracy_rate(
    spk_out: ArrayLike, targets: ArrayLike, population_code: bool = False, num_classes: int = False
) -> jax.Array:
    """Share of samples in which the neuron of the right class spikes most.

    Of neurons that spike equally often the first wins.

    Args:
        spk_out: spikes ``[T, B, N]``.
        targets: labels ``[B]``.
        population_code: N = C * n output neurons, each class having n consecutive ones, whose spikes are
            added up.
        num_classes: C, needed with ``population_code``.

    Returns:
        A scalar in 0 ... 1.

    Raises:
        ArgumentError: for ``population_code`` without ``num_classes``, or labels that are no integers or
            outside.
        ShapeError: for spikes that are not ``[T, B, N]``, targets that are not ``[B]``, or N that is no
            multiple of ``num_classes``.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> spk = jnp.array([[[1, 0], [1, 0]], [[0, 1], [1, 0]]])  # [T=2, B=2, N=2]
        >>> float(SF.accuracy_rate(spk, jnp.array([1, 0])))
        0.5

    Compared with snnTorch: returns a JAX scalar instead of a NumPy float64, so that it works in ``jit``.
    """
    out = arrays.record("accuracy_rate", spk_out)
    arrays.check_population("accuracy_rate", population_code, num_classes)
    counts = out.sum(0)
    if population_code:
        counts = arrays.populations("accuracy_rate", counts, num_classes)
    labels = arrays.class_labels("accuracy_rate", targets, counts.shape[:1], counts.shape[1])
    return jnp.mean(jnp.argmax(counts, axis=1) == labels)


def accuracy_temporal(spk_out: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Share of samples in which the neuron of the right class spikes first.

    A neuron that stays silent counts as spiking in the last step; of neurons that spike together the first
    wins.

    Args:
        spk_out: spikes ``[T, B, N]``.
        targets: labels ``[B]``.

    Returns:
        A scalar in 0 ... 1.

    Raises:
        ArgumentError: for labels that are no integers or outside.
        ShapeError: for spikes that are not ``[T, B, N]``, or targets that are not ``[B]``.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> spk = jnp.array([[[0, 0]], [[0, 1]], [[1, 1]]])  # [T=3, B=1, N=2]
        >>> float(SF.accuracy_temporal(spk, jnp.array([1])))
        1.0

    Compared with snnTorch: returns a JAX scalar instead of a NumPy float64, so that it works in ``jit``.
    """
    out = arrays.record("accuracy_temporal", spk_out)
    labels = arrays.class_labels("accuracy_temporal", targets, out.shape[1:2], out.shape[2])
    return jnp.mean(jnp.argmin(spike_times(out)[0], axis=1) == labels)
