"""Networks of one hidden layer that classify: by the first spike, or by the voltage, event by event or in steps."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from snnax import surrogate
from snnax.event.decoding import first_spike_class, max_voltage_class
from snnax.event.layers import LI, LIF, Sequential, firing_normal
from snnax.event.losses import max_over_time_loss, target_time_loss, ttfs_loss
from snnax.event.neuron import LIFParameters, LIParameters
from snnax.event.spike_trains import trains
from snnax.event.tasks.learning import Learner, Outcome
from snnax.network import Sequential as DenseSequential
from snnax.network import unroll
from snnax.neurons import CubaLI, CubaLIF

__all__ = [
    "ONCE", "dense", "event_driven", "first_spike_loss", "init_of", "integrated", "jittery", "sure_first_spike_loss",
    "two_layers",
]  # fmt: skip

ONCE = LIFParameters(refractory=math.inf)
"""Neurons that fire once at most."""

SURELY = LIFParameters(refractory=math.inf, v_leak=3.0, v_initial=-2.0)
"""Neurons that fire once, and surely: the leak alone makes them, at ``tau_mem ln(5 / 2)``, and inputs move that.

A spike that is not there has no gradient, and one that appears changes what follows at once. Of neurons that fire on
their own the loss has far fewer such steps; only strong inhibition keeps one silent, to the end of the simulation.
"""

AGAIN = LIFParameters()
"""Neurons that fire as often as they are driven to."""

EARLY, LATE = 4.5e-3, 5.5e-3
"""When the output of the right class is to fire, and when the others are, in seconds."""

# By how much the right class is to be first where spikes have noise, in seconds; and how much their places count.
_APART, _PLACED = 0.2e-3, 100.0

# Of the weights before learning. Hidden neurons: each is to fire about once, at different times. The outputs add up so
# many spikes that only the first few count: a large mean makes them fire when these have come, before the inputs end.
_HIDDEN = {"gain": 1.9, "spread": 0.45}
# That is a matter of one weight, whatever the number of hidden neurons: these are the numbers for 120. Fewer than 30
# need more of each, as all of them together have to make an output fire.
_OUTPUT = {"gain": 15.0, "spread": 2.2}

# Voltages of integrators are about 1, and a cross entropy is to see more than that.
_CONTRAST = 5.0

# In time steps a neuron that fires several times says more: strong inputs. The voltages then are larger, too.
_DENSE = {"gain": 5.0, "spread": 1.5}
_DENSE_CONTRAST = 2.0


def first_spike_loss(t_max: float) -> target_time_loss:
    """The right class is to fire a fifth of ``tau_syn`` before the others; a silent neuron fires at the end."""
    return target_time_loss(on_target=EARLY, off_target=LATE, silent=t_max, unit=ONCE.tau_mem)


def sure_first_spike_loss(t_max: float, factor: float = 1.0) -> Any:
    """As :func:`first_spike_loss`, and that the right class is first in spite of noise: a cross entropy sees to it.

    Alone that would push the spikes of sure samples apart for ever, until outputs are silent.

    Args:
        t_max: when the simulation ends, in seconds of the network.
        factor: how long one of our seconds is for the network.
    """
    unit = factor * ONCE.tau_mem
    placed = target_time_loss(on_target=factor * EARLY, off_target=factor * LATE, silent=t_max, unit=unit)
    apart = ttfs_loss(unit=factor * _APART, silent=t_max)
    return lambda spikes, labels: apart(spikes, labels) + _PLACED * placed(spikes, labels)


def two_layers(
    hidden: int, classes: int, t_max: float, *, max_spikes: int = 1, recurrent: bool = False
) -> Sequential:
    """A hidden layer, and outputs of which the first spike counts.

    Args:
        hidden: number of hidden neurons.
        classes: number of outputs.
        t_max: when the simulation ends, in seconds.
        max_spikes: of a hidden neuron. 1: it fires once at most.
        recurrent: whether the hidden neurons project to each other.
    """
    neurons = ONCE if max_spikes == 1 else AGAIN
    counted = max(hidden, 30) / 120
    gain, spread = _OUTPUT["gain"] * counted, _OUTPUT["spread"] * math.sqrt(counted)
    return Sequential(
        [
            LIF(
                hidden,
                t_max,
                neurons,
                max_spikes=max_spikes,
                recurrent=recurrent,
                weight_init=firing_normal(neurons, **_HIDDEN),
            ),
            LIF(classes, t_max, ONCE, weight_init=firing_normal(ONCE, gain=gain, spread=spread)),
        ]
    )


def event_driven(net: Sequential, loss: Any) -> Learner:
    """A network of event-driven layers whose outputs' first spikes have a loss."""

    def outcome(params: Any, times: Any, labels: Any) -> Outcome:
        spikes = net.apply({"params": params}, times)
        return Outcome(loss(spikes, labels), first_spike_class(spikes), jnp.any(spikes.overflow, 1))

    return Learner(init_of(net), outcome)


