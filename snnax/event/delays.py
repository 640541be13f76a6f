r"""Axonal delays: a spike at :math:`s` reaches its targets at :math:`s + d`, with a gradient for :math:`d`.

Where all spikes of a source are known before its targets run (feed-forward layers, relaxation) a delay is added to
their times: :func:`delayed`. In the event loop spikes are under way while the network runs: :class:`Flight`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ShapeError
from snnax.event.spike_trains import Trains, given_trains

__all__ = ["Arrival", "Flight", "delayed", "landed", "next_arrival", "no_flight", "sent"]

Array = jax.Array


def delayed(spikes: Trains, delay: Any) -> Trains:
    """Spike trains at the other end of axons.

    Args:
        spikes: ``[B, N, K]``.
        delay: seconds, one number or one for each neuron ``[N]``; ``None`` for none. Less than zero counts as zero
            (and gets no gradient), so that no effect comes before its cause, whatever an optimizer does.

    Returns:
        The trains later by ``delay``; differentiable in both.

    Raises:
        ArgumentError: for what is no trains, or a delay that is no array of real numbers.
        ShapeError: for a delay of another shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import delayed, trains
        >>> delayed(trains(jnp.array([[1.0, 2.0]])), jnp.array([0.5, 0.25])).times[0, :, 0].tolist()
        [1.5, 2.25]
    """
    spikes = given_trains(spikes, "delayed(spikes=...)")
    if delay is None:
        return spikes
    later, neurons = checks.array(delay, "delayed(delay=...)"), spikes.times.shape[1:2]
    if later.shape not in ((), neurons):
        raise ShapeError(
            f"delayed(delay of shape {later.shape}): expected one number or {neurons}, one for each neuron."
        )
    later = jnp.broadcast_to(jnp.maximum(later.astype(spikes.times.dtype), 0), neurons)[None, :, None]
    # A spike that does not happen has no gradient, whatever a loss makes of its time (0 times inf is NaN).
    return spikes._replace(times=jnp.where(spikes.times < jnp.inf, spikes.times + later, jnp.inf))


class Flight(NamedTuple):
    """Spikes under way in ``Q`` places of each sample.

    Attributes:
        time: of arrival, ``[B, Q]``; ``inf`` in a free place.
        axon: along which it comes.
        origin: the event that sent it.
        free: a stack of places, of which the free ones begin at ``number``: none is searched for.
        number: of spikes under way, ``[B]``.
    """

    time: Array
    axon: Array
    origin: Array
    free: Array
    number: Array


def no_flight(batch: int, places: int, like: Array) -> Flight:
    """Nothing under way; times of the dtype of ``like``."""
    integers = jnp.zeros((batch, places), jnp.int32)
    free = jnp.broadcast_to(jnp.arange(places, dtype=jnp.int32), (batch, places))
    return Flight(jnp.full((batch, places), jnp.inf, like.dtype), integers, integers, free, integers[:, 0])


class Arrival(NamedTuple):
    """The next spike to arrive in each sample, ``[B]``: its place, and what is known of it."""

    place: Array
    time: Array
    axon: Array
    origin: Array


def next_arrival(flight: Flight) -> Arrival:
    """The next spike to arrive; its time is ``inf`` if there is none."""
    b, place = jnp.arange(flight.number.size), jax.lax.argmin(flight.time, 1, jnp.int32)
    return Arrival(place, flight.time[b, place], flight.axon[b, place], flight.origin[b, place])


def landed(flight: Flight, place: Array, arrives: Array) -> Flight:
    """The spike at a place is no longer under way, in the samples where it ``arrives``."""
    b, outside = jnp.arange(place.size), flight.time.shape[1]
    number = flight.number - arrives
    return flight._replace(
        time=flight.time.at[b, jnp.where(arrives, place, outside)].set(jnp.inf, mode="drop"),
        free=flight.free.at[b, jnp.where(arrives, number, outside)].set(place, mode="drop"),
        number=number,
    )


def sent(flight: Flight, arrival: Array, axon: Array, origin: Array) -> tuple[Flight, Array]:
    """One more spike under way in each sample, unless its ``arrival`` is ``inf``.

    Returns:
        ``(flight, lost)``; ``lost[B]`` where no place was free.
    """
    b, places = jnp.arange(arrival.size), flight.time.shape[1]
    leaves = arrival < jnp.inf
    lost = leaves & (flight.number == places)
    leaves &= ~lost
    place = jnp.where(leaves, flight.free[b, jnp.minimum(flight.number, places - 1)], places)
    flight = flight._replace(
        time=flight.time.at[b, place].set(arrival, mode="drop"),
        axon=flight.axon.at[b, place].set(axon, mode="drop"),
        origin=flight.origin.at[b, place].set(origin, mode="drop"),
        number=flight.number + leaves,
    )
    return flight, lost
