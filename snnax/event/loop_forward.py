r"""Recurrent networks in continuous time: a loop that jumps from event to event.

Between events every neuron follows its closed form (:mod:`snnax.event.closed_form`). An event is the earliest of

* a *spike*: a neuron reaches its threshold, its membrane is reset, and its row of the recurrent weights is added to
  the currents of all neurons at the same instant;
* an *arrival*: a spike that left earlier comes to the end of a delayed axon;
* an *input*: the next spike of the input trains.

The loop is native in the batch: each sample has a clock of its own, and one iteration advances each by one event. It
ends when all samples are done, so its time grows with the events, not with the duration and not with the budget.

**Ties.** Neurons that reach threshold at exactly the same time all fire: the first by index fires, the others fire
next without time passing. In times and gradients this is the limit of a vanishing perturbation that puts the lower
index first. Where the kick of the first would have stopped the other (strong inhibition) there is no such limit, as
the perturbation would choose who fires at all; then both fire, for both had reached the threshold before the kick,
and the slope of the second is the one with which it got there.

**Budget.** ``events`` is the most that is recorded of a sample. One iteration beyond tells a sample that is done from
one that is cut, which is flagged in ``overflow``; so is a neuron with more than ``spikes`` spikes, all of which act
on the network: only the record of their times is full.

The gradient is :mod:`snnax.event.loop_adjoint`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax.event.closed_form import advance, decay
from snnax.event.crossing import clock_of, crosses
from snnax.event.delays import Flight, landed, next_arrival, no_flight, sent
from snnax.event.neuron import LIFParameters
from snnax.event.spike_trains import sort_events
from snnax.event.wiring import Populations, Wiring

__all__ = ["Plan", "Record", "Rest", "State", "run"]

Array = jax.Array


@dataclass(frozen=True)
class Plan:
    """What is fixed when a loop is compiled.

    Attributes:
        neurons: populations in the order of their neurons, as ``(size, parameters)``.
        t_max: the network runs from 0 to here, in seconds.
        spikes: times kept of each neuron.
        events: events kept of each sample.
        in_flight: spikes that may be under way along delayed axons at once, in each sample.
        per_input: spikes in each input train: input ``k`` is one of train ``k // per_input``.
        inputs: number of input trains.
    """

    neurons: Populations
    t_max: float
    spikes: int
    events: int
    in_flight: int
    per_input: int
    inputs: int

    @property
    def size(self) -> int:
        """Number of neurons."""
        return sum(size for size, _ in self.neurons)

    @property
    def slots(self) -> int:
        """Number of input spikes, those that never come included."""
        return self.inputs * self.per_input

    @property
    def rests(self) -> bool:
        """Whether a neuron comes back from a refractory time."""
        return any(p.refractory > 0 and not p.fires_once for _, p in self.neurons)

    def constant(self, name: str, like: Array) -> Array:
        """A parameter of all neurons, ``[1, N]``."""
        values = [float(getattr(p, name)) for size, p in self.neurons for _ in range(size)]
        return jnp.asarray([values], like.dtype)

    def each(self, function: Callable[..., Any], *arrays: Array) -> Any:
        """``function(parameters, *arrays)`` of every population, joined along the last axis; sizes of 1 are shared."""
        if len(self.neurons) == 1:
            return function(self.neurons[0][1], *arrays)
        parts, first = [], 0
        for size, parameters in self.neurons:
            own = slice(first, first + size)
            parts.append(function(parameters, *(a if a.shape[-1] == 1 else a[:, own] for a in arrays)))
            first += size
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, -1), *parts)

    def flow(self, u: Array, current: Array, time: Array) -> tuple[Array, Array]:
        """The state of all neurons after ``time`` without events."""

        def flowed(parameters: LIFParameters, u: Array, current: Array, time: Array) -> tuple[Array, Array]:
            return advance(u, current, decay(time, parameters))

        found: tuple[Array, Array] = self.each(flowed, u, current, time)
        return found

    def row(self, source: Array) -> Array:
        """The row of weights of a source, by its number in :class:`Record`."""
        return jnp.where(source < self.slots, source // self.per_input, source - self.slots + self.inputs)


class Rest(NamedTuple):
    """Of neurons with a refractory time: seconds since the last release, negative before it; the current then."""

    age: Array
    current: Array


class State(NamedTuple):
    """A network between two events: clocks ``[B]``, neurons ``[B, N]``, trains ``[B, N, K]``.

    ``tied`` is the current with which a neuron reached its threshold together with one that has fired already, and
    ``-inf`` for all others. ``cut`` are the samples of which something was lost.
    """

    time: Array
    u: Array
    current: Array
    tied: Array
    head: Array
    fired: Array
    trains: Array
    cut: Array
    rest: Rest | None
    flight: Flight | None


class Record(NamedTuple):
    """What the adjoint needs of every event, ``[E, B]``: memory grows with events, not with events times neurons.

    Attributes:
        wait: time since the event before.
        source: number of the input spike; then of the neuron, of the axon, and a large one for "no event".
        slope: of the neuron that fires, ``tau_mem`` times the derivative of its voltage.
        ordinal: how often it had fired before.
        rest: its :class:`Rest` just before.
        origin: of an arrival, the event that sent it.
    """

    wait: Array
    source: Array
    slope: Array
    ordinal: Array
    rest: Rest | None
    origin: Array | None


def run(plan: Plan, times: Array, wiring: Wiring) -> tuple[State, Record, Array]:
    """Run a network over all its events.

    Args:
        plan: the fixed part.
        times: of the input spikes, ``[B, N_in * per_input]`` in any order; ``inf`` for none.
        wiring: weights and delays.

    Returns:
        ``(state, record, used)``: the state after each sample's last event, its events, and the most that a sample has.
    """
    batch, dtype = times.shape[0], times.dtype
    rows = wiring.rows()
    queue, order = sort_events(times)
    never = jnp.full((batch, 1), jnp.inf, dtype)
    queue = jnp.concatenate([queue, never], 1)
    order = jnp.concatenate([order, jnp.zeros((batch, 1), jnp.int32)], 1)

    def unfinished(carry: tuple[Array, State, Record]) -> Array:
        event, state, _ = carry
        return (event <= plan.events) & jnp.any(state.time < plan.t_max)

    def step(carry: tuple[Array, State, Record]) -> tuple[Array, State, Record]:
        event, state, record = carry
        state, now = _next_event(plan, (queue, order), rows, wiring.delays, event, state)
        return (
            event + 1,
            state,
            jax.tree.map(lambda kept, new: kept.at[event].set(new, mode="drop"), record, now),
        )

    start = (jnp.int32(0), *_start(plan, batch, dtype, wiring.delays is not None))
    event, state, record = jax.lax.while_loop(unfinished, step, start)
    return state, record, jnp.minimum(event, plan.events)


def _start(plan: Plan, batch: int, dtype: Any, delayed: bool) -> tuple[State, Record]:
    zeros = jnp.zeros((batch, plan.size), dtype)
    head, fired = jnp.zeros(batch, jnp.int32), jnp.zeros((batch, plan.size), jnp.int32)
    state = State(
        time=zeros[:, 0],
        u=zeros + plan.constant("u_initial", zeros),
        current=zeros,
        tied=zeros - jnp.inf,
        head=head,
        fired=fired,
        trains=jnp.full((batch, plan.size, plan.spikes), jnp.inf, dtype),
        cut=head > 0,
        rest=Rest(zeros + jnp.inf, zeros) if plan.rests else None,
        flight=no_flight(batch, plan.in_flight, zeros) if delayed else None,
    )
    real, integer = jnp.zeros((plan.events, batch), dtype), jnp.zeros((plan.events, batch), jnp.int32)
    rest, origin = Rest(real, real) if plan.rests else None, integer if delayed else None
    return state, Record(real, integer, real, integer, rest, origin)


def _next_event(
    plan: Plan, inputs: tuple[Array, Array], rows: Array, delays: Array | None, event: Array, state: State
) -> tuple[State, Record]:
    """One event in every sample that has one left: the state after it, and what is to be recorded."""
    b = jnp.arange(state.time.size)
    queue, order = inputs
    next_input = queue[b, state.head]
    arrival = None if state.flight is None else next_arrival(state.flight)
    next_arriving = jnp.full_like(state.time, jnp.inf) if arrival is None else arrival.time
    outside = jnp.minimum(next_input, next_arriving)
    horizon = jnp.maximum(jnp.minimum(outside, plan.t_max), state.time)
    waits = _waits(plan, state, horizon - state.time)
    winner = jax.lax.argmin(waits, 1, jnp.int32)
    first = waits[b, winner]
    spike = jnp.minimum(state.time + first, horizon)

    fires = (first < jnp.inf) & (spike < plan.t_max)
    happens = fires | (outside < plan.t_max)
    cut = state.cut | (happens & (event >= plan.events))
    happens &= ~cut
    fires &= happens
    arrives = happens & ~fires & (next_arriving <= next_input)
    receives = happens & ~fires & ~arrives

    time = jnp.where(happens, jnp.where(fires, spike, horizon), plan.t_max)
    wait = jnp.where(happens, jnp.where(fires, first, horizon - state.time), 0)
    state = _drift(plan, state, wait)._replace(time=time, cut=cut, head=state.head + receives)
    rest = jax.tree.map(lambda of_all: of_all[b, winner], state.rest)
    ordinal = state.fired[b, winner]
    state, slope = _fire(plan, state, fires, winner, together=waits == first[:, None])

    nothing = plan.slots + plan.size + rows.shape[0]
    source = jnp.where(receives, order[b, state.head - receives], nothing)
    source = jnp.where(fires, plan.slots + winner, source)
    if state.flight is not None and arrival is not None and delays is not None:
        source = jnp.where(arrives, plan.slots + plan.size + arrival.axon, source)
        flight = landed(state.flight, arrival.place, arrives)
        flight, lost = _sent_by(plan, flight, delays, jnp.where(fires, time, jnp.inf), winner, event)
        state = state._replace(flight=flight, cut=state.cut | lost)
    kick = rows.at[plan.row(source)].get(mode="fill", fill_value=0)
    record = Record(
        wait, source.astype(jnp.int32), slope, ordinal, rest, None if arrival is None else arrival.origin
    )
    return state._replace(current=state.current + kick), record


def _waits(plan: Plan, state: State, limit: Array) -> Array:
    """Time ``[B, N]`` until each neuron reaches its threshold; ``inf`` where that is not within ``limit``."""
    limit = limit[:, None]
    if state.rest is None:
        waits = plan.each(_crossing, state.u, state.current, limit)
    else:
        # A neuron that is held starts from its release, with what is left of its current then.
        held = jnp.clip(-state.rest.age, 0, limit)
        current = plan.flow(state.u, state.current, held)[1]
        waits = held + plan.each(_crossing, state.u, current, limit - held)
        waits = jnp.where(state.rest.age + limit >= 0, waits, jnp.inf)
    if any(p.fires_once for _, p in plan.neurons):
        once = plan.constant("fires_once", limit) > 0
        waits = jnp.where(once & (state.fired > 0), jnp.inf, waits)
    return jnp.where(state.tied > -jnp.inf, 0, waits)


def _crossing(parameters: LIFParameters, u: Array, current: Array, limit: Array) -> Array:
    clock = clock_of(parameters)
    whole = clock.span(limit)
    hit = crosses(u, current, *clock.advance(u, current, whole), parameters)
    return jnp.where(
        hit, jnp.minimum(clock.time(clock.crossing(u, current, whole, hit, earliest=True)), limit), jnp.inf
    )


def _drift(plan: Plan, state: State, wait: Array) -> State:
    """All neurons after ``wait``; the voltage of a held one waits for its release first."""
    wait = wait[:, None]
    if state.rest is None:
        u, current = plan.flow(state.u, state.current, wait)
        return state._replace(u=u, current=current)
    age = state.rest.age + wait
    free = jnp.clip(age, 0, wait)
    at_release = plan.flow(state.u, state.current, wait - free)[1]
    u, current = plan.flow(state.u, at_release, free)
    released = (state.rest.age < 0) & (age >= 0)
    rest = Rest(age, jnp.where(released, at_release, state.rest.current))
    return state._replace(u=u, current=current, rest=rest)


def _fire(plan: Plan, state: State, fires: Array, winner: Array, together: Array) -> tuple[State, Array]:
    """Reset the neurons that fire; note those that are to fire next, at the same time."""
    b = jnp.arange(winner.size)
    hit = fires[:, None] & (jnp.arange(plan.size)[None, :] == winner[:, None])
    threshold = plan.constant("u_threshold", state.u)[0, winner]
    slope = state.current[b, winner] - threshold
    unkicked = state.tied[b, winner] - threshold
    slope = jnp.where((slope <= 0) & (unkicked > 0), unkicked, slope)
    # Of a voltage that only touches the threshold rounding may say that it falls: the least that is resolved.
    least = jnp.finfo(slope.dtype).eps * jnp.maximum(jnp.abs(threshold), jnp.finfo(slope.dtype).tiny)
    slope = jnp.maximum(slope, least)

    at_threshold = jnp.where(state.tied > -jnp.inf, state.tied, state.current)
    rest = state.rest
    if rest is not None:
        refractory = plan.constant("refractory", state.u)
        rest = rest._replace(age=jnp.where(hit, jnp.where(refractory > 0, -refractory, jnp.inf), rest.age))
    column = jnp.where(fires, winner, plan.size)
    state = state._replace(
        u=jnp.where(hit, plan.constant("u_reset", state.u), state.u),
        tied=jnp.where(fires[:, None] & together & ~hit, at_threshold, -jnp.inf),
        trains=state.trains.at[b, column, state.fired[b, winner]].set(state.time, mode="drop"),
        fired=state.fired + hit,
        rest=rest,
    )
    return state, slope


def _sent_by(
    plan: Plan, flight: Flight, delays: Array, time: Array, winner: Array, event: Array
) -> tuple[Flight, Array]:
    """A spike leaves at ``time`` along each axon of the neuron that fires, if it arrives before the end."""
    arrivals = time[None, :] + jnp.maximum(delays, 0)[:, winner]
    arrivals = jnp.where(arrivals < plan.t_max, arrivals, jnp.inf)
    any_lost = jnp.zeros_like(time, bool)
    for number in range(delays.shape[0]):
        flight, lost = sent(flight, arrivals[number], number * plan.size + winner, event)
        any_lost |= lost
    return flight, any_lost
