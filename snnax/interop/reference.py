"""The reference simulator under its public name: NIR's equations in float64 NumPy, which judge both sides."""

from snnax.interop.simulator import ReferenceSide, Simulation, simulate

__all__ = ["ReferenceSide", "Simulation", "simulate"]
