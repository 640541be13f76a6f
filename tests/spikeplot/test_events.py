"""Pictures of spike trains: what is drawn is what fired, in seconds."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib import pyplot

from snnax import event, spikeplot
from snnax.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def trains(samples=1):
    return event.from_lists([[[2e-3, 5e-3], [], [1e-3]]] * samples)


def points(ax):
    return sorted(map(tuple, np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections]).tolist()))


def simulation():
    neurons = event.LIFParameters(refractory=float("inf"))
    network = event.Network(
        [event.Population("hidden", 2, neurons), event.Population("out", 3, neurons)],
        [
            event.Projection("in", "hidden", jnp.full((1, 2), 5.0)),
            event.Projection("hidden", "out", jnp.full((2, 3), 4.0)),
        ],
    )
    return event.simulate(network, {"in": event.trains(jnp.zeros((1, 1)))}, t_max=0.05)


def test_a_dot_for_each_spike():
    ax = spikeplot.raster(trains())
    np.testing.assert_allclose(points(ax), [(1e-3, 2), (2e-3, 0), (5e-3, 0)], rtol=1e-6)
    assert ax.get_xlabel() == "time (s)" and ax.get_ylim() == (-0.5, 2.5)


def test_populations_stand_one_above_the_other():
    found = simulation()
    ax = spikeplot.raster(found)
    assert [neuron for _, neuron in sorted(points(ax), key=lambda p: p[1])] == [0, 1, 2, 3, 4]
    assert [text.get_text() for text in ax.texts] == ["hidden", "out"]


def test_a_neuron_with_more_spikes_than_its_budget_is_marked():
    cut = event.from_lists([[[1e-3, 2e-3], [3e-3]]], max_spikes=1)
    arrows = spikeplot.raster(cut).collections[-1].get_offsets()
    np.testing.assert_allclose(arrows, [[1e-3, 0]], rtol=1e-6)


def test_nothing_fired():
    assert spikeplot.raster(event.from_lists([[[], []]])).get_xlim()[1] > 0


def test_a_panel_for_each_population():
    figure = spikeplot.activity(simulation())
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "hidden: 2 neurons, 2 spikes",
        "out: 3 neurons, 3 spikes",
    ]
    assert len(spikeplot.activity({"a": trains()}).axes) == 1


def test_one_sample_is_drawn():
    with pytest.raises(ShapeError, match=r"sample\(0\)"):
        spikeplot.raster(trains(2))
    assert len(points(spikeplot.raster(trains(2).sample(1)))) == 3


@pytest.mark.parametrize("picture", [spikeplot.traces, spikeplot.animator, spikeplot.spike_count])
def test_pictures_of_steps_say_how_to_get_them(picture):
    with pytest.raises(ArgumentError, match="to_raster"):
        picture(trains())
