r"""A layer of spiking neurons: input spike times in, output spike times out, by one scan over the sorted inputs.

Given the times of its inputs, the neurons of a layer without recurrence do not know each other. So there is no queue
and no search for the neuron that fires next: the inputs of a sample are sorted once, and a single ``lax.scan`` over
them carries the voltage and the current of all neurons from input to input (:mod:`snnax.event.closed_form`), asks
whether any crossed the threshold in between, and notes when (:mod:`snnax.event.crossing`). All that is exponential is
computed once per sample and input, outside of the scan. States decay from input to input, so that nothing overflows,
however long the time.

The gradients are those of :mod:`snnax.event.eventprop`; nothing of the scan is kept for them but the spike times, and
the currents at them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ShapeError
from snnax.event import eventprop
from snnax.event.arguments import seconds
from snnax.event.closed_form import Decay, advance, decay
from snnax.event.crossing import clock_of, crosses
from snnax.event.neuron import LIFParameters, Membrane
from snnax.event.spike_trains import Trains, given_inputs, sort_events

__all__ = ["lif_spikes"]


def lif_spikes(
    inputs: Trains, weights: Any, parameters: LIFParameters, *, t_max: float, max_spikes: int = 1
) -> Trains:
    r"""The exact spike times of a layer of leaky integrate-and-fire neurons, with exact gradients.

    .. math:: \tau_m \dot V_m = v_{leak} - V_m + I_m, \quad \tau_s \dot I_m = -I_m, \qquad
        I_m \leftarrow I_m + w_{nm} \text{ at a spike of input } n

    Args:
        inputs: spike trains of ``N`` inputs, ``times[B, N, K_in]`` from 0 on; inputs at ``t_max`` and later have no
            effect.
        weights: ``[N, M]``.
        parameters: of the ``M`` neurons. ``refractory=math.inf`` lets each fire once, in a shorter program.
        t_max: when the simulation ends, in seconds: spikes up to this time count.
        max_spikes: the budget ``K``: how many spikes of a neuron are noted.

    Returns:
        :class:`Trains` of ``times[B, M, K]``, ascending, padded with ``inf``; and ``overflow[B, M]`` for neurons that
        would have fired more than ``K`` times. The times have gradients with respect to ``weights`` and to
        ``inputs.times`` (EventProp; reverse mode). A spike that is not there has none.

    Raises:
        ArgumentError: for inputs that are no trains, negative times, a ``t_max`` that is not positive and finite, a
            budget below 1.
        ShapeError: if ``weights`` is not ``[N, M]``.

    Spikes at exactly the same time are all there, and all at that time: inputs add up; neurons that fire together do.
    Times and gradients are the limit of a vanishing difference. The memory of a gradient grows with the spikes, not
    with time.

    Compared with
        * jaxsnn: loops over the events of all neurons together, and cuts what exceeds ``n_spikes`` without a word; a
          spike at the time of another is lost or late.
        * snnTorch, Norse: steps of ``dt``; their spike times become these for ``dt`` to 0.

    Source: T. C. Wunderlich and C. Pehle, "Event-based backpropagation can compute exact gradients for spiking neural
    networks", Scientific Reports 11 (2021).

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import LIFParameters, from_lists, lif_spikes
        >>> inputs = from_lists([[[1e-3], [4e-3]]])
        >>> spikes = lif_spikes(inputs, jnp.full((2, 1), 3.0), LIFParameters(), t_max=0.05, max_spikes=2)
        >>> [f"{time:.5f}" for time in spikes.times[0, 0]], spikes.overflow.tolist()
        (['0.00529', 'inf'], [[False]])
    """
    inputs, weights = checked_inputs(inputs, weights, "lif_spikes")
    checks.instance(LIFParameters, "LIFParameters()")(parameters, "lif_spikes(parameters=...)")
    t_max = seconds(t_max, "lif_spikes(t_max=...)")
    budget = checks.count()(max_spikes, "lif_spikes(max_spikes=...)")
    return Trains(*_spikes(inputs.times, weights, parameters, t_max, budget))


def checked_inputs(inputs: Any, weights: Any, name: str) -> tuple[Trains, jax.Array]:
    """Trains, and weights in the type of their times; an error in the name of the function unless the two fit."""
    inputs = given_inputs(inputs, f"{name}(inputs=...)")
    matrix = checks.array(weights, f"{name}(weights=...)")
    neurons = inputs.times.shape[1]
    if matrix.ndim != 2 or matrix.shape[0] != neurons:
        raise ShapeError(
            f"{name}(weights of shape {matrix.shape}): expected [N, M] with N = {neurons} as in inputs, "
            f"as jnp.ones(({neurons}, 10))."
        )
    return inputs, matrix.astype(inputs.times.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _spikes_with_gradient(
    times: jax.Array, weights: jax.Array, parameters: LIFParameters, t_max: float, budget: int
) -> tuple[jax.Array, jax.Array]:
    return _found(times, weights, parameters, t_max, budget)[:2]


def _found(
    times: jax.Array, weights: jax.Array, parameters: LIFParameters, t_max: float, budget: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Spike times, overflow, and the currents at the spikes, ``[B, M, K]``."""
    events = sorted_events(times, t_max, parameters, parameters.fires_alone)
    if parameters.fires_alone:  # the input that there is not has no weights
        weights = jnp.pad(weights, ((0, 1), (0, 0)))
    if parameters.fires_once:
        first, current = (array[:, :, None] for array in _once(events, weights, parameters))
        padding = ((0, 0), (0, 0), (0, budget - 1))
        found = jnp.pad(first, padding, constant_values=jnp.inf)
        return found, jnp.zeros(first.shape[:2], bool), current
    return _many(events, weights, parameters, budget)


