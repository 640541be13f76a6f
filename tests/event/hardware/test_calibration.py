"""Calibration: it finds the factors that a mock has drawn, and corrects them; a chip of one's own needs two methods."""

import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError
from snnax.event.hardware import Chip, MockChip, calibrate


def test_it_finds_what_is_wrong_and_corrects_it():
    chip = MockChip((2, 30), jitter=1e-9, bias=1e-7, threshold_spread=0.1, clock_spread=0.1)
    found = calibrate(chip, repeats=8)
    assert abs(found.threshold[0] - chip.thresholds[0]).max() < 0.01
    assert abs(found.clock[0] - chip.clocks[0]).max() < 0.02
    assert abs(found.delay[0] - 1e-7).max() < 2e-8
    after = calibrate(found.corrected(chip), repeats=8).spread()
    assert found.spread()["threshold"] > 0.05 and after["threshold"] < 0.01 and after["clock"] < 0.01


class Fixed(Chip):
    """Fires at one time, or never."""

    sizes, parameters, t_max = (1, 2), event.LIFParameters(), 1e-3

    def layer(self, index, times, weights):
        return np.broadcast_to(np.array([[5e-4], [np.inf]]), (len(times), 2, 1))

    def programmed(self, index, weights):
        return weights


def test_a_neuron_that_never_fires_is_not_measured():
    assert np.isnan(calibrate(Fixed()).threshold[0][1])


def test_a_chip_without_trims_says_so():
    with pytest.raises(ArgumentError, match=r"Fixed has no method trimmed\(index, threshold, clock\)"):
        calibrate(Fixed()).corrected(Fixed())


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"chip": 3}, r"calibrate\(chip=3"),
        ({"strengths": (5.0, 6.0, 6.0)}, "at least 3 different ones"),
        ({"repeats": 0}, r"calibrate\(repeats=0"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, word):
    with pytest.raises(ArgumentError, match=word):
        calibrate(**{"chip": Fixed(), **given})
