"""Spiking networks in continuous time: neurons that jump from event to event, with exact spike times and gradients.

There is no time step. Between two events a neuron has a closed form (:mod:`snnax.event.closed_form`); the threshold is
crossed at a root of it (:mod:`snnax.event.crossing`); what networks exchange are spike times
(:class:`~snnax.event.spike_trains.Trains`).

The engines are functions of JAX arrays. Over them are Flax modules with weights (:mod:`snnax.event.layers`), which are
loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnax.event.closed_form import flow
from snnax.event.crossing import first_crossing
from snnax.event.delays import delayed
from snnax.event.feedforward import lif_spikes
from snnax.event.loop import recurrent_spikes
from snnax.event.network import Network, Population, Projection
from snnax.event.neuron import LIFParameters, LIParameters
from snnax.event.readout import li_max_voltage, li_voltage
from snnax.event.relaxation import relaxed_spikes
from snnax.event.silent import silence
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
from snnax.faces import Face

if TYPE_CHECKING:
    from snnax.event.layers import LI as LI
    from snnax.event.layers import LIF as LIF
    from snnax.event.layers import Connection as Connection
    from snnax.event.layers import Graph as Graph
    from snnax.event.layers import Sequential as Sequential
    from snnax.event.layers import firing_normal as firing_normal

__all__ = [
    "LI",
    "LIF",
    "Connection",
    "Graph",
    "LIFParameters",
    "LIParameters",
    "Network",
    "Population",
    "Projection",
    "Sequential",
    "Simulation",
    "Trains",
    "Wiring",
    "concatenated",
    "count",
    "delayed",
    "firing_normal",
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
    "silence",
    "simulate",
    "sort_events",
    "to_dense",
    "trains",
]

_FACE = Face(
    "snnax.event",
    rooms=(),
    named={
        "Connection": "layers",
        "Graph": "layers",
        "LI": "layers",
        "LIF": "layers",
        "Sequential": "layers",
        "firing_normal": "layers",
    },
)


def __getattr__(name: str) -> Any:
    """Load what uses flax when it is first used; the engines are there, and need JAX alone."""
    value = globals()[name] = _FACE.load(name)
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
