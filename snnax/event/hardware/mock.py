"""``MockChip``: the faults of mixed-signal hardware, in software."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.event.arguments import seconds
from snnax.event.feedforward import lif_spikes
from snnax.event.hardware.chip import Chip
from snnax.event.neuron import LIFParameters
from snnax.event.spike_trains import Trains

__all__ = ["MockChip"]

_TRIM = 0.01
"""A neuron can be adjusted in such steps of its factor."""

_LEAST = 0.3
"""No factor of a neuron is smaller: a chip whose neurons differ by more is broken."""


class MockChip(Chip):
    r"""A chip of analogue neurons that are not what they should be, with weights of a few bits.

    .. math:: w' = \Delta\, \mathrm{clip}(\mathrm{round}(w / \Delta), -L, L), \quad L = 2^{bits} - 1, \quad
        \Delta = w_{max} / L

    .. math:: s = \mathrm{round}_{cycle}\left(c_m\, s_m(w' / \theta_m, t / c_m) + b + \sigma \xi\right)

    :math:`s_m` are the exact spikes of a neuron; :math:`\theta_m` the factor of its threshold and :math:`c_m` of both
    its time constants, drawn once; :math:`\xi` is normal and new at each spike. Later layers get the spikes as they are
    observed. Spikes after ``t_max`` are lost.

    Args:
        sizes: number of inputs, and of the neurons of each layer.
        parameters: what the neurons should be, with ``v_leak`` 0. ``None``: one spike at most, and microseconds, as on
            BrainScaleS-2: 10 us and 5 us.
        t_max: for how long the chip is observed, in seconds.
        max_spikes: of a neuron; it is not told that there were more.
        largest_weight: :math:`w_{max}`, one for all layers or one for each; larger weights are as large.
        bits: of a weight, beside its sign; ``None`` for exact weights.
        jitter: :math:`\sigma`, in seconds.
        bias: ``b``, in seconds.
        cycle: resolution of the times, in seconds; spikes of the same cycle are at exactly the same time. 0: none.
        threshold_spread: standard deviation of :math:`\theta_m` about 1.
        clock_spread: of :math:`c_m`.
        seed: of the neurons and of the noise.

    Raises:
        ArgumentError: for numbers that cannot be.
        ShapeError: for another number of largest weights than of layers.

    Not there: spread between the two time constants of a neuron, crosstalk, lost spikes, drift.

    Compared with
        jaxsnn 0.1.0 clips weights to 63 and adds noise and a bias to the spikes of the whole network at its end.

    Example:
        >>> import numpy as np
        >>> from snnax.event.hardware import MockChip
        >>> chip = MockChip((2, 3), largest_weight=8.0, cycle=1e-6)
        >>> (spikes,) = chip.run(np.zeros((1, 2, 1)), [np.full((2, 3), 3.0)])
        >>> (1e6 * spikes[0, :, 0]).round(3).tolist()  # microseconds
        [2.0, 2.0, 2.0]
    """

    def __init__(
        self,
        sizes: Sequence[int],
        parameters: LIFParameters | None = None,
        *,
        t_max: float = 20e-6,
        max_spikes: int = 1,
        largest_weight: float | Sequence[float] = 8.0,
        bits: int | None = 6,
        jitter: float = 1e-7,
        bias: float = 0.0,
        cycle: float = 0.0,
        threshold_spread: float = 0.0,
        clock_spread: float = 0.0,
        seed: int = 0,
    ) -> None:
        what = "MockChip({}=...)".format
        self.sizes = checks.shape(sizes, what("sizes"))
        self.parameters = _parameters(parameters)
        self.t_max = seconds(t_max, what("t_max"))
        self.max_spikes = int(checks.count()(max_spikes, what("max_spikes")))
        self.bits = checks.maybe(checks.count(1, 16))(bits, what("bits"))
        self.jitter, self.bias, self.cycle = (
            float(checks.number(0.0, called="seconds: a finite number")(value, what(name)))
            for name, value in (("jitter", jitter), ("bias", bias), ("cycle", cycle))
        )
        self.largest = _largest(largest_weight, len(self.sizes) - 1)
        spread = checks.number(0.0, 0.3)
        thresholds, clocks = (
            spread(value, what(name))
            for name, value in (("threshold_spread", threshold_spread), ("clock_spread", clock_spread))
        )
        self._random = np.random.default_rng(int(checks.count(0)(seed, what("seed"))))
        self.thresholds = [self._factors(size, float(thresholds)) for size in self.sizes[1:]]
        """Of each layer, ``[M]``: what a calibration is to find."""
        self.clocks = [self._factors(size, float(clocks)) for size in self.sizes[1:]]

    def _factors(self, size: int, spread: float) -> np.ndarray:
        return np.maximum(1 + spread * self._random.standard_normal(size), _LEAST)

    def programmed(self, index: int, weights: Any) -> Any:
        """Weights as the chip has them."""
        largest = self.largest[index]
        if self.bits is None:
            return jnp.clip(weights, -largest, largest)
        levels = 2**self.bits - 1
        return jnp.clip(jnp.round(weights * (levels / largest)), -levels, levels) * (largest / levels)

    def trimmed(self, index: int, threshold: np.ndarray, clock: np.ndarray) -> MockChip:
        """The same chip with the neurons of a layer adjusted, in steps of one per cent."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        for name, found in (("thresholds", threshold), ("clocks", clock)):
            factors = [*getattr(self, name)]
            steps = np.maximum(np.round(np.asarray(found) / _TRIM), 1) * _TRIM
            factors[index] = np.maximum(factors[index] / steps, _LEAST)
            setattr(new, name, factors)
        return new

    def layer(self, index: int, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Run one layer, with new noise."""
        key = jax.random.key(int(self._random.integers(2**31)))
        has = self.programmed(index, jnp.asarray(weights, float)) / self.thresholds[index][None]
        clocks = None if np.all(self.clocks[index] == 1) else jnp.asarray(self.clocks[index], float)
        noise = self.jitter, self.bias, self.cycle
        given = jnp.asarray(times, float), has, clocks, key
        return np.asarray(_observed(*given, self.parameters, self.t_max, self.max_spikes, noise))


@partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _observed(
    times: jax.Array,
    weights: jax.Array,
    clocks: jax.Array | None,
    key: Any,
    parameters: LIFParameters,
    t_max: float,
    max_spikes: int,
    noise: tuple[float, float, float],
) -> jax.Array:
    """One program for all chips of a kind."""
    jitter, bias, cycle = noise
    exact = _exact(times, weights, clocks, parameters, t_max, max_spikes)
    noisy = exact + bias + jitter * jax.random.normal(key, exact.shape, exact.dtype)
    if cycle:
        noisy = jnp.round(noisy / cycle) * cycle
    seen = jnp.maximum(noisy, 0)
    return jnp.sort(jnp.where(seen <= t_max, seen, jnp.inf), -1)


def _exact(
    times: jax.Array,
    weights: jax.Array,
    clocks: jax.Array | None,
    parameters: LIFParameters,
    t_max: float,
    max_spikes: int,
) -> jax.Array:
    """Spikes ``[B, M, K]`` of neurons of which each has its own time."""
    run = partial(lif_spikes, parameters=parameters, max_spikes=max_spikes)
    none = jnp.zeros(times.shape[:2], bool)
    if clocks is None:
        return run(Trains(times, none), weights, t_max=t_max).times

    def neuron(weights: jax.Array, clock: jax.Array) -> jax.Array:
        # In the time of the neuron all is as it should be, and the observation is no longer than this.
        found = run(Trains(times / clock, none), weights[:, None], t_max=t_max / _LEAST)
        return found.times[:, 0] * clock

    return jnp.moveaxis(jax.vmap(neuron, in_axes=(1, 0))(weights, clocks), 0, 1)


def _parameters(given: Any) -> LIFParameters:
    if given is None:
        return LIFParameters(tau_mem=10e-6, tau_syn=5e-6, refractory=math.inf)
    what = "MockChip(parameters=...)"
    found: LIFParameters = checks.instance(LIFParameters, "snnax.event.LIFParameters()")(given, what)
    if found.v_leak or found.u_initial or found.pause:
        raise ArgumentError(
            f"{what}: expected v_leak, v_initial and refractory of 0 (or refractory=math.inf), got {found}."
        )
    return found


def _largest(value: Any, layers: int) -> tuple[float, ...]:
    what = "MockChip(largest_weight=...)"
    each = value if isinstance(value, list | tuple) else [value] * layers
    if len(each) != layers:
        raise ShapeError(
            f"{what} of {len(each)} layers: expected one number, or one for each of the {layers}."
        )
    return tuple(float(checks.number(above=0.0)(one, what)) for one in each)
