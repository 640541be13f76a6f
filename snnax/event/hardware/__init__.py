"""Networks on neuromorphic chips: what a lab implements, a mock, calibration, gradients at observed spikes."""

from snnax.event.hardware.calibration import Calibration, calibrate
from snnax.event.hardware.chip import Chip
from snnax.event.hardware.mock import MockChip
from snnax.event.hardware.replay import replayed, replayed_network

__all__ = ["Calibration", "Chip", "MockChip", "calibrate", "replayed", "replayed_network"]
