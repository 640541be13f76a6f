"""Networks and the time loop."""

from snnax.network.containers import Graph as Graph
from snnax.network.containers import Sequential as Sequential
from snnax.network.streaming import step as step
from snnax.network.unroll import unroll as unroll

__all__ = ["Graph", "Sequential", "step", "unroll"]
