"""The neutral referee: NIR's equations in float64 NumPy, readable beside the specification of NIR.

Nothing here shares code with :mod:`snnax.dynamics`, which it judges.
"""

from snnax.interop.simulator.side import ReferenceSide
from snnax.interop.simulator.simulation import Simulation, simulate

__all__ = ["ReferenceSide", "Simulation", "simulate"]