_Kept = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
"""For the way back: input times, weights, spikes, and the currents at these."""


def _spikes_forward(
    times: jax.Array, weights: jax.Array, parameters: LIFParameters, t_max: float, budget: int
) -> tuple[tuple[jax.Array, jax.Array], _Kept]:
    spikes, overflow, currents = _found(times, weights, parameters, t_max, budget)
    return (spikes, overflow), (times, weights, spikes, currents)


def _spikes_backward(
    parameters: LIFParameters, t_max: float, budget: int, kept: _Kept, cotangents: tuple[jax.Array, Any]
) -> tuple[jax.Array, jax.Array]:
    del budget
    times, weights, spikes, currents = kept
    return eventprop.pullback(times, weights, spikes, cotangents[0], parameters, t_max, currents)


_spikes_with_gradient.defvjp(_spikes_forward, _spikes_backward)
_spikes = jax.jit(_spikes_with_gradient, static_argnums=(2, 3, 4))  # one program where Python calls it, too


class Events(NamedTuple):
    """The inputs in the order of time, and the interval after each: ``[E, B]``, and ``[E, B, 1]`` for times."""

    place: jax.Array
    """Of the input among all ``N * K``."""
    source: jax.Array
    """Of its neuron."""
    start: jax.Array
    stop: jax.Array
    factors: Decay


