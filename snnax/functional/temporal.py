"""Losses of spike times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError
from snnax.functional import arrays
from snnax.functional.base import LossFunctions, Weight
from snnax.functional.spike_time import SpikeTime, spike_times

__all__ = ["ce_temporal_loss", "mse_temporal_loss"]


@dataclass(frozen=True)
class mse_temporal_loss(LossFunctions):
    r"""Squared distance of the first spike times from target times, in units of the duration.

    .. math:: \ell_{b,c} = w_{y_b} \Big(\frac{t_{b,c} - \hat t_{b,c}}{T}\Big)^2

    A neuron that stays silent counts as spiking in the last step. The gradient of a spike time is -1 at its
    spike; see :class:`SpikeTime`. By default the right class should spike at once and the others last.

    Args:
        target_is_time: the targets are spike times instead of labels; see :class:`SpikeTime`.
        on_target: spike time of the right class; with ``multi_spike`` a sequence of F times.
        off_target: spike time of the others; -1 is the last step.
        tolerance: a spike nearer to its target than this many steps costs nothing.
        multi_spike: compare the first F spikes instead of the first.
        reduction: over ``B`` and ``N``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B, N]``, or ``[F, B, N]``).
        weight: ``w``, one for each class; see :class:`LossFunctions`.

    Raises:
        ArgumentError: for targets as in :class:`SpikeTime`, a weight where the targets are times, or as in
            :class:`LossFunctions`.
        ShapeError: as in :class:`SpikeTime`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> spk = jnp.zeros((10, 1, 2)).at[5, 0, 0].set(1)  # the first neuron at 5, the second never
        >>> float(SF.mse_temporal_loss()(spk, jnp.array([0])))  # (0.5**2 + 0) / 2
        0.125

    Compared with snnTorch: that trains every neuron, also of the wrong classes, to spike at once where
    ``off_target`` is negative, which is its default; has wrong times with ``multi_spike``; and with
    ``weight`` raises unless B = N, and then weighs the neurons by the labels of other samples. Without
    these three the same.
    """

    target_is_time: bool = False
    on_target: Any = 0
    off_target: Any = -1
    tolerance: float = 0
    multi_spike: bool = False
    reduction: str = "mean"
    weight: Weight = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.annotated(self)
        if self.target_is_time and self.weight is not None:
            raise ArgumentError(
                "mse_temporal_loss(target_is_time=True, weight=...): a weight belongs to a class, and spike times "
                'name none. Leave out weight, and multiply the losses of reduction="none".'
            )
        times = self._spike_time()
        object.__setattr__(self, "on_target", times.on_target)
        object.__setattr__(self, "off_target", times.off_target)

    def _spike_time(self) -> SpikeTime:
        return SpikeTime(
            self.target_is_time, self.on_target, self.off_target, self.tolerance, self.multi_spike
        )

    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        steps, samples, neurons = spk_out.shape
        times, goal = self._spike_time()(spk_out, targets)
        losses = arrays.squared_error(times / steps, goal / steps)
        if self.weight is None:
            return losses
        labels = arrays.class_labels(self.__name__, targets, (samples,), neurons)
        return self._weighted(losses, jnp.broadcast_to(labels, losses.shape[:-1]), neurons)


@dataclass(frozen=True)
class ce_temporal_loss(LossFunctions):
    r"""Cross entropy of the inverted first spike times: the right class should spike first.

    .. math:: \ell_b = -w_{y_b} \log \mathrm{softmax}_c(z_{b,c})_{y_b}, \quad
        z = -t \ \text{or} \ z = \frac{1}{t + 1}

    A neuron that stays silent counts as spiking in the last step. The gradient of a spike time is -1 at its
    spike; see :class:`SpikeTime`. With ``weight``, ``"mean"`` is :math:`\sum_b \ell_b / \sum_b w_{y_b}`.

    Args:
        inverse: ``"negate"`` for -t, ``"reciprocal"`` for 1/(t + 1).
        reduction: over ``B``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B]``).
        weight: ``w``, one for each class.

    Raises:
        ArgumentError: for another ``inverse``, or as in :class:`LossFunctions`.
        ShapeError: as in :class:`LossFunctions`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> spk = jnp.zeros((10, 1, 2)).at[5, 0, 0].set(1)  # the first neuron at 5, the second never
        >>> float(SF.ce_temporal_loss()(spk, jnp.array([0]))).__round__(4)  # log(1 + exp(5 - 9))
        0.0181

    Compared with snnTorch: the same, the weighted mean too, which is another than that of its other losses.
    """

    inverse: str = "negate"
    reduction: str = "mean"
    weight: Weight = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.fields(self, inverse=checks.one_of("negate", "reciprocal"))

    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        _, samples, neurons = spk_out.shape
        labels = arrays.class_labels(self.__name__, targets, (samples,), neurons)
        times = spike_times(spk_out)[0]
        logits = -times if self.inverse == "negate" else 1 / (times + 1)
        losses = self._weighted(arrays.cross_entropy(logits, labels), labels, neurons)
        if self.weight is None or self.reduction != "mean":
            return losses
        return losses / self._weighted(jnp.ones_like(losses), labels, neurons).mean()
