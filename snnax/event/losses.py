r"""Losses of spike times and voltages, for event-driven networks.

A loss is built once and called with what a network returns and the targets; it is immutable and hashable, works in
``jit`` and ``grad``, and :func:`snnax.training.fit` takes it.

A neuron that does not fire has no time, and a loss has no gradient for it: it counts as firing at ``silent``. What
wakes it is :func:`~snnax.event.silence`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ShapeError
from snnax.event.arguments import floats, seconds
from snnax.event.decoding import first_times, largest
from snnax.event.spike_trains import Trains
from snnax.functional import arrays

__all__ = ["max_over_time_loss", "mse_time_loss", "target_time_loss", "ttfs_loss"]

_REDUCTIONS = ("mean", "sum", "none")
_moment = checks.number(0.0, called="seconds: a finite number")


class _Loss(abc.ABC):
    """What they share."""

    reads: ClassVar[str] = "all"
    """For :mod:`snnax.training`: the loss gets what the network returns."""

    reduction: str

    def _check(self, **fields: checks.Check) -> None:
        checks.fields(self, reduction=checks.one_of(*_REDUCTIONS), **fields)

    def _what(self, argument: str) -> str:
        return f"{type(self).__name__}()({argument}=...)"

    def _reduced(self, losses: jax.Array) -> jax.Array:
        if self.reduction == "none":
            return losses
        return losses.mean() if self.reduction == "mean" else losses.sum()


@dataclass(frozen=True)
class mse_time_loss(_Loss):
    r"""Squared distance of spike times from target times.

    .. math:: \ell = \left(\frac{\min(t, t_{silent}) - \hat t}{u}\right)^2

    Args:
        silent: the time that a spike which is not there counts as, in seconds; later spikes count as this, too.
        unit: :math:`u`, in seconds, as the time constant of the membrane.
        reduction: over all axes: ``"mean"``, ``"sum"`` or ``"none"``.

    Called with :class:`Trains` or times ``[B, N, K]``, and target times: ``[B, N]`` for the first spikes, or
    ``[B, N, F]`` for the first ``F``, in any order; ``inf`` where no spike is wanted.

    Raises:
        ArgumentError: for numbers that are no times, another reduction, or what are no spikes or targets.
        ShapeError: for targets of another shape than the spikes.

    Compared with
        jaxsnn's ``mse_loss`` compares the first spikes only.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> loss = event.mse_time_loss(silent=30e-3, unit=10e-3)
        >>> print(f"{loss(jnp.array([[4e-3, jnp.inf]]), jnp.array([[9e-3, 20e-3]])):.3f}")  # (0.5**2 + 1) / 2
        0.625
    """

    silent: float
    unit: float = 1.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Check the fields."""
        self._check(silent=seconds, unit=seconds)

    def __call__(self, spikes: Any, targets: Any) -> jax.Array:
        """The loss of spikes with these targets."""
        goal = floats(targets, self._what("targets"))
        given = spikes.times if isinstance(spikes, Trains) else spikes
        first = first_times(spikes, self._what("spikes"))
        times = first if goal.ndim == 2 else _padded(jnp.asarray(given), goal)
        if goal.shape != times.shape:
            raise ShapeError(
                f"mse_time_loss(targets of shape {goal.shape}): expected target times [B, N] = {first.shape}, or "
                "[B, N, F] for the first F spikes."
            )
        wanted = jnp.sort(jnp.minimum(goal, self.silent), -1) if goal.ndim == 3 else goal
        distance = _capped(times, self.silent) - jnp.minimum(wanted, self.silent).astype(times.dtype)
        return self._reduced((distance / self.unit) ** 2)


