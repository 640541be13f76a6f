"""Recordings in pictures: each event is a dot at its time and place."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from helpers.recordings import camera, cochlea
from matplotlib import pyplot

from snnax import spikeplot
from snnax.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def test_a_dot_for_each_event_in_space_and_time():
    events = camera(60)
    brighter, darker = spikeplot.event_cloud(events).collections
    x, y, z = brighter._offsets3d
    part = events[events.p]
    np.testing.assert_allclose(x, part.t / 1e3)
    np.testing.assert_array_equal(y, part.x)
    np.testing.assert_array_equal(z, part.y)
    assert len(darker._offsets3d[0]) == len(events) - len(part)


def test_of_very_many_only_some_are_drawn():
    drawn = spikeplot.event_cloud(camera(50_001)).collections
    assert sum(len(c._offsets3d[0]) for c in drawn) == 16_667
    spikeplot.event_cloud(camera(0))


def test_channels_over_time():
    events = cochlea(60)
    ax = spikeplot.raster(events)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), np.stack([events.t / 1e6, events.x], 1))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_ylim()) == ("time (s)", "channel", (-0.5, 699.5))


def test_what_is_refused():
    with pytest.raises(ShapeError, match=r"spikeplot\.raster"):
        spikeplot.event_cloud(cochlea())
    with pytest.raises(ArgumentError, match="in three dimensions"):
        spikeplot.event_cloud(camera(), pyplot.figure().add_subplot())
    with pytest.raises(ArgumentError, match="event_cloud"):
        spikeplot.event_cloud(np.ones((3, 4)))


def test_what_comes_after_it_is_drawn_elsewhere():
    cloud = spikeplot.event_cloud(camera(60))
    assert spikeplot.spike_count(np.eye(3)).figure is not cloud.figure
