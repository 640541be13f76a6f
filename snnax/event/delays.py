r"""Axonal delays: a spike at :math:`s` reaches its targets at :math:`s + d`, with a gradient for :math:`d`.

Where all spikes of a source are known before its targets run (feed-forward layers, relaxation) a delay is added to
their times: :func:`delayed`. In the event loop spikes are under way while the network runs: :class:`Flight`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnax.event.trains import Trains

__all__ = ["Flight", "delayed", "landed", "next_arrival", "no_flight", "sent"]

Array = jax.Array


def delayed(spikes: Trains, delay: Array | float | None) -> Trains:
    """Spike trains at the other end of axons.

    Args:
        spikes: ``[B, N, K]``.
        delay: seconds, one number or one for each neuron ``[N]``; ``None`` for none. Less than zero counts as zero
            (and gets no gradient), so that no effect comes before its cause, whatever an optimizer does.

    Returns:
        The trains later by ``delay``; differentiable in both.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import delayed, trains
        >>> delayed(trains(jnp.array([[1.0, 2.0]])), jnp.array([0.5, 0.25])).times[0, :, 0].tolist()
        [1.5, 2.25]
    """
    if delay is None:
        return spikes
    later = jnp.maximum(jnp.asarray(delay, spikes.times.dtype), 0)
    later = jnp.broadcast_to(later, spikes.times.shape[1:2])[None, :, None]
    # A spike that does not happen has no gradient, whatever a loss makes of its time (0 times inf is NaN).
    return spikes._replace(times=jnp.where(spikes.times < jnp.inf, spikes.times + later, jnp.inf))


class Flight(NamedTuple):
    """Spikes under way, ``[B, Q]``: time of arrival (``inf``: a free place), axon, and the event that sent each."""

    time: Array
    axon: Array
    origin: Array


def no_flight(batch: int, places: int, like: Array) -> Flight:
    """Nothing under way; times of the dtype of ``like``."""
    integers = jnp.zeros((batch, places), jnp.int32)
    return Flight(jnp.full((batch, places), jnp.inf, like.dtype), integers, integers)


def next_arrival(flight: Flight) -> tuple[Array, Array, Array]:
    """``(time, axon, origin)`` of each sample's next arrival, ``[B]``; the time is ``inf`` if there is none."""
    b, place = jnp.arange(flight.time.shape[0]), jnp.argmin(flight.time, 1)
    return flight.time[b, place], flight.axon[b, place], flight.origin[b, place]


def landed(flight: Flight, arrives: Array) -> Flight:
    """The next spike to arrive is no longer under way, in the samples where ``arrives``."""
    first = jnp.argmin(flight.time, 1)[:, None] == jnp.arange(flight.time.shape[1])[None, :]
    return flight._replace(time=jnp.where(first & arrives[:, None], jnp.inf, flight.time))


def sent(flight: Flight, arrival: Array, axon: Array, origin: Array) -> tuple[Flight, Array]:
    """One more spike under way in each sample, unless its ``arrival`` is ``inf``.

    Returns:
        ``(flight, lost)``; ``lost[B]`` where no place was free.
    """
    place = jnp.argmax(flight.time, 1)[:, None] == jnp.arange(flight.time.shape[1])[None, :]
    leaves = arrival < jnp.inf
    lost = leaves & (jnp.max(flight.time, 1) < jnp.inf)  # a free place is later than any other
    here = place & (leaves & ~lost)[:, None]
    new = Flight(arrival[:, None], axon[:, None], jnp.broadcast_to(origin, axon.shape)[:, None])
    return jax.tree.map(lambda old, value: jnp.where(here, value, old), flight, new), lost
