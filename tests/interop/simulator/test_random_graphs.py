"""Random NIR graphs of every node: as the reference simulator, through export and file, in any order, in any chunks."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest
from helpers import graphs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, RepairWarning
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.readings import Reading
from snnax.interop.simulator import simulate

QUICK = settings(
    max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # each example compiles programs: making a failing one smaller would take minutes
)  # fmt: skip


def run(imported, x, **how):
    """Outputs of a model, one array each."""
    return [np.asarray(y) for y in jax.tree.leaves(snn.unroll(*imported, x, **how)[0])]


def joined(case):
    """The input as a model takes it."""
    if len(case.x) == 1:
        return next(iter(case.x.values()))
    return interop.join_inputs(case.graph, case.x)


def reordered(graph, order):
    nodes = {
        name: reordered(node, order) if isinstance(node, nir.NIRGraph) else node
        for name, node in graph.nodes.items()
    }
    return nir.NIRGraph({name: nodes[name] for name in order(nodes)}, graph.edges, type_check=False)


def same(found, expected):
    assert [y.shape for y in found] == [y.shape for y in expected]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def near(found, expected):
    """Equal but for the last bits, which is to say that every spike is where it should be."""
    assert [y.shape for y in found] == [y.shape for y in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def check(case, how):
    x = joined(case)
    with jax.enable_x64(True), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error", RepairWarning)
        model, variables = interop.from_nir(case.graph, preset=how)
        out = run((model, variables), x)
        near(out, simulate(case.graph, case.x if len(case.x) > 1 else x, reading=how).outputs)
        path = Path(folder) / "a.nir"
        back = interop.to_nir(model, variables, dt=graphs.DT)
        assert not [name for name, node in back.nodes.items() if isinstance(node, Extension)]
        interop.write_nir(path, back)
        same(run(interop.from_nir(path), x), out)
        interop.write_nir(path, case.graph)
        same(run(interop.from_nir(path, preset=how), x), out)
        same(
            run(interop.from_nir(reordered(case.graph, lambda names: sorted(names)[::-1]), preset=how), x),
            out,
        )
        near(run((model, variables), x, chunk=1), out)


@QUICK
@given(graphs.graphs())
def test_by_the_default_reading(case):
    check(case, Reading())


@QUICK
@given(st.data())
def test_by_any_reading(data):
    how = data.draw(graphs.readings())
    check(data.draw(graphs.graphs(unit=how.seconds)), how)


@settings(QUICK, max_examples=8)
@given(graphs.graphs())
def test_through_a_file_in_single_precision(case):
    x = joined(case).astype(np.float32)
    model, variables = interop.from_nir(case.graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nir"
        interop.write_nir(path, interop.to_nir(model, variables), extensions=True)
        same(run(interop.from_nir(path), x), run((model, variables), x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(QUICK, max_examples=5)
@given(graphs.graphs(most=3))
def test_the_referee_and_the_model_agree(dtype, case):
    """Whatever the graph is: nothing but rounding is between its equations and its model, in either precision."""
    with jax.enable_x64(dtype == np.float64):
        model = interop.from_nir(case.graph)
        if any(hasattr(member, "state_names") for member in model[0].members().values()):
            report = interop.crossvalidate(case.graph, model, joined(case).astype(dtype))
            assert report.agree and not report.unexplained, str(report)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wrong_time_constant_is_found_where_it_is(dtype):
    rng = np.random.default_rng(0)

    def graph(tau):
        zero, one = np.zeros(4, np.float32), np.ones(4, np.float32)
        nodes = {
            "fc": nir.Affine(rng_weights[0], 0.1 * one),
            "a": nir.LIF(1e-3 * one, 7 * one, zero, one, zero),
            "w": nir.Linear(rng_weights[1]),
            "b": nir.LIF(np.float32(tau) * one, 9 * one, zero, one, zero),
            "back": nir.Linear(rng_weights[2]),
            "c": nir.IF(0.4 * one, one, -0.2 * one),
        }
        edges = [("input", "fc"), ("fc", "a"), ("a", "w"), ("w", "b"), ("b", "back"), ("back", "b"), ("b", "b"),
                 ("b", "c"), ("c", "output")]  # fmt: skip
        ends = {"input": nir.Input({"input": np.array([3])}), "output": nir.Output({"output": np.array([4])})}
        return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)

    rng_weights = [rng.uniform(-0.5, 1, shape).astype(np.float32) for shape in ((4, 3), (4, 4), (4, 4))]
    x = rng.uniform(0, 1.5, (60, 2, 3)).astype(dtype)
    assert interop.crossvalidate(graph(1e-3), interop.from_nir(graph(1e-3)), x).agree
    report = interop.crossvalidate(graph(1e-3), interop.from_nir(graph(1.002e-3)), x)
    assert [layer.name for layer in report.layers if layer.unexplained] == ["b"]
    assert not report.agree and {cause.kind for cause in report.layers[1].causes} <= {"beta", "dt", "gain"}


def _graph(nodes, edges, shape=(3,), last="output"):
    ends = {"input": nir.Input({"input": np.array(shape)}), last: nir.Output({"output": np.array(shape)})}
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


ONE = np.ones(3)
X = np.random.default_rng(0).integers(-9, 9, (5, 2, 3))


def test_a_nested_graph_may_hand_its_input_on():
    inner = {"a": nir.Scale(ONE * 2)}
    nest = _graph(inner, [("input", "a"), ("a", "output"), ("input", "output")])
    wire = _graph({}, [("input", "output")])
    graph = _graph({"n": nest, "w": wire}, [("input", "n"), ("n", "w"), ("w", "output")])
    near(run(interop.from_nir(graph), X.astype(np.float32)), [np.float32(3) * X.astype(np.float32)])


def test_names_that_meet_stay_apart():
    nest = _graph(
        {"b": nir.Scale(ONE * 2), "b_": nir.Scale(ONE * 3)}, [("input", "b"), ("b", "b_"), ("b_", "output")]
    )
    nodes = {
        "a": nest,
        "a.b": nir.Scale(ONE * 5),
        "input_": nir.Scale(ONE * 7),
        "params": nir.Scale(ONE * 11),
    }
    edges = [("input", "a"), ("a", "a.b"), ("a.b", "input_"), ("input_", "params"), ("params", "end")]
    graph = _graph(nodes, edges, last="end")
    near(run(interop.from_nir(graph), X.astype(np.float32)), [np.float32(2310) * X.astype(np.float32)])
    assert len(interop.from_nir(graph)[0].members()) == 5


def test_outputs_come_in_the_order_of_their_names(tmp_path):
    nodes = {
        "z": nir.Output({"output": np.array([3])}),
        "two": nir.Scale(ONE * 2),
        "m": nir.Output({"output": np.array([3])}),
    }
    graph = _graph(nodes, [("input", "two"), ("two", "z"), ("input", "m"), ("two", "output")])
    x = X.astype(np.float32)
    near(run(interop.from_nir(graph), x), [x, x * 2, x * 2])
    back = interop.to_nir(*interop.from_nir(graph))
    assert sum(isinstance(node, nir.Output) for node in back.nodes.values()) == 3


def test_late_edges_stay_where_they_were(tmp_path):
    """The input goes to both nodes of a cycle: which of its edges is late follows from the order of the edges."""
    nodes = {"a": nir.Scale(ONE * 0.5), "b": nir.Scale(ONE * 0.25)}
    for first, second in (("a", "b"), ("b", "a")):
        edges = [("input", first), ("input", second), ("a", "b"), ("b", "a"), ("b", "output")]
        model, variables = interop.from_nir(_graph(nodes, edges))
        again = interop.from_nir(interop.to_nir(model, variables))
        assert again[0].plan().delayed == model.plan().delayed
        same(run(again, X.astype(np.float32)), run((model, variables), X.astype(np.float32)))


@pytest.mark.parametrize(
    "slices",
    [{"b": (0, 2), "a": (2, 1)}, {"a": (0, 2), "b": (1, 2)}, {"a": (0, 2)}, {"a": (1, 2), "b": (0, 1)}],
)
def test_parts_that_are_no_inputs_are_refused(slices):
    """Parts of the input are exported as Inputs, which are put side by side by name: others would be mixed up."""
    nodes = {name: snn.Slice(begin, (size,)) for name, (begin, size) in slices.items()}
    nodes |= {f"{name}w": nn.Dense(2) for name in slices}
    edges = (
        [("input", n) for n in slices]
        + [(n, f"{n}w") for n in slices]
        + [(f"{n}w", "output") for n in slices]
    )
    net = snn.Graph(nodes=nodes, edges=edges)
    x = np.ones((1, 3), np.float32)
    with pytest.raises(ConversionError, match="Slices"):
        interop.to_nir(net, net.init(jax.random.key(0), x), x)
