"""Films: each frame shows its step, they are saved without ffmpeg, and nothing global is touched."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")
import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from snnax import spikeplot
from snnax.errors import ArgumentError, MissingDependencyError, ShapeError

DATA = np.arange(24, dtype=np.float32).reshape(4, 3, 2)


def shown(anim, ax):
    """The image of each frame; drawing them also tells matplotlib that the animation was used."""
    pictures = []
    anim._init_draw()
    for frame in anim.new_frame_seq():
        anim._draw_frame(frame)
        pictures.append(np.array(ax.images[0].get_array()))
    return pictures


@pytest.mark.parametrize("library", ["numpy", "jax", "torch", "torch with gradient", "bool", "bfloat16"])
def test_each_frame_is_the_image_of_its_step(library):
    data = DATA > 7 if library == "bool" else DATA
    expected = data
    if library.startswith("torch"):
        data = pytest.importorskip("torch").tensor(DATA, requires_grad="gradient" in library)
    elif library in ("jax", "bfloat16"):
        data = jnp.asarray(DATA, jnp.bfloat16 if library == "bfloat16" else float)
    ax = Figure().add_subplot()
    pictures = shown(spikeplot.animator(data, ax.figure, ax), ax)
    np.testing.assert_array_equal(pictures, expected)
    assert len(ax.images) == 1
    assert ax.images[0].get_clim() == (float(expected.min()), float(expected.max()))
    assert not ax.axison


def test_num_steps_interval_and_colours():
    ax = Figure().add_subplot()
    anim = spikeplot.animator(DATA, ax=ax, num_steps=2, interval=100, cmap="gray")
    np.testing.assert_array_equal(shown(anim, ax), DATA[:2])
    assert anim._interval == 100
    assert ax.images[0].get_cmap().name == "gray"
    assert ax.images[0].get_clim() == (0, 23), "one scale for all steps, as in snnTorch"


@pytest.mark.parametrize("title", ["", "digit 7"])
def test_the_title_counts_steps_in_axes_of_its_own(title):
    given = Figure().add_subplot(title=title)
    shown(spikeplot.animator(DATA, ax=given), given)
    assert given.get_title() == title
    plt.figure().add_subplot(title=title)
    own = spikeplot.animator(DATA)
    ax = own._fig.axes[0]
    shown(own, ax)
    assert ax.get_title() == (title or "time step 3")
    plt.close("all")


@pytest.mark.parametrize("given", ["nothing", "figure", "axes", "both"])
def test_the_figure_is_the_one_given(given):
    fig = Figure()
    ax = None if given == "figure" else fig.add_subplot()
    arguments = {"nothing": {}, "figure": {"fig": fig}, "axes": {"ax": ax}, "both": {"fig": fig, "ax": ax}}
    anim = spikeplot.animator(DATA, **arguments[given])
    anim._init_draw()
    assert (anim._fig is fig) == (given != "nothing")
    assert len(anim._fig.axes) == 1


def test_it_is_saved_as_gif_without_ffmpeg(tmp_path):
    path = tmp_path / "spikes.gif"
    spikeplot.animator(DATA, interval=200).save(path, writer="pillow")
    with Image.open(path) as film:
        assert film.n_frames == len(DATA)
        assert film.info["duration"] == 200
        first = np.array(film.convert("RGB"))
        film.seek(3)
        assert not np.array_equal(np.array(film.convert("RGB")), first)


def test_where_ffmpeg_is_missing_no_writer_need_be_named(tmp_path, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", "no such program")
    path = tmp_path / "spikes.gif"
    spikeplot.animator(DATA).save(path)
    with Image.open(path) as film:
        assert film.n_frames == len(DATA)


def test_a_silent_film():
    ax = Figure().add_subplot()
    np.testing.assert_array_equal(
        shown(spikeplot.animator(np.zeros((2, 2, 2)), ax=ax), ax), np.zeros((2, 2, 2))
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spikeplot.animator(DATA[0]), ShapeError, r"\(3, 2\).*\[T, H, W\].*data\[:, 0"),
        (lambda: spikeplot.animator(DATA[:0]), ShapeError, r"T >= 1"),
        (lambda: spikeplot.animator(DATA, num_steps=5), ShapeError, "data has 4 steps"),
        (lambda: spikeplot.animator(DATA, num_steps=0), ArgumentError, "num_steps=0"),
        (lambda: spikeplot.animator(DATA, num_steps=True), ArgumentError, "num_steps=True"),
        (lambda: spikeplot.animator(DATA, interval=0), ArgumentError, "interval=0"),
        (
            lambda: spikeplot.animator(DATA, Figure(), Figure().add_subplot()),
            ArgumentError,
            "fig is not the figure",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingDependencyError, match=r"'matplotlib'.*\[plot\]"):
        spikeplot.animator(DATA)
