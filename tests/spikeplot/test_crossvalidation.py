"""The picture of a cross-validation shows every difference, says how many, and marks the first."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from snnax.errors import ArgumentError, MissingDependencyError, ShapeError
from snnax.spikeplot import LayerPicture, canvas, crossvalidation

RNG = np.random.default_rng(0)


def flipped(spikes, *places):
    result = spikes.copy()
    for place in places:
        result[place] = 1 - result[place]
    return result


def spikes(steps=20, neurons=6):
    return (np.random.default_rng(1).random((steps, neurons)) < 0.3).astype(np.float32)


def scattered(ax):
    """Points of each collection: both, only a, only b, and the ring if there is one."""
    return [{tuple(map(int, p)) for p in c.get_offsets()} for c in ax.collections]


def where(mask):
    return {tuple(map(int, p)) for p in np.argwhere(mask)}


def legend(fig):
    return [text.get_text() for text in fig.legends[0].get_texts()]


def draw(fig):
    fig.canvas.draw()
    return fig


def test_spikes_of_both_and_of_one_side_are_apart():
    a = spikes()
    b = flipped(a, (7, 2), (7, 3), (12, 0))
    above, below = draw(crossvalidation([LayerPicture("lif", a, b, a, b)], ("one", "two"))).axes
    both, only_a, only_b, ring = scattered(above)
    assert both == where((a == 1) & (b == 1))
    assert only_a == where((a == 1) & (b == 0)) and only_b == where((a == 0) & (b == 1))
    assert len(only_a) + len(only_b) == 3
    assert ring == {(7, 2)}
    assert above.get_title(loc="left") == "lif\n3 of 120 differ; they part at step 7, neuron 2"
    for ax in (above, below):
        assert 7.0 in [line.get_xdata()[0] for line in ax.lines]
    assert legend(above.figure) == [
        f"both ({len(both)})",
        f"only one ({len(only_a)})",
        f"only two ({len(only_b)})",
        "where they part",
    ]


def test_the_three_kinds_differ_in_colour_and_in_shape():
    a = spikes()
    above = crossvalidation([LayerPicture("lif", a, flipped(a, (3, 3), (4, 4)))]).axes[0]
    kinds = above.collections[:3]
    assert {to_hex(c.get_edgecolor()[0]).upper() for c in kinds} == {canvas.PALE, canvas.BLUE, canvas.ORANGE}
    assert len({c.get_paths()[0].vertices.tobytes() for c in kinds}) == 3


def test_equal_runs_say_so_and_mark_nothing():
    a = spikes()
    above, below = draw(crossvalidation([LayerPicture("lif", a, a, a, a, status="agree")])).axes
    assert above.get_title(loc="left") == f"lif: agree\nall {int(a.sum())} spikes the same"
    assert len(above.collections) == 3 and not above.lines and not below.lines
    assert "0: membranes equal" in below.texts[0].get_text()
    assert "where they part" not in legend(above.figure)


def test_the_membrane_difference_is_the_largest_of_each_step():
    a, mem = spikes(), RNG.normal(size=(20, 6))
    other = mem.copy()
    other[5, 1] += 1e-6
    other[5, 2] -= 1e-5
    other[9, 0] += 1e-7
    below = draw(crossvalidation([LayerPicture("lif", a, a, mem, other)])).axes[1]
    values = below.patches[0].get_data().values
    floor = below.get_ylim()[0]
    assert values[5] == pytest.approx(1e-5) and values[9] == pytest.approx(1e-7)
    assert np.delete(values, [5, 9]) == pytest.approx(floor) and floor < 1e-7
    assert below.get_yscale() == "log" and below.get_ylim()[1] > 1e-5
    assert below.texts[0].get_text() == "largest 1e-05"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_membrane_that_is_not_finite_is_said(bad):
    mem = np.zeros((20, 6))
    other = mem.copy()
    other[3, 0], other[8:, 1] = 0.25, bad
    below = draw(crossvalidation([LayerPicture("lif", mem, mem, mem, other)])).axes[1]
    assert below.texts[0].get_text() == "not finite from step 8"
    assert below.patches[0].get_data().values[8] == below.get_ylim()[1]


@pytest.mark.parametrize("step", [0, 3, 10, 19])
def test_the_dashed_line_does_not_cross_the_number(step):
    a = spikes()
    fig = crossvalidation([LayerPicture("lif", a, flipped(a, (step, 2)), a, a + 1e-6)])
    FigureCanvasAgg(fig)
    below = draw(fig).axes[1]
    mark = below.transData.transform((step, 1e-6))[0]
    text = below.texts[0].get_window_extent()
    assert not text.x0 <= mark <= text.x1


def test_a_run_without_membranes_is_drawn():
    a = spikes()
    below = draw(crossvalidation([LayerPicture("lif", a, a, a)])).axes[1]
    assert below.texts[0].get_text() == "membranes not recorded"


def test_a_place_found_layer_by_layer_is_marked_though_all_spikes_agree():
    a = spikes()
    above = crossvalidation([LayerPicture("lif", a, a, first=(4, 5))]).axes[0]
    assert above.get_title(loc="left").endswith("layer by layer they part at step 4, neuron 5")
    assert scattered(above)[3] == {(4, 5)}


def test_graded_spikes_of_another_height_differ():
    a = spikes() * 0.5
    b = a.copy()
    step, neuron = np.argwhere(a)[4]
    b[step, neuron] = 0.75
    _, only_a, only_b, ring = scattered(crossvalidation([LayerPicture("lif", a, b)]).axes[0])
    assert only_a == only_b == ring == {(step, neuron)}


@pytest.mark.parametrize("most", [1, 8, 100])
def test_of_a_large_layer_the_differing_neurons_and_an_even_choice_are_drawn(most):
    a = np.ones((5, 3000), np.float32)
    b = flipped(a, (2, 1234), (3, 2999), (4, 17))
    above = draw(crossvalidation([LayerPicture("big", a, b)], max_neurons=most)).axes[0]
    both, only_a, only_b, ring = scattered(above)
    rows = {neuron for _, neuron in both | only_a | only_b}
    assert len(rows) == most and 1234 in rows and ring == {(2, 1234)}
    assert above.get_ylabel() == f"neuron ({most} of 3000 shown)"
    assert above.get_title(loc="left").endswith("3 of 15,000 differ; they part at step 2, neuron 1234")
    assert legend(above.figure)[1] == "only snnTorch (3)"
    if most > 3:
        assert {17, 1234, 2999} <= rows
        assert np.diff(sorted(rows)).max() <= 2 * 3000 / (most - 3)


def test_when_more_differ_than_fit_the_first_is_among_them():
    a = np.ones((5, 3000), np.float32)
    b = 1 - a
    above = crossvalidation([LayerPicture("big", a, b, first=(0, 1501))], max_neurons=10).axes[0]
    assert (0, 1501) in scattered(above)[1]
    assert len({neuron for _, neuron in scattered(above)[1]}) == 10


@pytest.mark.parametrize(("count", "steps", "columns"), [(1, 25, 1), (2, 25, 2), (5, 25, 2), (3, 400, 1)])
def test_layers_stand_in_order_and_nothing_overlaps(count, steps, columns):
    a = spikes(steps)
    long = "DISAGREE: reset mechanism, subtract on one side and zero on the other, from the first reset on"
    layers = [
        LayerPicture(f"layer{i}", a, flipped(a, (5, 2)), a, a + 1e-6, status=long) for i in range(count)
    ]
    fig = crossvalidation(layers)
    FigureCanvasAgg(fig)
    draw(fig)
    assert [ax.get_title(loc="left").split(":")[0] for ax in fig.axes[::2]] == [
        f"layer{i}" for i in range(count)
    ]
    page = fig.bbox
    boxes = [ax.get_tightbbox() for ax in fig.axes] + [fig.legends[0].get_window_extent()]
    for i, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert not any(box.padded(-1).overlaps(other) for other in boxes[:i])
    assert len({round(ax.get_position().x0, 1) for ax in fig.axes}) == columns


def test_it_draws_into_a_given_figure_and_writes_a_file(tmp_path):
    fig = Figure(figsize=(9, 6))
    assert crossvalidation([LayerPicture("lif", spikes(), spikes())], fig=fig) is fig
    fig.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_torch_tensors_are_read():
    torch = pytest.importorskip("torch")
    a = torch.tensor(spikes(), requires_grad=True)
    above = crossvalidation([LayerPicture("lif", a, a, a, a * 2)]).axes[0]
    assert scattered(above)[0] == where(spikes())


A = spikes()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: crossvalidation([]), ArgumentError, "no layers"),
        (
            lambda: crossvalidation([LayerPicture("x", A, A)], max_neurons=0),
            ArgumentError,
            r"max_neurons=0",
        ),
        (lambda: crossvalidation([LayerPicture("x", A, A[:3])]), ShapeError, r"x: spk_b has shape \(3, 6\)"),
        (lambda: crossvalidation([LayerPicture("x", A, A, A, A[:, :2])]), ShapeError, r"x: mem_b has shape"),
        (
            lambda: crossvalidation([LayerPicture("x", A[None], A)]),
            ShapeError,
            r"x: spk_a.*spk_a\[:, 0\]",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingDependencyError, match=r"\[plot\]"):
        crossvalidation([LayerPicture("x", A, A)])
