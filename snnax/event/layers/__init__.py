"""Flax modules over the engines: layers and networks in continuous time, with their weights."""

from snnax.event.layers.description import as_network
from snnax.event.layers.graph import Connection, Graph
from snnax.event.layers.initial import firing_normal
from snnax.event.layers.li import LI
from snnax.event.layers.lif import LIF
from snnax.event.layers.sequential import Sequential

__all__ = ["LI", "LIF", "Connection", "Graph", "Sequential", "as_network", "firing_normal"]
