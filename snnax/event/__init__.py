"""Spiking networks in continuous time: neurons that jump from event to event, with exact spike times and gradients.

There is no time step. Between two events a neuron has a closed form (:mod:`snnax.event.closed_form`); the threshold is
crossed at a root of it (:mod:`snnax.event.crossing`); what networks exchange are spike times
(:class:`~snnax.event.spike_trains.Trains`).
"""

from __future__ import annotations

from snnax.event.closed_form import flow
from snnax.event.crossing import first_crossing
from snnax.event.delays import delayed
from snnax.event.feedforward import lif_spikes
from snnax.event.loop import recurrent_spikes
from snnax.event.network import Network, Population, Projection
from snnax.event.neuron import LIFParameters, LIParameters
from snnax.event.readout import li_max_voltage, li_voltage
from snnax.event.relaxation import relaxed_spikes
from snnax.event.simulation import Simulation, simulate
from snnax.event.spike_trains import (
    Trains,
    concatenated,
    count,
    first_spikes,
    from_dense,
    from_lists,
    merged,
    sort_events,
    to_dense,
    trains,
)
from snnax.event.wiring import Wiring

__all__ = [
    "LIFParameters",
    "LIParameters",
    "Network",
    "Population",
    "Projection",
    "Simulation",
    "Trains",
    "Wiring",
    "concatenated",
    "count",
    "delayed",
    "first_crossing",
    "first_spikes",
    "flow",
    "from_dense",
    "from_lists",
    "li_max_voltage",
    "li_voltage",
    "lif_spikes",
    "merged",
    "recurrent_spikes",
    "relaxed_spikes",
    "simulate",
    "sort_events",
    "to_dense",
    "trains",
]
