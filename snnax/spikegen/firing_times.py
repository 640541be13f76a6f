"""When a neuron fires that is charged by the data: the earlier, the larger they are."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics.arithmetic import pinned
from snnax.errors import ArgumentError, ShapeError
from snnax.spikegen.arguments import breaks, extremes, floating, number, precise, whole


@dataclasses.dataclass(frozen=True)
class Timing:
    """Checked arguments of a latency code; a value of 0 for ``steps`` means that there are none."""

    function: str
    steps: int
    threshold: float
    tau: float
    first: int
    normalize: bool
    linear: bool
    epsilon: float

    @classmethod
    def read(
        cls,
        function: str,
        num_steps: int,
        threshold: float,
        tau: float,
        first_spike_time: int,
        normalize: bool,
        linear: bool = False,
        epsilon: float = 1e-7,
    ) -> Timing:
        """Arguments of ``function``, as :func:`latency_code_log` describes them, or the error they deserve."""
        steps = whole(num_steps, function, "num_steps")
        first = whole(first_spike_time, function, "first_spike_time")
        threshold, tau = number(threshold, function, "threshold"), number(tau, function, "tau")
        if not 0 < threshold < 1:
            raise ArgumentError(
                f"spikegen.{function}(threshold={threshold}); expected a number between 0 and 1."
            )
        if tau <= 0:
            raise ArgumentError(f"spikegen.{function}(tau={tau}); expected a number > 0.")
        if steps and first >= steps:
            raise ArgumentError(
                f"spikegen.{function}(first_spike_time={first}, num_steps={steps}); expected 0 to {steps - 1}."
            )
        if normalize and not steps:
            raise ArgumentError(
                f"spikegen.{function}(normalize=True) got no num_steps to scale to. Pass "
                f"spikegen.{function}(data, num_steps=25, normalize=True)."
            )
        epsilon = number(epsilon, function, "epsilon")
        return cls(function, steps, threshold, tau, first, bool(normalize), bool(linear), epsilon)

    def below(self, data: jax.Array) -> jax.Array:
        """Where the data do not reach the threshold."""
        x = precise(data)
        return x < jnp.asarray(self.threshold, x.dtype)

    def times(self, data: jax.Array) -> jax.Array:
        """Firing times of the data, at least float32."""
        x = precise(data)
        if not x.size:
            raise ShapeError(
                f"spikegen.{self.function} got data of shape {x.shape}; expected at least one value."
            )
        if breaks(x, lambda v: (v >= 0) & (v <= 1) if self.first else ~jnp.isnan(v)):
            low, high = extremes(x)
            expected = "0 to 1, as first_spike_time is not 0" if self.first else "no NaN"
            raise ArgumentError(
                f"spikegen.{self.function} got data from {low} to {high}; expected {expected}. "
                "Clean or scale the data first, as with jnp.clip(data, 0, 1)."
            )
        return self._linear(pinned(x)) if self.linear else self._log(pinned(x))

    def _linear(self, x: jax.Array) -> jax.Array:
        tau = self.steps - 1.0 - self.first if self.normalize else self.tau
        times = jnp.minimum(-tau * (x - 1), -tau * (self.threshold - 1)) + self.first
        if self.normalize:
            low = times.min()
            span = times.max() - low
            rescaled = (times - low) * (1 / jnp.where(span > 0, span, 1)) * (self.steps - 1)
            times = jnp.where(low < 0, rescaled, times)
        return times

    def _log(self, x: jax.Array) -> jax.Array:
        least = np.asarray(self.threshold + self.epsilon, x.dtype)
        above = np.nextafter(np.asarray(self.threshold, x.dtype), np.asarray(np.inf, x.dtype))
        charge = jnp.maximum(x, np.maximum(least, above))
        times = self.tau * jnp.log(charge / (charge - self.threshold))
        if self.first:
            times = pinned(times + self.first)
        if self.normalize:
            since = times - self.first
            last = since.max()
            scaled = pinned(since * (self.steps - self.first - 1)) / jnp.where(last > 0, last, 1)
            times = scaled + self.first
        return times


@checks.takes()
def latency_code(
    data: ArrayLike,
    num_steps: int = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: bool = False,
    linear: bool = False,
    epsilon: float = 1e-7,
) -> tuple[jax.Array, jax.Array]:
    r"""Firing times of the data, and which of them never reach the threshold.

    Args:
        data: :math:`x`, of any shape.
        num_steps: ``T``; required by ``normalize``.
        threshold: :math:`\theta`, between 0 and 1. Data below it fire as late as the threshold itself.
        tau: :math:`\tau`, the time constant, steps.
        first_spike_time: :math:`t_0`, the time of the earliest possible spike, steps.
        normalize: scale the times so that the last is step ``T - 1``.
        linear: :func:`latency_code_linear` instead of :func:`latency_code_log`.
        epsilon: how far above the threshold the data are kept, as the logarithm needs.

    Returns:
        Times in steps, not rounded, in the shape of the data, at least float32; and booleans, true where
        :math:`x < \theta`.

    Raises:
        ArgumentError: as :func:`latency_code_linear` and :func:`latency_code_log`.
        ShapeError: there are no data.

    Example:
        >>> times, below = latency_code([0.005, 0.5, 1.0], num_steps=5, normalize=True, linear=True)
        >>> [round(float(t), 2) for t in times], below.tolist()
        ([3.96, 2.0, 0.0], [True, False, False])

    Compared with snnTorch: as the two functions.
    """
    timing = Timing.read(
        "latency_code", num_steps, threshold, tau, first_spike_time, normalize, linear, epsilon
    )
    x = floating(data, "latency_code(data)")
    return timing.times(x), timing.below(x)


@checks.takes()
def latency_code_linear(
    data: ArrayLike,
    num_steps: int = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: bool = False,
) -> jax.Array:
    r"""Firing times that fall linearly with the data.

    .. math:: t = \tau \min(1 - x, 1 - \theta) + t_0

    With ``normalize``, :math:`\tau = T - 1 - t_0`, and ``tau`` has no effect; should data above 1 make times
    negative, all are shifted and scaled to ``0 ... T - 1``.

    Args:
        data: :math:`x`, of any shape.
        num_steps: ``T``; required by ``normalize``.
        threshold: :math:`\theta`, between 0 and 1. Data below it fire as late as the threshold itself.
        tau: :math:`\tau`, the time from the first spike to the last, steps.
        first_spike_time: :math:`t_0`, the time of the earliest possible spike, steps.
        normalize: scale the times to ``num_steps``.

    Returns:
        Times in steps, not rounded, in the shape of the data, at least float32.

    Raises:
        ArgumentError: a threshold not between 0 and 1, ``tau`` not positive, ``first_spike_time`` not in
            ``0 ... num_steps - 1``, or not 0 for data outside [0, 1]; NaN; no ``num_steps`` to normalize to.
        ShapeError: there are no data.

    Example:
        >>> [round(float(t), 2) for t in latency_code_linear([0.02, 0.5, 1.0], num_steps=5, normalize=True)]
        [3.92, 2.0, 0.0]

    Compared with snnTorch: equal. With ``first_spike_time`` snnTorch means to refuse data outside [0, 1] and
    does so only if some are below 0 and some above 1; here either is refused. Traced data are not checked.
    """
    timing = Timing.read(
        "latency_code_linear", num_steps, threshold, tau, first_spike_time, normalize, linear=True
    )
    return timing.times(floating(data, "latency_code_linear(data)"))


@checks.takes()
def latency_code_log(
    data: ArrayLike,
    num_steps: int = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: bool = False,
    epsilon: float = 1e-7,
) -> jax.Array:
    r"""Firing times of a leaky integrator that the data charge.

    .. math:: t = \tau \ln \frac{c}{c - \theta} + t_0, \qquad c = \max(x, \theta + \epsilon)

    This is when :math:`\tau \dot u = -u + x`, from :math:`u = 0`, reaches :math:`\theta`. With ``normalize``,
    :math:`t - t_0` is scaled so that the last spike of the whole array is at ``T - 1``.

    Args:
        data: :math:`x`, of any shape.
        num_steps: ``T``; required by ``normalize``.
        threshold: :math:`\theta`, between 0 and 1. Data below it fire as late as :math:`\theta + \epsilon`.
        tau: :math:`\tau`, the time constant, steps.
        first_spike_time: :math:`t_0`, steps.
        normalize: scale the times to ``num_steps``.
        epsilon: how far above the threshold the data are kept.

    Returns:
        Times in steps, not rounded, in the shape of the data, at least float32.

    Raises:
        ArgumentError: as :func:`latency_code_linear`.
        ShapeError: there are no data.

    Example:
        >>> [round(float(t), 4) for t in latency_code_log([0.02, 0.5, 1.0], num_steps=5, normalize=True)]
        [4.0, 0.1166, 0.058]

    Compared with snnTorch: equal to the last bit of the logarithm. Where ``epsilon`` is lost in the rounding
    of the threshold, snnTorch gives infinite or NaN times; here data are kept at the next number above the
    threshold. With ``first_spike_time`` data outside [0, 1] are refused, see :func:`latency_code_linear`.
    """
    timing = Timing.read(
        "latency_code_log", num_steps, threshold, tau, first_spike_time, normalize, epsilon=epsilon
    )
    return timing.times(floating(data, "latency_code_log(data)"))
