"""The pictures of one run hold the data that they were given, and touch nothing else."""

from __future__ import annotations

import sys
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")
import matplotlib
import matplotlib.pyplot as plt
from helpers.snntorch_names import without_pandas
from matplotlib import markers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from snnax import datasets, spikeplot, surrogate
from snnax.errors import ArgumentError, MissingDependencyError, ShapeError
from snnax.operations.result import LayerOperations, SynapticOperations
from snnax.spikeplot import canvas

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


def test_axes_of_the_users_stay_as_they_are():
    fig, (above, ax) = plt.subplots(2, sharex=True)
    above.set_xlim(0, 50)
    ax.set(title="mine", xlabel="ms", ylim=(-3, 7))
    spikeplot.raster(SPIKES, ax, c="black")
    draw(fig)
    assert above.get_xlim() == ax.get_xlim() == (0, 50) and ax.get_ylim() == (-3, 7)
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("mine", "ms", "")
    assert all(spine.get_visible() for spine in ax.spines.values())
    current = plt.figure().add_subplot(xlabel="ms", yticks=[1])
    spikeplot.raster(SPIKES)
    assert current.get_xlabel() == "ms" and list(current.get_yticks()) == [1]


@pytest.mark.parametrize("given", [True, False])
def test_one_neuron_has_one_tick_and_few_have_whole_ones(given):
    ax = plt.figure().add_subplot() if given else None
    ax = spikeplot.raster(SPIKES[:, 0], ax)
    assert list(ax.get_yticks()) == [0]
    ax = spikeplot.raster(SPIKES, plt.figure().add_subplot() if given else None)
    draw(ax.figure)
    assert all(tick == int(tick) for tick in ax.get_yticks())


def test_a_silent_layer_is_an_empty_raster():
    ax = spikeplot.raster(np.zeros((4, 3)))
    draw(ax.figure)
    assert points(ax) == set() and ax.get_xlim() == (-0.5, 3.5)


def test_traces_are_the_membranes_with_the_spikes_on_top():
    fig = draw(spikeplot.traces(MEM, SPIKES, dim=(2, 2), spk_height=2))
    assert len(fig.axes) == 4 and not any(ax.axison or ax.get_title() for ax in fig.axes)
    for neuron in range(3):
        (line,) = fig.axes[neuron].lines
        np.testing.assert_array_equal(line.get_ydata(), MEM[:, neuron] + 2 * SPIKES[:, neuron])
    assert len({ax.get_ylim() for ax in fig.axes}) == 1 and not fig.axes[3].lines


@pytest.mark.parametrize("titles", [None, ["a", "b"]])
def test_traces_are_snntorchs_to_the_pixel(titles):
    torch = pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    with without_pandas():
        import snntorch.spikeplot as theirs

    def pixels(library, convert):
        fig = plt.figure(facecolor="w", figsize=(4, 2))
        library.traces(convert(MEM), convert(SPIKES), dim=(1, 2), spk_height=3, titles=titles)
        agg = FigureCanvasAgg(fig)
        agg.draw()
        plt.close(fig)
        return np.asarray(agg.buffer_rgba())

    np.testing.assert_array_equal(pixels(spikeplot, np.asarray), pixels(theirs, torch.tensor))


def test_traces_with_axes_are_the_membranes_with_the_spikes_as_bars():
    fig = draw(spikeplot.traces(MEM, SPIKES, dim=(2, 2), spk_height=2, axes=True))
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


