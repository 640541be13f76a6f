"""The pictures of one run hold the data that they were given, and touch nothing else."""

from __future__ import annotations

import sys

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from snnax import spikeplot
from snnax.errors import ArgumentError, MissingDependencyError, ShapeError

SPIKES = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32)
MEM = np.arange(12, dtype=np.float32).reshape(4, 3)


def points(ax):
    return {tuple(map(float, p)) for collection in ax.collections for p in collection.get_offsets()}


def draw(fig):
    """Run the layout: warnings about what does not fit are errors in the tests."""
    fig.canvas.draw()
    return fig


@pytest.mark.parametrize("library", ["numpy", "jax", "torch", "torch with gradient", "bool", "bfloat16"])
def test_raster_dots_are_the_spikes(library):
    data = SPIKES
    if library.startswith("torch"):
        data = pytest.importorskip("torch").tensor(SPIKES, requires_grad="gradient" in library)
    elif library != "numpy":
        data = jnp.asarray(SPIKES, {"jax": float, "bool": bool, "bfloat16": jnp.bfloat16}[library])
    ax = spikeplot.raster(data)
    draw(ax.figure)
    assert points(ax) == {(0, 1), (1, 0), (2, 2), (3, 2)}
    assert ax.get_xlim() == (-0.5, 3.5) and ax.get_ylim() == (-0.5, 2.5)


def test_raster_of_one_neuron():
    assert points(spikeplot.raster(SPIKES[:, 0])) == {(1, 0)}


def test_raster_draws_into_the_given_axes_with_the_given_style():
    ax = Figure().add_subplot()
    assert spikeplot.raster(SPIKES, ax, s=99, c="red") is ax
    assert ax.collections[0].get_sizes() == [99]
    np.testing.assert_array_equal(ax.collections[0].get_facecolor(), [[1, 0, 0, 1]])


def test_a_silent_layer_is_an_empty_raster():
    ax = spikeplot.raster(np.zeros((4, 3)))
    draw(ax.figure)
    assert points(ax) == set() and ax.get_xlim() == (-0.5, 3.5)


def test_traces_are_the_membranes_with_the_spikes_on_top():
    fig = draw(spikeplot.traces(MEM, SPIKES, dim=(2, 2), spk_height=2))
    assert len(fig.axes) == 4
    for neuron in range(3):
        ax = fig.axes[neuron]
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), MEM[:, neuron])
        bars = ax.collections[0].get_segments()
        at = np.flatnonzero(SPIKES[:, neuron])
        expected = [[[t, MEM[t, neuron]], [t, MEM[t, neuron] + 2]] for t in at]
        np.testing.assert_array_equal(np.array(bars), expected)
        assert ax.get_title() == f"neuron {neuron}"
    assert not fig.axes[3].axison


def test_traces_with_titles_without_spikes_in_a_given_figure():
    fig = Figure()
    assert spikeplot.traces(MEM, dim=(1, 2), titles=["a", "b"], fig=fig) is fig
    assert [ax.get_title() for ax in fig.axes] == ["a", "b"]
    assert not fig.axes[0].collections


def test_panel_shares_time_and_shows_the_threshold():
    fig = draw(spikeplot.panel(MEM[:, 0], MEM[:, 1], SPIKES[:, 2], threshold=5))
    current, membrane, spikes = fig.axes
    np.testing.assert_array_equal(current.lines[0].get_ydata(), MEM[:, 0])
    np.testing.assert_array_equal(membrane.lines[0].get_ydata(), MEM[:, 1])
    assert list(membrane.lines[1].get_ydata()) == [5, 5] and membrane.lines[1].get_linestyle() == "--"
    np.testing.assert_array_equal(spikes.collections[0].get_positions(), [2, 3])
    assert current.get_xlim() == membrane.get_xlim() == spikes.get_xlim()
    assert spikes.get_xlabel() == "time step"


def test_panel_without_spikes_and_threshold():
    fig = draw(spikeplot.panel(MEM[:, :1], MEM[:, :1], threshold=None))
    assert len(fig.axes) == 2 and len(fig.axes[1].lines) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: spikeplot.raster(np.ones((4, 2, 3))),
            ShapeError,
            r"\(4, 2, 3\).*data\[:, 0\]",
        ),
        (lambda: spikeplot.raster(1.0), ShapeError, r"shape \(\)"),
        (
            lambda: spikeplot.traces(MEM, SPIKES[:2]),
            ShapeError,
            r"spk has shape \(2, 3\) and data",
        ),
        (lambda: spikeplot.traces(MEM, titles=["a"]), ArgumentError, "1 entries for 3 panels"),
        (lambda: spikeplot.panel(MEM, MEM), ShapeError, r"one neuron.*cur\[:, n\]"),
        (lambda: spikeplot.panel(MEM[:, 0], MEM[:3, 0]), ShapeError, r"mem has shape \(3, 1\)"),
    ],
)
def test_bad_shapes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_pyplot_is_not_involved():
    assert not any("pyplot" in str(vars(m).get("plt", "")) for n, m in sys.modules.items() if "snnax" in n)
    plt = pytest.importorskip("matplotlib.pyplot")
    before = plt.get_fignums()
    spikeplot.raster(SPIKES)
    spikeplot.traces(MEM)
    spikeplot.panel(MEM[:, 0], MEM[:, 1])
    assert plt.get_fignums() == before


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"'matplotlib'.*\[plot\]"):
        spikeplot.raster(SPIKES)