def sorted_events(times: jax.Array, t_max: float, parameters: Membrane, alone: bool = False) -> Events:
    """The inputs ``[B, N, K]`` as a scan takes them.

    ``alone``: the time before the first input is an interval too, after an event of an input ``N`` that there is not.
    """
    samples, neurons, per_neuron = times.shape
    ordered, index = sort_events(times.reshape(samples, neurons * per_neuron))
    if alone:
        ordered = jnp.pad(ordered, ((0, 0), (1, 0)))
        index = jnp.pad(index, ((0, 0), (1, 0)), constant_values=neurons * per_neuron)
    # Inputs that are too late, and those that are none, are events at t_max: without time they have no effect.
    start = jnp.minimum(ordered, t_max).T[:, :, None]
    stop = jnp.concatenate([start[1:], jnp.full_like(start[:1], t_max)])
    return Events(index.T, index.T // per_neuron, start, stop, decay(stop - start, parameters))


def _state_at_first(
    events: Events, weights: jax.Array, parameters: LIFParameters
) -> tuple[jax.Array, jax.Array]:
    """Voltage above ``v_leak`` and current at the first input, for neurons that do not fire before it."""
    left = decay(events.start[0], parameters).mem
    current = jnp.zeros((events.start.shape[1], weights.shape[1]), weights.dtype)
    return parameters.u_initial * left + current, current


_GATHERED = 2**20
"""So many weights are gathered before the scan; more are within it, one input at a time."""


def _rows(events: Events, weights: jax.Array) -> jax.Array:
    """The weights of each input, ``[E, B, M]``, or where to find them, ``[E, B]``."""
    gathered = events.source.size * weights.shape[1] <= _GATHERED
    return weights[events.source] if gathered else events.source


def _weights_at(rows: jax.Array, weights: jax.Array) -> jax.Array:
    """The weights ``[B, M]`` of one input of each sample, from one of :func:`_rows`."""
    return rows if rows.ndim == 2 else weights[rows]


def _once(events: Events, weights: jax.Array, parameters: LIFParameters) -> tuple[jax.Array, jax.Array]:
    """The time of the first spike of each neuron, ``[B, M]``, and its current: one root per neuron, after the scan."""
    u, current = _state_at_first(events, weights, parameters)
    number = events.start.shape[0]
    found = (u, current, jnp.full(u.shape, number, jnp.int32))

    def step(carry: Any, event: Any) -> Any:
        (u, current), (first_u, first_current, first) = carry
        n, rows, factors = event
        current = current + _weights_at(rows, weights)
        end = advance(u, current, factors)
        new = crosses(u, current, *end, parameters) & (first == number)
        noted = (jnp.where(new, u, first_u), jnp.where(new, current, first_current), jnp.where(new, n, first))
        return (end, noted), None

    numbered = (jnp.arange(number, dtype=jnp.int32), _rows(events, weights), events.factors)
    (_, (u, current, first)), _ = jax.lax.scan(step, ((u, current), found), numbered)
    hit = first < number
    at = functools.partial(_taken, index=jnp.minimum(first, number - 1))
    clock = clock_of(parameters)
    start, stop = at(events.start), at(events.stop)
    span = clock.crossing(u, current, clock.span(stop - start), hit)
    spike = jnp.where(hit, _within(start + clock.time(span), start, stop), jnp.inf)
    return spike, clock.advance(u, current, span)[1]


class _Layer(NamedTuple):
    """What the scan of :func:`_many` carries: ``[B, M]``, and ``[K, B, M]`` spike times and the currents at them."""

    u: jax.Array
    current: jax.Array
    release: jax.Array
    """Until when the voltage is held after a spike."""
    fired: jax.Array
    times: jax.Array
    currents: jax.Array


def _many(
    events: Events, weights: jax.Array, parameters: LIFParameters, budget: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As :func:`_found`: in each interval a loop over the spikes of a neuron."""
    u, current = _state_at_first(events, weights, parameters)
    times = jnp.full((budget, *u.shape), jnp.inf, u.dtype)
    start = _Layer(u, current, jnp.zeros_like(u), jnp.zeros(u.shape, jnp.int32), times, jnp.zeros_like(times))

    def interval(layer: _Layer, arrived: tuple[Events, jax.Array]) -> tuple[_Layer, None]:
        event, rows = arrived
        layer = layer._replace(current=layer.current + _weights_at(rows, weights))
        return _interval(layer, event, parameters), None

    end, _ = jax.lax.scan(interval, start, (events, _rows(events, weights)))
    return jnp.moveaxis(end.times, 0, -1), end.fired > budget, jnp.moveaxis(end.currents, 0, -1)


def _interval(layer: _Layer, event: Events, parameters: LIFParameters) -> _Layer:
    """One interval without inputs: spikes until no neuron crosses the threshold before its end."""
    clock, budget = clock_of(parameters), len(layer.times)
    slots = jnp.arange(budget, dtype=jnp.int32)[:, None, None]
    none = jnp.full_like(layer.u, clock.none)
    whole = clock.span(event.stop - event.start)

    def hits(layer: _Layer, end: tuple[jax.Array, jax.Array]) -> jax.Array:
        # One spike over the budget is counted, to be told; what the neuron does then is not followed any more.
        return crosses(layer.u, layer.current, *end, parameters) & (layer.fired <= budget)

    def held(layer: _Layer, used: jax.Array, time: jax.Array) -> tuple[_Layer, jax.Array]:
        """After the refractory time that is left, or the interval: the current decays, the voltage does not move."""
        if not parameters.pause:
            return layer, used
        wait = clock.span(jnp.maximum(jnp.minimum(layer.release, event.stop) - time, 0))
        current = clock.advance(layer.u, layer.current, wait)[1]
        return layer._replace(current=current), clock.joined(used, wait)

    def ended(layer: _Layer, used: jax.Array) -> tuple[jax.Array, jax.Array]:
        return clock.advance(layer.u, layer.current, clock.rest(whole, used))

    def fire(state: _Loop) -> _Loop:
        hit, layer, used, _ = state
        span = clock.crossing(layer.u, layer.current, clock.rest(whole, used), hit)
        used = clock.joined(used, span)
        time = _within(event.start + clock.time(used), event.start, event.stop)
        current = clock.advance(layer.u, layer.current, span)[1]
        noted = hit[None] & (layer.fired[None] == slots)
        layer = layer._replace(
            u=jnp.where(hit, parameters.u_reset, layer.u),
            current=current,
            release=jnp.where(hit, time + parameters.pause, layer.release),
            fired=layer.fired + hit,
            times=jnp.where(noted, time[None], layer.times),
            currents=jnp.where(noted, current[None], layer.currents),
        )
        layer, used = held(layer, used, jnp.where(hit, time, layer.release))
        end = ended(layer, used)
        return hits(layer, end), layer, used, end

    layer, used = held(layer, none, event.start)
    # A neuron that is not held ends in the state that is computed once per sample and event.
    end = ended(layer, used) if parameters.pause else advance(layer.u, layer.current, event.factors)
    state = (hits(layer, end), layer, used, end)
    _, layer, _, (u, current) = jax.lax.while_loop(lambda state: jnp.any(state[0]), fire, state)
    return layer._replace(u=u, current=current)


_Loop = tuple[jax.Array, _Layer, jax.Array, tuple[jax.Array, jax.Array]]
"""Who fires, the neurons at the point of the interval that is used up, and how they would be at its end."""


def _taken(values: jax.Array, index: jax.Array) -> jax.Array:
    """For each neuron the value at its event: ``[E, B, 1]`` at ``[B, M]``."""
    return jnp.take_along_axis(values[:, :, 0].T, index, axis=1)


def _within(time: jax.Array, start: jax.Array, stop: jax.Array) -> jax.Array:
    """A spike time inside its interval: later than the input that caused it, by rounding's least if it must be."""
    return jnp.clip(time, jnp.nextafter(start, jnp.inf), stop)