@dataclass(frozen=True)
class target_time_loss(_Loss):
    r"""Squared distance of first spikes from two times, of the right class and of the others.

    .. math:: \ell = \left(\frac{\min(t, t_{silent}) - \hat t}{u}\right)^2, \qquad
        \hat t = \begin{cases} t_{on} & \text{of the class of the sample} \\ t_{off} & \text{else} \end{cases}

    Args:
        on_target: when the neuron of the right class should fire, in seconds.
        off_target: when the others should.
        silent: the time that a silent neuron counts as, in seconds.
        unit: :math:`u`, in seconds, as the time constant of the membrane.
        reduction: over ``B`` and ``N``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B, N]``).

    Called with :class:`Trains` or times ``[B, N]`` or ``[B, N, K]``, and labels ``[B]``.

    Raises:
        ArgumentError: for numbers that are no times, another reduction, what are no spikes, or labels outside.
        ShapeError: for labels of another shape.

    Compared with
        :class:`snnax.functional.mse_temporal_loss` (snnTorch's) counts in time steps.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> loss = event.target_time_loss(on_target=9e-3, off_target=11e-3, silent=30e-3, unit=10e-3)
        >>> print(f"{loss(jnp.array([[9e-3, 16e-3]]), jnp.array([0])):.3f}")  # (0 + 0.5**2) / 2
        0.125
    """

    on_target: float
    off_target: float
    silent: float
    unit: float = 1.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Check the fields."""
        self._check(on_target=_moment, off_target=_moment, silent=seconds, unit=seconds)

    def __call__(self, spikes: Any, targets: Any) -> jax.Array:
        """The loss of spikes with these labels."""
        times = first_times(spikes, self._what("spikes"))
        labels = arrays.class_labels("target_time_loss", targets, times.shape[:1], times.shape[1])
        goal = arrays.on_off(labels, times.shape[1], self.on_target, self.off_target, times.dtype)
        return self._reduced(((_capped(times, self.silent) - goal) / self.unit) ** 2)


@dataclass(frozen=True)
class ttfs_loss(_Loss):
    r"""Cross entropy of the times to the first spike: the neuron of the right class should fire before the others.

    .. math:: \ell = -\log \frac{e^{-t_y / u}}{\sum_n e^{-t_n / u}} + \alpha \left(e^{t_y / u_{early}} - 1\right)

    Args:
        unit: :math:`u`, in seconds: by how much the right class should be earlier. A fifth of the time constant of the
            synapse has done well.
        silent: the time that a silent neuron counts as, in seconds.
        early: :math:`\alpha`, how much an early answer is worth; 0 for nothing.
        early_unit: :math:`u_{early}`, in seconds; ``None``: ``silent``.
        reduction: over ``B``: ``"mean"``, ``"sum"`` or ``"none"``.

    Called with :class:`Trains` or times ``[B, N]`` or ``[B, N, K]``, and labels ``[B]``.

    Raises:
        ArgumentError: for numbers that are no times, another reduction, what are no spikes, or labels outside.
        ShapeError: for labels of another shape.

    Compared with
        :class:`snnax.functional.ce_temporal_loss` (snnTorch's) counts in time steps; jaxsnn's ``ttfs_loss`` is this
        without the second term.

    Source: J. Goeltz et al., "Fast and energy-efficient neuromorphic deep learning with first-spike times", Nature
    Machine Intelligence 3 (2021).

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> loss = event.ttfs_loss(unit=1e-3, silent=30e-3)
        >>> print(f"{loss(jnp.array([[9e-3, 11e-3]]), jnp.array([0])):.3f}")
        0.127
    """

    unit: float
    silent: float
    early: float = 0.0
    early_unit: float | None = None
    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Check the fields."""
        self._check(unit=seconds, silent=seconds, early=checks.number(0.0), early_unit=checks.maybe(seconds))

    def __call__(self, spikes: Any, targets: Any) -> jax.Array:
        """The loss of spikes with these labels."""
        times = _capped(first_times(spikes, self._what("spikes")), self.silent)
        labels = arrays.class_labels("ttfs_loss", targets, times.shape[:1], times.shape[1])
        losses = arrays.cross_entropy(-times / self.unit, labels)
        if self.early:
            right = jnp.take_along_axis(times, labels[:, None], 1, mode="fill")[:, 0]
            losses = losses + self.early * jnp.expm1(right / (self.early_unit or self.silent))
        return self._reduced(losses)


@dataclass(frozen=True)
class max_over_time_loss(_Loss):
    r"""Cross entropy of the largest voltages: that of the right class should be above the others.

    .. math:: \ell = -\log \frac{e^{V_y}}{\sum_n e^{V_n}}, \qquad V_n = \max_t V_n(t)

    Args:
        reduction: over ``B``: ``"mean"``, ``"sum"`` or ``"none"``.

    Called with the maxima ``[B, N]`` that :class:`~snnax.event.LI` returns, or a trace ``[T, B, N]``, and labels
    ``[B]``.

    Raises:
        ArgumentError: for another reduction, what is no array of real numbers, or labels outside.
        ShapeError: for voltages of another rank, or labels of another shape.

    Compared with
        jaxsnn's ``nll_loss`` takes the maximum over a grid of times.

    Example:
        >>> from snnax import event
        >>> print(f"{event.max_over_time_loss()([[2.0, 0.0]], [0]):.3f}")
        0.127
    """

    reduction: str = "mean"

    def __post_init__(self) -> None:
        """Check the fields."""
        self._check()

    def __call__(self, voltages: Any, targets: Any) -> jax.Array:
        """The loss of voltages with these labels."""
        peaks = largest(voltages, self._what("voltages"))
        labels = arrays.class_labels("max_over_time_loss", targets, peaks.shape[:1], peaks.shape[1])
        return self._reduced(arrays.cross_entropy(peaks, labels))


def _capped(times: jax.Array, silent: float) -> jax.Array:
    """Times up to that of the silent; without a gradient for those."""
    return jnp.where(times < silent, times, silent)


def _padded(times: jax.Array, like: jax.Array) -> jax.Array:
    """The first spikes, as many as there are targets."""
    if times.ndim != 3:
        return times
    ordered, wanted = jnp.sort(times, -1), like.shape[-1]
    missing = ((0, 0), (0, 0), (0, max(0, wanted - times.shape[-1])))
    return jnp.pad(ordered, missing, constant_values=jnp.inf)[..., :wanted]