def jittery(net: Sequential, loss: Any, jitter: float) -> Learner:
    """As :func:`event_driven`, and each spike of neurons that fire once is seen with noise.

    The noise is drawn from a key that the batch makes: other batches, other noise.

    Args:
        net: layers of spiking neurons.
        loss: of the spikes of the last, as they are seen.
        jitter: standard deviation, in seconds.
    """

    def outcome(params: Any, times: Any, labels: Any) -> Outcome:
        seed = jax.lax.bitcast_convert_type(jnp.sum(times, dtype=jnp.float32), jnp.int32)
        spikes: Any = trains(times)
        for number, key in enumerate(jax.random.split(jax.random.key(seed), len(net.layers))):
            spikes = net.layers[number].apply({"params": params[f"layers_{number}"]}, spikes)
            noise = jitter * jax.random.normal(key, spikes.times.shape, spikes.times.dtype)
            spikes = spikes._replace(times=jnp.maximum(spikes.times + noise, 0))
        return Outcome(loss(spikes, labels), first_spike_class(spikes), jnp.any(spikes.overflow, 1))

    return Learner(init_of(net), outcome)


def integrated(hidden: int, classes: int, t_max: float) -> Learner:
    """Hidden neurons that surely fire, once, and integrators: the largest voltage over time counts.

    Args:
        hidden: number of hidden neurons.
        classes: number of integrators.
        t_max: when the simulation ends, in seconds.
    """
    net = Sequential(
        [
            LIF(hidden, t_max, SURELY, weight_init=firing_normal(SURELY, gain=0.0)),
            LI(classes, t_max, weight_init=firing_normal(LIParameters(), gain=0.0)),
        ]
    )

    def outcome(params: Any, times: Any, labels: Any) -> Outcome:
        voltages = _CONTRAST * net.apply({"params": params}, times)
        missing = jnp.zeros(labels.shape, bool)
        return Outcome(max_over_time_loss()(voltages, labels), max_voltage_class(voltages), missing)

    return Learner(init_of(net), outcome)


def init_of(net: Any) -> Any:
    """A function that draws the weights of an event-driven network."""
    return lambda key, times: net.init(key, times)["params"]


def dense(hidden: int, classes: int, t_max: float, dt: float) -> Learner:
    """The same neurons in time steps, learned with a surrogate gradient: the largest voltage of integrators counts.

    An input is shared by the two steps beside it, the more the nearer: who knows only the step of an input knows a
    point to ``dt`` only, and of that no network can make more than 97 % of Yin-Yang with steps of 0.5 ms.

    Args:
        hidden: number of hidden neurons.
        classes: number of integrators.
        t_max: when the simulation ends, in seconds.
        dt: length of a step, in seconds.
    """
    steps = round(t_max / dt)
    options: dict[str, Any] = {
        "tau_syn": ONCE.tau_syn,
        "tau_mem": ONCE.tau_mem,
        "dt": dt,
        "discretization": "exact",
        "w_in_scaling": "impulse",
        "init_hidden": True,
    }
    net = DenseSequential(
        [
            nn.Dense(hidden, use_bias=False, kernel_init=firing_normal(ONCE, **_DENSE)),
            CubaLIF(**options, spike_grad=surrogate.fast_sigmoid(slope=25.0)),
            nn.Dense(classes, use_bias=False, kernel_init=firing_normal(ONCE, gain=0.0)),
            CubaLI(**options),
        ]
    )

    def init(key: Any, times: Any) -> Any:
        return net.init(key, jnp.zeros(times.shape))["params"]

    def outcome(params: Any, times: Any, labels: Any) -> Outcome:
        voltages, _ = unroll(net, {"params": params}, _shared(times, dt, steps))
        found = _DENSE_CONTRAST * (voltages[0] if isinstance(voltages, tuple) else voltages)
        missing = jnp.zeros(labels.shape, bool)
        return Outcome(max_over_time_loss()(found, labels), max_voltage_class(found), missing)

    return Learner(init, outcome)


def _shared(times: Any, dt: float, steps: int) -> Any:
    """Inputs ``[B, N]`` that fire once, as what each gives to each step, ``[T, B, N]``: all of it is 1."""
    grid = jnp.arange(steps, dtype=times.dtype)[:, None, None]
    return jnp.maximum(1 - jnp.abs(times[None] / dt - grid), 0)
