"""The bars of ``spikeplot.synops`` are what was counted."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from snnax import spikeplot
from snnax.errors import ArgumentError
from snnax.operations.result import LayerOperations, SynapticOperations

LAYERS = (
    LayerOperations("conv", "convolution", dense=400, macs=100, acs=60, active=10, inputs=40),
    LayerOperations("fc", "dense", dense=80, macs=0, acs=2, active=1, inputs=40),
)


def test_the_bars_are_the_counts_of_one_sample():
    given = Figure().subplots()
    ax = spikeplot.synops(SynapticOperations(LAYERS, (), (), samples=2), given)
    ax.figure.draw_without_rendering()
    assert ax is given
    dense, macs, acs = ([bar.get_width() for bar in bars] for bars in ax.containers)
    assert (dense, macs, acs) == ([200, 40], [50, 0], [30, 1])
    np.testing.assert_array_equal([bar.get_x() for bar in ax.containers[2]], macs)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["conv", "fc"]
    assert [text.get_text() for text in ax.texts] == ["40 %", "2.5 %"]


def test_nothing_counted_is_no_picture():
    with pytest.raises(ArgumentError, match="no layers"):
        spikeplot.synops(SynapticOperations((), (), (), samples=2))
