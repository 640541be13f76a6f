"""Pictures of networks and runs: every node and edge is there, nothing covers anything, and the step of delay shows."""

from __future__ import annotations

import itertools
import json
import random

import flax.linen as nn
import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import snnax as snn
from snnax import cli, interop, spikeplot
from snnax.errors import ArgumentError, ShapeError
from snnax.spikeplot.canvas import BLUE
from snnax.spikeplot.layout import layout


def nodes(*names, kind="Linear"):
    return [{"name": name, "type": kind, "becomes": kind, "shape": [3, 4]} for name in names]


def parts(ax, kind):
    return [patch for patch in ax.patches if isinstance(patch, kind)]


def boxes(ax):
    """Left, right, bottom and top by name: the first line of a box is in bold."""
    names = [text for text in ax.texts if text.get_fontweight() == "bold"]
    found = {}
    for patch in parts(ax, FancyBboxPatch):
        x, y, w, h = patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()
        inside = [t for t in names if x < t.get_position()[0] < x + w and y < t.get_position()[1] < y + h]
        assert len(inside) == 1
        found[inside[0].get_text().replace("\\", "")] = (x, x + w, y, y + h)
    return found


def ends(ax):
    """The boxes that each arrow joins, and whether it is dashed."""
    places = boxes(ax)
    found = []
    for arrow in parts(ax, FancyArrowPatch):
        points = arrow._path_original.vertices
        joined = []
        for x, y in (points[0], points[-1]):
            joined.append(
                next(
                    name
                    for name, (left, right, bottom, top) in places.items()
                    if left - 1e-6 <= x <= right + 1e-6 and bottom - 1e-6 <= y <= top + 1e-6
                )
            )
        found.append((*joined, arrow.get_linestyle() in ("dashed", "--")))
    return sorted(found)


def drawn(ax):
    ax.figure.canvas.draw()
    return ax


def test_a_chain_stands_in_one_column():
    net = snn.Sequential([nn.Dense(4), snn.Leaky(0.9, init_hidden=True), snn.Leaky(0.5, init_hidden=True)])
    ax = drawn(spikeplot.network_graph(net))
    chain = ["input", "layers_0", "layers_1", "layers_2", "output"]
    assert ends(ax) == sorted((a, b, False) for a, b in itertools.pairwise(chain))
    places = boxes(ax)
    middles = {round((places[name][0] + places[name][1]) / 2, 6) for name in chain}
    assert len(middles) == 1
    assert sorted(places, key=lambda n: -places[n][2]) == chain
    assert {text.get_text() for text in ax.texts} >= {"Dense", "Leaky"}


CYCLE = {
    "nodes": [*nodes("fc", "w"), *nodes("lif", kind="LIF")],
    "edges": [["input", "fc"], ["fc", "lif"], ["lif", "w"], ["w", "lif"], ["lif", "lif"], ["lif", "output"]],
    "input": [2, 3, 4],
}


def test_what_closes_a_cycle_is_dashed():
    ax = drawn(spikeplot.network_graph(CYCLE))
    assert ("w", "lif", True) in ends(ax) and ("lif", "lif", True) in ends(ax)
    assert [end for end in ends(ax) if end[2]] == [("lif", "lif", True), ("w", "lif", True)]
    texts = [text.get_text() for text in ax.texts]
    assert "dashed: one step later" in texts and "2 × 3 × 4" in texts and "3 × 4" in texts


def test_the_delay_is_shown_where_the_network_has_it():
    ax = drawn(spikeplot.network_graph({**CYCLE, "delayed": [["lif", "w"]]}))
    assert [end for end in ends(ax) if end[2]] == [("lif", "w", True)]


def test_a_model_shows_its_own_delays_and_outputs():
    net = snn.Graph(
        {"fc": nn.Dense(3), "lif": snn.Leaky(0.9, init_hidden=True, output=True), "w": nn.Dense(3),
         "rec": snn.RLeaky(0.9, linear_features=3, init_hidden=True)},
        [("input", "fc"), ("fc", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "rec"), ("rec", "output")],
        outputs=[("lif", "mem"), ("rec", "out")],
    )  # fmt: skip
    late = {(s, t) for t, entries in net.plan().sources.items() for s, delayed in entries if delayed}
    found = ends(drawn(spikeplot.network_graph(net)))
    assert {(a, b) for a, b, dashed in found if dashed} == late | {("rec", "rec")}
    assert ("lif", "output", False) in found and ("rec", "output", False) in found


def test_neurons_stand_out():
    ax = spikeplot.network_graph(
        {"nodes": [*nodes("fc"), *nodes("lif", kind="CubaLIF")], "edges": [["fc", "lif"]]}
    )
    colours = [patch.get_edgecolor() for patch in parts(ax, FancyBboxPatch)]
    assert [same_color(c, BLUE) for c in colours] == [False, True]


