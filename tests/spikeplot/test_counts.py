"""Bars hold the counts that snnTorch's picture holds, still and in each frame of the film."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")
import matplotlib
from matplotlib.figure import Figure

from snnax import spikeplot
from snnax.errors import ArgumentError, ShapeError

SPIKES = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]], np.float32)


def widths(ax):
    return [bar.get_width() for bar in ax.containers[0]]


def shades(ax):
    return [patch for patch in ax.patches if patch.get_gid() == "shade"]


@pytest.mark.parametrize("library", ["numpy", "jax", "torch", "torch with gradient", "bool", "bfloat16"])
def test_a_bar_is_as_long_as_the_spikes_are_many(library):
    data = SPIKES
    if library.startswith("torch"):
        data = pytest.importorskip("torch").tensor(SPIKES, requires_grad="gradient" in library)
    elif library != "numpy":
        data = jnp.asarray(SPIKES, {"jax": float, "bool": bool, "bfloat16": jnp.bfloat16}[library])
    ax = spikeplot.spike_count(data)
    ax.figure.draw_without_rendering()
    assert widths(ax) == [4, 2, 0]
    assert ax.get_xlim() == (0, 4)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "1", "2"]


def test_labels_num_steps_and_given_axes():
    fig = Figure()
    ax = fig.add_subplot()
    assert spikeplot.spike_count(SPIKES, fig, ax, ["cat", "dog", "cow"], 3) is ax
    assert widths(ax) == [3, 1, 0] and ax.get_xlim() == (0, 3)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["cat", "dog", "cow"]
    assert len(fig.axes) == 1


@pytest.mark.parametrize("shaded", [True, False])
def test_every_second_row_is_shaded(shaded):
    ax = spikeplot.spike_count(SPIKES, gridshader=shaded)
    assert len(shades(ax)) == shaded


def test_one_neuron():
    assert widths(spikeplot.spike_count(SPIKES[:, 0])) == [4]


@pytest.mark.parametrize(("time_step", "label", "end"), [(False, None, None), (1e-3, "time (s)", 4e-3)])
def test_time_stands_above_in_seconds(time_step, label, end):
    ax = spikeplot.spike_count(SPIKES, time_step=time_step)
    ax.figure.draw_without_rendering()
    assert [a.get_xlabel() for a in ax.child_axes] == ([label] if label else [])
    assert ax.get_xlabel() == "spikes counted"
    if label:
        assert ax.child_axes[0].get_xlim() == pytest.approx((0, end))


@pytest.mark.parametrize("interpolate", [1, 3])
def test_the_film_counts_what_lies_behind_the_line(interpolate):
    ax = Figure().add_subplot()
    anim = spikeplot.spike_count(SPIKES, ax=ax, animate=True, interpolate=interpolate, interval=50)
    frames = list(anim.new_frame_seq())
    assert len(frames) == 4 * interpolate + 1
    assert anim._interval == 50
    anim._init_draw()
    for frame in frames:
        anim._draw_frame(frame)
        assert widths(ax) == SPIKES[: frame // interpolate].sum(axis=0).tolist()
        assert list(ax.lines[0].get_xdata()) == [frame / interpolate] * 2
    assert widths(ax) == [4, 2, 0], "the last frame shows all spikes"
    assert [a.get_xlabel() for a in ax.child_axes] == ["time step"]


def test_the_film_is_saved_without_ffmpeg(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "count.gif"
    spikeplot.spike_count(SPIKES, animate=True, time_step=1e-3).save(path, writer="pillow")
    with image.open(path) as film:
        assert film.n_frames == 5


def test_the_counts_are_those_of_snntorch():
    pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("snntorch.spikeplot")
    plt = pytest.importorskip("matplotlib.pyplot")
    with matplotlib.rc_context():
        fig, ax = plt.subplots()
        theirs.spike_count(torch.tensor(SPIKES), fig, ax, ["a", "b", "c"], num_steps=3)
        counts = ax.lines[0].get_xdata()
        plt.close(fig)
    assert widths(spikeplot.spike_count(SPIKES, labels=["a", "b", "c"], num_steps=3)) == list(counts)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"data": SPIKES[:, None]}, ShapeError, r"\(4, 1, 3\).*data\[:, 0\]"),
        ({"labels": ["a"]}, ArgumentError, "1 entries for 3 neurons"),
        ({"num_steps": 9}, ShapeError, "data has 4 steps"),
        ({"interpolate": 0}, ArgumentError, "interpolate=0"),
        ({"interval": -1}, ArgumentError, "interval=-1"),
        ({"time_step": True}, ArgumentError, "time_step=True"),
        ({"time_step": -1.0}, ArgumentError, "time_step=-1.0"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        spikeplot.spike_count(**{"data": SPIKES, **arguments})
