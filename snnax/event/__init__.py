"""Spiking networks in continuous time: neurons that jump from event to event, with exact spike times and gradients.

There is no time step. Between two events a neuron has a closed form (``snnax.event.closed_form``); the threshold is
crossed at a root of it (``snnax.event.crossing``); what networks exchange are spike times
(:class:`~snnax.event.spike_trains.Trains`).

The engines are functions of JAX arrays. Over them are Flax modules with weights (``snnax.event.layers``), which are
loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnax.event.closed_form import flow
from snnax.event.crossing import first_crossing
from snnax.event.delays import delayed
from snnax.event.encoding import biased, from_raster, latency_code, population_code, to_raster
from snnax.event.feedforward import lif_spikes
from snnax.event.loop import recurrent_spikes
from snnax.event.network import Network, Population, Projection, Readout
from snnax.event.neuron import LIFParameters, LIParameters
from snnax.event.readout import li_max_voltage, li_voltage, voltages
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
    from snnax.event.decoding import accuracy_first_spike as accuracy_first_spike
    from snnax.event.decoding import accuracy_max_voltage as accuracy_max_voltage
    from snnax.event.decoding import first_spike_class as first_spike_class
    from snnax.event.decoding import max_voltage_class as max_voltage_class
    from snnax.event.layers import LI as LI
    from snnax.event.layers import LIF as LIF
    from snnax.event.layers import Connection as Connection
    from snnax.event.layers import Graph as Graph
    from snnax.event.layers import Sequential as Sequential
    from snnax.event.layers import as_network as as_network
    from snnax.event.layers import firing_normal as firing_normal
    from snnax.event.losses import max_over_time_loss as max_over_time_loss
    from snnax.event.losses import mse_time_loss as mse_time_loss
    from snnax.event.losses import target_time_loss as target_time_loss
    from snnax.event.losses import ttfs_loss as ttfs_loss

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
    "Readout",
    "Sequential",
    "Simulation",
    "Trains",
    "Wiring",
    "accuracy_first_spike",
    "accuracy_max_voltage",
    "as_network",
    "biased",
    "concatenated",
    "count",
    "delayed",
    "firing_normal",
    "first_crossing",
    "first_spike_class",
    "first_spikes",
    "flow",
    "from_dense",
    "from_lists",
    "from_raster",
    "latency_code",
    "li_max_voltage",
    "li_voltage",
    "lif_spikes",
    "max_over_time_loss",
    "max_voltage_class",
    "merged",
    "mse_time_loss",
    "population_code",
    "recurrent_spikes",
    "relaxed_spikes",
    "silence",
    "simulate",
    "sort_events",
    "target_time_loss",
    "to_dense",
    "to_raster",
    "trains",
    "ttfs_loss",
    "voltages",
]

_FACE = Face(
    "snnax.event",
    rooms=(),
    named={
        "accuracy_first_spike": "decoding",
        "accuracy_max_voltage": "decoding",
        "first_spike_class": "decoding",
        "max_voltage_class": "decoding",
        "max_over_time_loss": "losses",
        "mse_time_loss": "losses",
        "target_time_loss": "losses",
        "ttfs_loss": "losses",
        "Connection": "layers",
        "Graph": "layers",
        "LI": "layers",
        "LIF": "layers",
        "Sequential": "layers",
        "as_network": "layers",
        "firing_normal": "layers",
    },
)


def __getattr__(name: str) -> Any:
    """Load what uses flax when it is first used; the engines are there, and need JAX alone."""
    value = globals()[name] = _FACE.load(name)
    return value


def __dir__() -> list[str]:
    """What tab completion offers: the public names, loaded or not, and not what this file imports."""
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
