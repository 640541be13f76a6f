"""``LI``: leaky integrators with their weights, which read spikes out as voltages."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.event.arguments import seconds
from snnax.event.delays import delayed
from snnax.event.layers.base import (
    AxonDelay,
    EventModule,
    Initializer,
    axon_delay,
    fixed_seconds,
    initializer,
    spike_trains,
)
from snnax.event.layers.initial import firing_normal
from snnax.event.neuron import LIParameters
from snnax.event.readout import li_max_voltage, li_voltage

__all__ = ["LI"]


class LI(EventModule):
    r"""Leaky integrators in continuous time, with their input weights: spike trains in, voltages out.

    .. math:: V_m(t) = v_{leak} + \sum_{n, t_{nk} < t} w_{nm}\, \kappa(t - t_{nk})

    Args:
        features: number of integrators ``M``.
        t_max: when the simulation ends, in seconds.
        parameters: of the integrators.
        times: when the voltage is read: ``None`` for its maximum over time, a whole number ``T`` for a trace of so many
            equal steps up to ``t_max``, or the times themselves, in seconds.
        delay: of the input axons, as of :class:`LIF`.
        weight_init: of the weights ``[N, M]``; ``None``: :class:`firing_normal` with ``gain=0``: of either sign, and
            a maximum of about 1.

    Parameters: ``weights``, and ``delay`` if it is learned.

    Returns:
        The maximum of the voltage ``[B, M]``, exact, at whatever time it is; or the voltages ``[T, B, M]`` at times.
        If an input overflowed, they may lack spikes: ``apply(..., mutable=["overflow"])`` tells in which samples.

    Raises:
        ArgumentError: for arguments that cannot be, or times before 0.
        ShapeError: for inputs that are not ``[B, N, K]``, or that variables were not made for.

    Compared with
        jaxsnn's ``LeakyIntegrator`` steps over a time grid, and takes its maximum over the points; here both are exact.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> net = event.Sequential([event.LIF(20, t_max=0.05), event.LI(3, t_max=0.05)])
        >>> voltages, variables = net.init_with_output(jax.random.key(0), jnp.full((8, 4), 1e-3))
        >>> voltages.shape
        (8, 3)
    """

    features: int
    t_max: float
    parameters: LIParameters = LIParameters()
    times: Any = None
    delay: AxonDelay = None
    weight_init: Initializer | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(
            self,
            features=checks.count(),
            t_max=seconds,
            parameters=checks.instance(LIParameters, "snnax.event.LIParameters()"),
            times=_points,
            delay=axon_delay,
            weight_init=checks.maybe(initializer),
        )
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Any) -> jax.Array:
        """The voltages."""
        arriving = spike_trains(inputs, f"{self._label()}(inputs=...)")
        number = arriving.times.shape[1]
        draw = self.weight_init or firing_normal(self.parameters, gain=0.0)
        weights = self.param("weights", draw, (number, self.features), jnp.result_type(float))
        self._report("overflow", "inputs", jnp.any(arriving.overflow, 1))
        heard = delayed(arriving, self._delays("delay", self.delay, number))
        if self.times is None:
            return li_max_voltage(heard, weights, self.parameters, t_max=self.t_max)
        return li_voltage(heard, weights, self.parameters, self._grid())

    def _grid(self) -> np.ndarray:
        if isinstance(self.times, int):
            return np.arange(1, self.times + 1) * (self.t_max / self.times)
        return np.asarray(self.times)


def _points(value: Any, what: str) -> Any:
    """None, a number of steps, or times, as a tuple."""
    expected = "None, a whole number of steps, or times in seconds from 0, as [0.01, 0.02]"
    if value is None or (number := checks.whole(value)) is not None:
        return value if value is None else number
    found = fixed_seconds(value, what, expected)
    if found.ndim != 1:
        raise checks.refuse(what, value, expected)
    return tuple(found.tolist())