def random_graph(seed):
    rng = random.Random(seed)
    names = [f"n{i}" for i in range(rng.randint(3, 25))]
    edges = [["input", names[0]]]
    edges += [[names[rng.randrange(i)], names[i]] for i in range(1, len(names))]
    edges += [[rng.choice(names), rng.choice(names)] for _ in range(len(names) // 2)]
    return {"nodes": nodes(*names), "edges": [*edges, [names[-1], "output"]]}


@pytest.mark.parametrize("seed", range(12))
def test_no_box_is_covered(seed):
    graph = random_graph(seed)
    ax = drawn(spikeplot.network_graph(graph))
    places = boxes(ax)
    assert sorted((a, b) for a, b, _ in ends(ax)) == sorted({tuple(edge) for edge in graph["edges"]})
    for (a, first), (b, second) in itertools.combinations(places.items(), 2):
        apart = first[1] < second[0] or second[1] < first[0] or first[3] < second[2] or second[3] < first[2]
        assert apart, (a, b)
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    for x0, x1, y0, y1 in places.values():
        assert left < x0 and x1 < right and bottom < y0 and y1 < top
    for arrow in parts(ax, FancyArrowPatch):
        points = arrow.get_path().interpolated(8).vertices
        assert left < points[:, 0].min() and points[:, 0].max() < right
        for name, (x0, x1, y0, y1) in places.items():
            deep = [x - x0 > 0.02 and x1 - x > 0.02 and y - y0 > 0.02 and y1 - y > 0.02 for x, y in points]
            assert not any(deep), (seed, name)


def test_edges_over_rows_have_places_of_their_own():
    found = layout(dict.fromkeys("abcd", 1.0), [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")], 0.5, 0.2)
    assert found.row == {"a": 0, "b": 1, "c": 2, "d": 3} and found.feedback == []
    assert dict(found.forward)["a", "d"] == ["a", ("a>d", 1), ("a>d", 2), "d"]
    assert abs(found.x["a>d", 1] - found.x["b"]) >= 0.6 + 0.5 - 1e-9


def test_names_that_no_box_can_hold():
    ax = drawn(spikeplot.network_graph({"nodes": nodes("n" * 200, "a\nb"), "edges": [["n" * 200, "a\nb"]]}))
    assert set(boxes(ax)) == {"n" * 47 + "…", "a?b"}


def test_it_draws_into_given_axes_and_shrinks_its_letters():
    figure = Figure(figsize=(2, 2))
    ax = figure.add_subplot()
    assert spikeplot.network_graph(CYCLE, ax) is ax
    assert max(text.get_fontsize() for text in ax.texts) < 6


def test_letters_of_mathematics_are_letters():
    ax = spikeplot.network_graph({"nodes": nodes("$x_1$"), "edges": [["input", "$x_1$"]]})
    drawn(ax)
    assert "$x_1$" in boxes(ax)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (3, "int"),
        ({"nodes": []}, "'edges'"),
        ({"nodes": nodes(*map(str, range(401))), "edges": []}, "401 nodes"),
    ],
)
def test_what_is_no_graph(graph, said):
    with pytest.raises(ArgumentError, match=said):
        spikeplot.network_graph(graph)


@pytest.mark.parametrize(("name", "magic"), [("g.svg", b"<?xml"), ("g.png", b"\x89PNG"), ("g.pdf", b"%PDF")])
def test_inspect_draws_the_file(tmp_path, capsys, name, magic):
    net = snn.Sequential([nn.Dense(3), snn.RLeaky(0.9, linear_features=3, init_hidden=True)])
    import jax

    variables = net.init(jax.random.key(0), np.ones((1, 2), np.float32))
    interop.write_nir(tmp_path / "net.nir", interop.to_nir(net, variables, np.ones((1, 2), np.float32)))
    assert cli.main(["inspect", str(tmp_path / "net.nir"), "--plot", str(tmp_path / name), "--json"]) == 0
    assert (tmp_path / name).read_bytes().startswith(magic)
    content = json.loads(capsys.readouterr().out)
    assert ["1", "1"] in content["edges"] and content["delayed"] == [["1", "1"]]
    assert ("1", "1", True) in ends(drawn(spikeplot.network_graph(content)))
    assert len(list(tmp_path.iterdir())) == 2


# --- what a run did -------------------------------------------------------------------------------

SPIKES = np.array([[0, 1], [1, 0], [0, 0], [0, 1]], np.float32)


def test_few_neurons_are_membranes_with_ticks_at_spikes():
    figure = spikeplot.activity({"lif": {"spk": SPIKES, "mem": SPIKES / 2}})
    figure.canvas.draw()
    (ax,) = figure.axes
    assert ax.get_ylabel() == "membrane" and "2 neurons, 3 spikes" in ax.get_title(loc="left")
    *lines, ticks = ax.lines
    np.testing.assert_array_equal(lines[1].get_ydata(), SPIKES[:, 1] / 2)
    assert sorted(ticks.get_xdata()) == [0, 1, 3] and min(ticks.get_ydata()) > 0.5


def test_many_neurons_are_dots_thinned_evenly():
    spikes = np.zeros((5, 1000))
    spikes[2, :] = 1
    figure = spikeplot.activity({"lif": {"spk": spikes, "mem": spikes}, "out": {"mem": spikes[:, :7]}})
    figure.canvas.draw()
    dots = figure.axes[0].collections[0].get_offsets()
    assert len(dots) == 256 and set(dots[:, 0]) == {2.0} and dots[-1, 1] == 999
    assert "1000 neurons, 1000 spikes, 256 shown" in figure.axes[0].get_title(loc="left")
    assert len(figure.axes[1].lines) == 7


@pytest.mark.parametrize(
    ("layers", "kind", "said"),
    [
        ({}, ArgumentError, "no layers"),
        ({"a": {"syn": SPIKES}}, ArgumentError, "neither"),
        ({"a": {"spk": SPIKES}, "b": {"spk": SPIKES[:2]}}, ShapeError, "steps"),
        ({"a": {"spk": SPIKES, "mem": SPIKES[:, :1]}}, ShapeError, "shape"),
        ({"a": {"spk": np.zeros((2, 2, 2))}}, ShapeError, "a: spk"),
    ],
)
def test_what_is_no_activity(layers, kind, said):
    with pytest.raises(kind, match=said):
        spikeplot.activity(layers)
