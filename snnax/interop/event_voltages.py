"""Voltages of a network's readouts, exact and in time steps.

An integrator in steps of the exact flow has, at the end of each, the very voltage of its inputs at the starts of
theirs: there is no threshold at which a step could be late. Given the spikes that it got, the rest is rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnax import event

__all__ = ["Voltages", "compared", "exact_voltages"]

Array = np.ndarray

_ROUNDING = 1e-9
"""Of all that an integrator heard."""

_AT_ONCE = 2**22
"""So many responses of a spike at a time are computed at once."""


@dataclass(frozen=True)
class Voltages:
    """One readout of one engine in steps of one length, beside the exact voltages at the ends of the steps.

    Attributes:
        engine: as in :class:`Steps`.
        dt: length of a step, in seconds.
        readout: its name.
        mean_error: over time, samples and integrators.
        max_error: the largest.
        unexplained: values that are not what the spikes make that the engine sent to this readout.
    """

    engine: str
    dt: float
    readout: str
    mean_error: float
    max_error: float
    unexplained: int


def exact_voltages(
    network: event.Network, sent: Mapping[str, event.Trains], times: Array
) -> dict[str, Array]:
    """Voltages ``[T, B, N]`` of each readout at ``times``, of the trains of all inputs and populations by name."""
    spikes = sum(trains.times.size for trains in sent.values())
    pieces = np.array_split(times, min(len(times), 1 + len(times) * spikes // _AT_ONCE))
    found = [event.voltages(network, sent, {}, times=piece) for piece in pieces]
    return {
        readout.name: np.concatenate([np.asarray(part[readout.name]) for part in found])
        for readout in network.readouts
    }


def compared(
    network: event.Network,
    exact: Mapping[str, Array],
    seen: Mapping[str, Array],
    sent: Mapping[str, event.Trains],
    *,
    engine: str,
    dt: float,
) -> list[Voltages]:
    """Each readout of a run in steps.

    Args:
        network: what both sides compute.
        exact: voltages at the ends of the steps, of exact spikes.
        seen: those of the engine.
        sent: its spikes at the starts of their steps, and the inputs, by name.
        engine: its name.
        dt: length of a step.
    """
    times = dt * np.arange(1, 1 + len(next(iter(exact.values()), ())))
    given = exact_voltages(network, sent, times) if network.readouts else {}
    found = []
    for readout in network.readouts:
        name = readout.name
        error = np.abs(seen[name] - exact[name])
        near = np.abs(seen[name] - given[name]) <= _rounding(network, readout, sent)
        found.append(Voltages(engine, dt, name, float(error.mean()), float(error.max()), int((~near).sum())))
    return found


def _rounding(network: event.Network, readout: event.Readout, sent: Mapping[str, event.Trains]) -> Array:
    """How far each integrator may be off, ``[B, N]``, or for all the same."""
    total = np.full((), abs(readout.parameters.v_leak))
    for projection in network.into([readout.name]):
        spikes = np.asarray(event.count(sent[projection.source]))
        total = total + spikes @ np.abs(np.asarray(projection.masked()))
    return _ROUNDING * total