def test_the_times_below_narrow_traces_do_not_meet():
    figure = Figure(figsize=(8, 2), layout="constrained")
    (first, *_) = draw(spikeplot.traces(np.zeros((200, 5)), dim=(1, 5), fig=figure, axes=True)).axes
    boxes = [label.get_window_extent() for label in first.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 3
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


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


def film(animation):
    animation._init_draw()  # matplotlib warns of a film that nobody saw
    return animation._fig


PICTURES = {
    "raster": lambda: spikeplot.raster(SPIKES).figure,
    "traces": lambda: spikeplot.traces(MEM, SPIKES),
    "panel": lambda: spikeplot.panel(MEM[:, 0], MEM[:, 1], SPIKES[:, 0]),
    "spike_count": lambda: spikeplot.spike_count(SPIKES).figure,
    "animator": lambda: film(spikeplot.animator(SPIKES[None])),
    "activity": lambda: spikeplot.activity({"lif": {"spk": SPIKES}, "out": {"mem": MEM}}),
    "history": lambda: spikeplot.history(
        {"loss": [2.0, 1.0], "accuracy": [0.5, 0.75], "step_loss": [2.5, 1.5, 0.5]}
    ),
    "crossvalidation": lambda: spikeplot.crossvalidation([spikeplot.LayerPicture("lif", SPIKES, SPIKES)]),
    "network_graph": lambda: (
        spikeplot.network_graph({"nodes": [{"name": "a"}], "edges": [["input", "a"]]}).figure
    ),
    "surrogate_gallery": lambda: spikeplot.surrogate_gallery({"atan": surrogate.atan()}, points=5)[0].figure,
    "neuron_gallery": lambda: spikeplot.neuron_gallery({}, np.ones(4))[0].figure,
    "synops": lambda: (
        spikeplot.synops(
            SynapticOperations((LayerOperations("fc", "dense", 8, 0, 4, 2, 4),), (), (), samples=1)
        ).figure
    ),
    "event_cloud": lambda: (
        spikeplot.event_cloud(
            datasets.Events(t=[0, 5, 9], x=[0, 1, 2], y=[2, 1, 0], p=[0, 1, 1], size=(3, 3))
        ).figure
    ),
}
OTHERS = {"LayerPicture"}


def test_every_picture_is_in_the_law():
    assert PICTURES.keys() | OTHERS == set(spikeplot.__all__)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_is_not_told_where_to_go_is_pyplots(name):
    """So that a notebook shows it, and ``plt.title``, ``plt.gcf`` and ``plt.show`` mean it."""
    drawn = PICTURES[name]()
    assert drawn is plt.gcf() and len(plt.get_fignums()) == 1
    assert drawn.axes
    draw(drawn)


@pytest.mark.parametrize("name", PICTURES)
def test_an_empty_figure_of_pyplot_is_drawn_into(name):
    figure = plt.figure(figsize=(9, 7))
    drawn = PICTURES[name]()
    assert drawn is figure and len(plt.get_fignums()) == 1
    assert tuple(figure.get_size_inches()) == (9, 7)
    draw(figure)


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_saved_is_none_of_pyplots_figures(name):
    with canvas.aside():
        PICTURES[name]()
    assert plt.get_fignums() == []


def test_pyplots_current_axes_are_drawn_into():
    fig, axes = plt.subplots(1, 2)
    plt.sca(axes[0])
    assert spikeplot.raster(SPIKES) is axes[0]
    plt.sca(axes[1])
    assert spikeplot.spike_count(SPIKES) is axes[1]
    plt.title("counts")
    assert axes[1].get_title() == "counts"
    assert plt.get_fignums() == [fig.number]


@pytest.mark.parametrize("first", ["traces", "panel", "activity"])
def test_the_panels_of_a_picture_are_not_drawn_over(first):
    before = PICTURES[first]()
    lines = [len(ax.get_children()) for ax in before.axes]
    assert spikeplot.raster(SPIKES).figure is not before
    assert PICTURES[first]() is not before
    assert [len(ax.get_children()) for ax in before.axes] == lines


def ink(ax):
    """Dark pixels of the axes' content."""
    ax.axis("off")
    agg = FigureCanvasAgg(ax.figure)
    agg.draw()
    return int((np.asarray(agg.buffer_rgba())[..., :3].min(-1) < 128).sum())


def dots(draw_them, **style):
    spikes = np.zeros((50, 1), np.float32)
    spikes[::5] = 1
    ax = Figure(figsize=(6, 1)).add_subplot()
    draw_them(spikes, ax, **style)
    return ink(ax)


def theirs(spikes, ax, **style):
    """What snnTorch's ``raster`` does with one neuron."""
    ax.scatter(*np.nonzero(spikes), **style)


MARKERS = [m for m in markers.MarkerStyle.markers if m not in (None, "none", "None", " ", "", ",")]
EDGES = [{}, {"lw": 2}, {"linewidth": 2}, {"linewidths": 2}, {"edgecolors": "k"}, {"ec": "k"}, {"alpha": 0.9}]


@pytest.mark.parametrize("marker", [*MARKERS, "$S$", (5, 2), (5, 1)], ids=str)
def test_every_marker_is_visible(marker):
    seen = dots(theirs, s=49, c="black", marker=marker)
    assert dots(spikeplot.raster, s=100, c="black", marker=marker) > 0.8 * seen > 0


@pytest.mark.parametrize("marker", ["|", "o", "x"])
@pytest.mark.parametrize(
    "style",
    [*EDGES, {"c": "black"}, {"color": "k"}, {"fc": "k"}, {"facecolor": "k"}, {"facecolors": "none", "ec": "k"},
     {"c": "none", "edgecolors": "k"}, {"sizes": [90]}, {"s": [90] * 10}, {"marker": None}],
    ids=str,
)  # fmt: skip
def test_styles_under_all_their_names(marker, style):
    if marker != "o" and style.keys() & {"ec", "edgecolors"}:
        pytest.skip("lines have no edge: matplotlib warns")
    assert dots(spikeplot.raster, **{"s": 100, "marker": marker} | style) > 0


def test_the_default_marker_may_be_hollow():
    with matplotlib.rc_context({"scatter.marker": "|"}):
        assert dots(spikeplot.raster, s=100) > 0


def test_pyplots_defaults_stay_as_they_were():
    before = dict(matplotlib.rcParams)
    for picture in PICTURES.values():
        picture()
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingDependencyError, match=r"'matplotlib'.*\[plot\]"):
        spikeplot.raster(SPIKES)
