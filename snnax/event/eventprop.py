r"""Gradients of spike times with respect to weights and input times: EventProp, in closed form.

Between its own spikes a neuron is linear, so that the adjoint equations of EventProp need no integration backward in
time. Let :math:`s_k` be the spikes of a neuron, :math:`r_k = s_k +` refractory time their releases, and
:math:`F_k = u(s_k) - u_{th} = 0` what defines them. In the segment from :math:`r_{k-1}` to :math:`s_k` the voltage
starts at :math:`u_{reset}` and is driven by the current at its start and by the inputs in it:

.. math:: u(s_k) = e^{-(s_k - r_{k-1})/\tau_m} u_{reset} + \kappa(s_k - r_{k-1})\, I(r_{k-1})
    + \sum_{r_{k-1} < t_i < s_k} w_i\, \kappa(s_k - t_i)

With the cotangents :math:`\bar s_k` of a loss, backward over the spikes,

.. math::
    g_k &= \bar s_k - \mu_{k+1}\, e^{-(s_{k+1} - r_k)/\tau_m}\, (I(r_k) - u_{reset}) / \tau_m \\
    \mu_k &= -g_k / \dot u(s_k), \qquad \dot u(s_k) = (I(s_k) - u_{th}) / \tau_m \\
    \Lambda_k &= e^{-(r_k - s_k)/\tau_s} \left[\mu_{k+1}\, \kappa(s_{k+1} - r_k)
        + e^{-(s_{k+1} - r_k)/\tau_s} \Lambda_{k+1}\right]

where :math:`\mu_k` is what the loss gains by a voltage at :math:`s_k`, and :math:`\Lambda_k` by a current there that is
felt after the reset. An input at :math:`t` before the spike :math:`s_k` (and after the one before) is felt from
:math:`\tau = \max(t, r_{k-1})` on:

.. math::
    \frac{dL}{dw} = e^{-(\tau - t)/\tau_s} \left[\mu_k\, \kappa(s_k - \tau) + e^{-(s_k - \tau)/\tau_s} \Lambda_k\right],
    \qquad \frac{dL}{dt} = w \frac{\partial}{\partial t} \frac{dL}{dw}

These are the jumps of EventProp, :math:`\mu` and :math:`\Lambda` its adjoint voltage and current (with the signs of
the two turned), for any leak, reset voltage, refractory time and number of spikes. Spike times are all that it takes;
the currents at them follow, and save time where they are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax.event.closed_form import decay, response_slope
from snnax.event.crossing import rise_at_threshold
from snnax.event.neuron import LIFParameters, Membrane

__all__ = ["current_at", "pullback"]


class _Segments(NamedTuple):
    """What an input that comes before a spike is worth, ``[K, M, B]``."""

    spike: jax.Array
    """s_k; minus infinity for none."""
    release: jax.Array
    """r_{k-1}: from when on the voltage moves."""
    voltage: jax.Array
    """mu_k."""
    current: jax.Array
    """Lambda_k."""


def pullback(
    times: jax.Array,
    weights: jax.Array,
    spikes: jax.Array,
    cotangents: jax.Array,
    parameters: LIFParameters,
    t_max: float,
    currents: jax.Array | None = None,
    slowest: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """The cotangents of input times and weights from those of spike times.

    One input after the other: what is in memory at once are numbers of all neurons and samples, and of the latter the
    last axis here, which is the one that processors go along.

    Args:
        times: of the inputs, ``[B, N, K_in]``, ``inf`` for none.
        weights: ``[N, M]``.
        spikes: ``[B, M, K]``, ascending, ``inf`` for none. They may come from elsewhere, as from hardware: the
            gradients are those of neurons that fired at these times.
        cotangents: of ``spikes``; those of no spike are not read.
        parameters: of the neurons.
        t_max: no spike is later.
        currents: of the neurons at ``spikes``, where they are known.
        slowest: a voltage that rises by less in ``tau_mem`` at a spike counts as one that rises by so much.

    Returns:
        Cotangents of ``times`` and ``weights``.
    """
    kept: tuple[jax.Array, ...] = (spikes, cotangents) if currents is None else (spikes, cotangents, currents)
    if parameters.fires_once:
        kept = tuple(array[..., :1] for array in kept)
    samples, neurons, per_neuron = times.shape
    inputs = times.reshape(samples, neurons * per_neuron).T
    rows = jnp.repeat(weights, per_neuron, 0)
    centre = t_max / 2 if _separable(t_max, parameters, times.dtype) else None
    segments = _segments(inputs, rows, tuple(array.T for array in kept), parameters, centre, slowest)
    worth = _worth(segments, parameters) if centre is None else _separate_worth(segments, parameters, centre)
    every = jnp.ones(samples, rows.dtype)

    def one(_: None, given: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
        time, row = given
        by_weight, by_time = worth(time[None])
        # As products of matrices: XLA's sums over an axis of a result that it has not stored are slow on CPUs.
        return None, (by_weight @ every, row @ by_time)

    _, (by_row, by_time) = jax.lax.scan(one, None, (inputs, rows))
    return by_time.T.reshape(times.shape), by_row.reshape(neurons, per_neuron, -1).sum(1)


def _separable(t_max: float, parameters: LIFParameters, dtype: Any) -> bool:
    """Whether ``exp(-(s - t) / tau)`` may be taken apart, into ``exp(-(s - c) / tau) exp((t - c) / tau)``.

    Then there is no exponential for a pair of an input and a neuron. It needs a simulation so short that no factor
    overflows, time constants so different that the difference of their exponentials keeps its digits, and no pause,
    in which an input has its effect later.
    """
    longest = t_max / min(parameters.tau_mem, parameters.tau_syn)
    room = 0.7 * math.log(float(jnp.finfo(dtype).max))
    return longest < room and abs(_gain(parameters)) < 10 and not parameters.pause


def _gain(parameters: Membrane) -> float:
    """The factor of kappa in front of its difference of exponentials."""
    difference = parameters.tau_mem - parameters.tau_syn
    return parameters.tau_syn / difference if difference else math.inf


def current_at(
    inputs: jax.Array, rows: jax.Array, points: jax.Array, parameters: Membrane, centre: float | None = None
) -> jax.Array:
    """The current just before given times.

    Args:
        inputs: times of the inputs, ``[E, B]``.
        rows: the weights of each, ``[E, M]``.
        points: ``[K, M, B]``, finite.
        parameters: of the neurons.
        centre: about which exponentials are taken apart; ``None`` if they are not.

    Returns:
        ``[K, M, B]``.
    """
    tau_syn = parameters.tau_syn

    def more(sums: jax.Array, given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        time, row = given
        before = time < points
        if centre is None:
            left = jnp.exp(-jnp.where(before, points - time, 0) / tau_syn)
        else:
            left = jnp.exp((jnp.minimum(time, 2 * centre) - centre) / tau_syn)
        return sums + jnp.where(before, left * row[None, :, None], 0), None

    sums, _ = jax.lax.scan(more, jnp.zeros(points.shape, rows.dtype), (inputs[:, None, None], rows))
    return sums if centre is None else sums * jnp.exp(-(points - centre) / tau_syn)


def _segments(
    inputs: jax.Array,
    rows: jax.Array,
    kept: tuple[jax.Array, ...],
    parameters: LIFParameters,
    centre: float | None,
    slowest: float,
) -> _Segments:
    """The recursion backward over the spikes of each neuron."""
    tau_mem, tau_syn = parameters.tau_mem, parameters.tau_syn
    spikes, cotangents, *known = kept
    fired = spikes < jnp.inf
    spike = jnp.where(fired, spikes, 0)
    release = jnp.concatenate([jnp.zeros_like(spike[:1]), spike[:-1] + parameters.pause])
    current = known[0] if known else current_at(inputs, rows, spike, parameters, centre)
    rise = rise_at_threshold(current, parameters, slowest)
    restart = current_at(inputs, rows, spike + parameters.pause, parameters) if parameters.pause else current
    factors = decay(jnp.where(fired, spike - release, 0), parameters)

    def earlier(after: tuple[jax.Array, jax.Array], spike: tuple[Any, ...]) -> Any:
        # What the segment after has to say: to the time of the spike before it, and to the current at its start.
        by_release, by_current = after
        fired, cotangent, rise, restart, factors = spike
        gain = cotangent - by_release * (restart - parameters.u_reset) / tau_mem
        voltage = jnp.where(fired, -gain / rise, 0)
        feedback = by_current * math.exp(-parameters.pause / tau_syn)
        before = factors.mem * voltage, factors.response * voltage + factors.syn * feedback
        return before, (voltage, feedback)

    zero = jnp.zeros_like(spike[0])
    arrays = (fired, cotangents, rise, restart, factors)
    _, (mus, lams) = jax.lax.scan(earlier, (zero, zero), arrays, reverse=True, unroll=_unrolled(spikes))
    return _Segments(jnp.where(fired, spike, -jnp.inf), release, mus, lams)


_Worth = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
"""Times ``[1, B]`` of an input to two ``[M, B]``: the derivative in its weight, and of that in its time."""


def _worth(segments: _Segments, parameters: LIFParameters) -> _Worth:
    """What an input is worth, with exponentials of the time to the spike that feels it."""

    def worth(time: jax.Array) -> tuple[jax.Array, jax.Array]:
        felt, chosen = _chosen(time, segments.spike, tuple(segments))
        spike, release, voltage, current = chosen
        start = jnp.maximum(time, release) if parameters.pause else time
        factors = decay(jnp.where(felt, spike - start, 0), parameters)
        feedback = factors.syn * current
        by_weight = factors.response * voltage + feedback
        by_time = feedback / parameters.tau_syn - response_slope(factors, parameters) * voltage
        if parameters.pause:
            held = jnp.where(felt, start - time, 0)
            by_weight = jnp.exp(-held / parameters.tau_syn) * by_weight
            by_time = jnp.where(held > 0, by_weight / parameters.tau_syn, by_time)
        return jnp.where(felt, by_weight, 0), jnp.where(felt, by_time, 0)

    return worth


def _separate_worth(segments: _Segments, parameters: LIFParameters, centre: float) -> _Worth:
    """The same with the exponentials taken apart."""
    tau_mem, tau_syn = parameters.tau_mem, parameters.tau_syn
    since = jnp.where(segments.spike > 0, segments.spike, 0) - centre
    voltage = _gain(parameters) * segments.voltage
    slow = jnp.exp(-since / tau_mem) * voltage
    fast = jnp.exp(-since / tau_syn) * (voltage - segments.current)

    def worth(time: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, (mem, syn) = _chosen(time, segments.spike, (slow, fast))
        passed = jnp.minimum(time, 2 * centre) - centre
        mem, syn = jnp.exp(passed / tau_mem) * mem, jnp.exp(passed / tau_syn) * syn
        return mem - syn, mem / tau_mem - syn / tau_syn

    return worth


def _chosen(
    time: jax.Array, spikes: jax.Array, fields: tuple[jax.Array, ...]
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Of ``fields[K, M, B]`` those of the first spike after an input, ``[M, B]``; zero and ``False`` for none."""

    def earlier(later: Any, spike: tuple[jax.Array, tuple[jax.Array, ...]]) -> Any:
        felt, chosen = later
        time_of, values = spike
        before = time < time_of
        pairs = zip(values, chosen, strict=True)
        return (felt | before, tuple(jnp.where(before, new, old) for new, old in pairs)), None

    none = jnp.zeros(spikes.shape[1:], bool), tuple(jnp.zeros(f.shape[1:], f.dtype) for f in fields)
    return jax.lax.scan(earlier, none, (spikes, fields), reverse=True, unroll=_unrolled(spikes))[0]


def _unrolled(spikes: jax.Array) -> int:
    """A few spikes are a few lines of the compiled program; for many it has a loop."""
    return min(len(spikes), 8)
