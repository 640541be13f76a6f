"""Cross-validation of two sides: same spikes, or the first place where they part and why."""

from snnax.interop.compare.report import Cause, Divergence, GradientReport, LayerReport, Numbers, Report
from snnax.interop.compare.run import compare

__all__ = ["Cause", "Divergence", "GradientReport", "LayerReport", "Numbers", "Report", "compare"]
