"""Networks and the time loop."""

from snnax.network.containers import Graph as Graph
from snnax.network.containers import Sequential as Sequential
from snnax.network.streaming import step as step
from snnax.network.unroll import unroll as unroll
from snnax.network.written import Module as Module

__all__ = ["Graph", "Module", "Sequential", "step", "unroll"]
