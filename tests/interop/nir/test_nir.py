"""NIR: what the nodes hold, files of other writers, round trips, what is refused."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
from helpers.nir_paper import DATA, needs_data

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, GraphError, NIRFileError, RepairWarning, ShapeError
from snnax.interop import conventions
from snnax.interop.nir.inspecting import describe, table


def _variables(net, x, seed=0):
    variables = net.init(jax.random.key(seed), x)
    return {c: v for c, v in variables.items() if c != "hidden"}


def _same(net, variables, other, x, other_x=None):
    a = jax.tree.leaves(snn.unroll(net, variables, x)[0])
    b = jax.tree.leaves(snn.unroll(*other, x if other_x is None else other_x)[0])
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


X = np.random.default_rng(0).uniform(-1, 3, (12, 2, 5)).astype(np.float32)
IMAGES = np.random.default_rng(1).uniform(0, 3, (6, 2, 8, 8, 2)).astype(np.float32)

CHAINS = {
    "leaky": [nn.Dense(6), snn.Leaky(0.9, init_hidden=True, output=True)],
    "leaky per neuron": [nn.Dense(3), snn.Leaky([0.5, 0.7, 0.9], threshold=[1.0, 0.8, 0.6], init_hidden=True)],
    "leaky learned": [nn.Dense(3, use_bias=False),
                      snn.Leaky(0.7, learn_beta=True, learn_threshold=True, init_hidden=True)],
    "integrate": [nn.Dense(3), snn.Leaky(1.0, reset_mechanism="zero", init_hidden=True)],
    "some do not leak": [nn.Dense(2), snn.Leaky([0.5, 1.0], init_hidden=True)],
    "no memory": [nn.Dense(2), snn.Leaky(0.0, init_hidden=True)],
    "graded": [nn.Dense(3), snn.Leaky(0.8, graded_spikes_factor=0.5, reset_delay=False, init_hidden=True)],
    "inhibition": [nn.Dense(4), snn.Leaky(0.8, inhibition=True, init_hidden=True)],
    "synaptic": [nn.Dense(4), snn.Synaptic(0.6, 0.8, reset_mechanism="none", init_hidden=True, output=True)],
    "alpha": [nn.Dense(4), snn.Alpha(0.9, 0.8, init_hidden=True, output=True)],
    "lapicque": [nn.Dense(4), snn.Lapicque(R=2.0, C=5.0, init_hidden=True, output=True)],
    "lapicque beta": [nn.Dense(4), snn.Lapicque(beta=0.8, init_hidden=True)],
    "rleaky": [nn.Dense(4), snn.RLeaky(0.8, linear_features=4, init_hidden=True)],
    "rleaky fixed": [nn.Dense(4), snn.RLeaky(0.8, linear_features=4, learn_recurrent=False, init_hidden=True)],
    "rleaky one to one": [nn.Dense(4), snn.RLeaky(0.8, V=0.3, all_to_all=False, init_hidden=True)],
    "rsynaptic": [nn.Dense(2), snn.RSynaptic(0.5, 0.8, V=[0.1, -0.4], all_to_all=False, init_hidden=True)],
    "surrogate": [nn.Dense(4), snn.Leaky(0.8, spike_grad=snn.surrogate.fast_sigmoid(7), init_hidden=True)],
    "scale": [nn.Dense(4), snn.Scale([1.0, 2.0, 0.5, 1.5]), snn.Leaky(0.8, init_hidden=True)],
    "layers": [nn.Dense(6), snn.Leaky(0.9, init_hidden=True), nn.Dropout(0.3, deterministic=True), nn.Dense(3),
               nn.BatchNorm(use_running_average=True), snn.Leaky(0.9, init_hidden=True)],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chain_round_trip_in_memory_and_file(name, tmp_path):
    net = snn.Sequential(CHAINS[name])
    variables = _variables(net, X[0])
    graph = interop.to_nir(net, variables, X[0], dropout="keep")
    assert _same(net, variables, interop.from_nir(graph), X)
    interop.write_nir(tmp_path / "a.nir", graph, extensions=True)
    model, again = interop.from_nir(tmp_path / "a.nir")
    assert _same(net, variables, (model, again), X)
    ours = list(net.layers)
    back = [module for _, module in model.nodes]
    for mine, theirs in zip(ours, back, strict=True):
        assert type(mine) is type(theirs)
        for field in (
            "learn_beta",
            "learn_threshold",
            "reset_mechanism",
            "reset_delay",
            "inhibition",
            "spike_grad",
        ):
            if hasattr(mine, field):
                assert getattr(mine, field) == getattr(theirs, field), field


def test_leaky_becomes_lif_with_time_constants():
    net = snn.Sequential([nn.Dense(2), snn.Leaky([0.9, 0.5], init_hidden=True)])
    graph = interop.to_nir(net, _variables(net, X[0]), X[0], dt=1e-3)
    node = graph.nodes["1"]
    assert isinstance(node, nir.LIF)
    np.testing.assert_allclose(node.tau, [1e-2, 2e-3], rtol=1e-6)
    np.testing.assert_allclose(node.r, [10.0, 2.0], rtol=1e-6)
    assert node.tau.dtype == np.float32 and graph.check_types()


@pytest.mark.parametrize("channels_first", [False, True])
def test_images_flattened_in_either_order(channels_first):
    net = snn.Sequential([
        nn.Conv(4, (3, 2), strides=(2, 1), padding=((1, 1), (0, 0)), feature_group_count=2), snn.AvgPool2d(2),
        snn.Leaky(0.8, init_hidden=True), snn.Flatten(channels_first=channels_first), nn.Dense(3),
        snn.Leaky(0.9, init_hidden=True, output=True),
    ])  # fmt: skip
    variables = _variables(net, IMAGES[0])
    imported = interop.from_nir(interop.to_nir(net, variables, IMAGES[0]))
    (spk, mem), _ = snn.unroll(net, variables, IMAGES)
    (spk2, mem2), _ = snn.unroll(*imported, conventions.traces_first(IMAGES))
    assert np.array_equal(spk, spk2) and spk.sum() > 0
    np.testing.assert_allclose(mem, mem2, atol=1e-5)


def test_graph_with_branches_and_sums():
    net = snn.Graph(
        nodes={"a": nn.Dense(4), "b": nn.Dense(4), "lif": snn.Leaky(0.8, init_hidden=True), "c": nn.Dense(4),
               "out": snn.Leaky(0.9, init_hidden=True)},
        edges=[("input", "a"), ("input", "b"), ("a", "lif"), ("b", "lif"), ("lif", "c"), ("c", "out"), ("a", "out"),
               ("out", "output")],
    )  # fmt: skip
    variables = _variables(net, X[0])
    assert _same(net, variables, interop.from_nir(interop.to_nir(net, variables, X[0])), X)


def test_batch_norm_folds_into_weights():
    net = snn.Sequential(
        [nn.Dense(5), nn.BatchNorm(use_running_average=True), snn.Leaky(0.9, init_hidden=True)]
    )
    variables = _variables(net, X[0])
    rng = np.random.default_rng(0)
    draw = lambda v: jnp.asarray(rng.uniform(0.5, 1.5, v.shape), v.dtype)  # noqa: E731
    variables["batch_stats"] = jax.tree.map(draw, variables["batch_stats"])
    variables["params"]["layers_1"] = jax.tree.map(draw, variables["params"]["layers_1"])
    folded = interop.to_nir(net, variables, X[0], batchnorm="fold")
    assert sorted(folded.nodes) == ["0", "2", "input", "output"]
    assert "batch normalisation '1'" in interop.losses(folded)["0"]
    a = snn.unroll(net, variables, X, record=True)[2]["layers_2"]["input"]
    b = snn.unroll(*interop.from_nir(folded), X, record=True)[2]["2"]["input"]
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_extensions_are_written_on_request_only(tmp_path):
    net = snn.Sequential([nn.Dense(4), snn.Alpha(0.9, 0.8, init_hidden=True)])
    graph = interop.to_nir(net, _variables(net, X[0]), X[0])
    path = tmp_path / "a.nir"
    with pytest.raises(ConversionError, match="extensions=True"):
        interop.write_nir(path, graph)
    assert list(tmp_path.iterdir()) == []
    interop.write_nir(path, graph, extensions=True)
    with pytest.raises(Exception):  # noqa: B017, PT011 - nir 1.0.8 raises a bare AssertionError
        nir.read(path)
    assert interop.from_nir(path)


def test_edited_time_constant_counts(tmp_path):
    net = snn.Sequential([nn.Dense(3), snn.Leaky(0.9, init_hidden=True)])
    graph = interop.to_nir(net, _variables(net, X[0]), X[0])
    node = graph.nodes["1"]
    node.tau, node.r = node.tau / 2, node.r / 2
    model, _ = interop.from_nir(graph)
    assert model.members()["1"].beta == pytest.approx(0.8, abs=1e-6)
    assert model.members()["1"].reset_mechanism == "subtract"


def _lif(**changes):
    given = {"tau": 1e-3, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changes}
    return nir.LIF(**{k: np.full(3, v, np.float32) for k, v in given.items()})


def _graph(*nodes):
    return nir.NIRGraph.from_list(nir.Linear(np.eye(3, dtype=np.float32)), *nodes)


def test_foreign_lif_resets_to_zero_at_once():
    model, _ = interop.from_nir(_graph(_lif()))
    lif = model.members()["lif"]
    assert (lif.reset_mechanism, lif.reset_delay) == ("zero", False) and lif.beta == pytest.approx(0.9)


def test_decays_and_gains_of_a_foreign_file_are_in_double_precision():
    """And what is written again is in the precision of the file."""
    tau, one = np.array([1e-3, 3e-4, 7e-4], np.float32), np.ones(3, np.float32)
    node = nir.LIF(tau=tau, r=2 * one, v_leak=0 * one, v_threshold=one)
    model, variables = interop.from_nir(nir.NIRGraph.from_list(nir.Linear(np.eye(3, dtype=np.float32)), node))
    wide = tau.astype(np.float64)
    np.testing.assert_array_equal(np.asarray(variables["buffers"]["lif"]["beta"]), 1 - 1e-4 / wide)
    np.testing.assert_array_equal(np.asarray(variables["buffers"]["lif.gain"]["scale"]), 2 * 1e-4 / wide)
    back = interop.to_nir(model, variables)
    assert back.nodes["lif"].tau.dtype == np.float32 and np.array_equal(back.nodes["lif"].tau, tau)
    again = interop.to_nir(*interop.from_nir(back))
    for key in ("tau", "r", "v_threshold"):
        first, second = getattr(back.nodes["lif"], key), getattr(again.nodes["lif"], key)
        assert first.dtype == second.dtype and np.array_equal(first, second)
    assert np.array_equal(again.nodes["lif.gain"].scale, back.nodes["lif.gain"].scale)


def test_foreign_gain_scales_the_input():
    model, variables = interop.from_nir(_graph(_lif(r=5.0)))
    spk, _ = snn.unroll(model, variables, np.full((3, 1, 3), 1.5, np.float32))
    record = snn.unroll(model, variables, np.full((3, 1, 3), 1.5, np.float32), record=True)[2]
    np.testing.assert_allclose(record["lif"]["input"][0, 0], 0.75, rtol=1e-6)
    assert spk.shape == (3, 1, 3)


REFUSED = {
    "tau": (_graph, _lif(tau=-1.0), ConversionError, "positive"),
    "fast": (_graph, _lif(tau=1e-5), ConversionError, "dt="),
    "nan": (_graph, _lif(v_threshold=np.nan), NIRFileError, "NaN"),
    "delay": (_graph, nir.Delay(np.full(3, 1.5e-4)), ConversionError, "1.5 time steps"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_nodes(case):
    make, node, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text):
        interop.from_nir(make(node))


def test_malformed_graphs():
    one = nir.Linear(np.eye(3, dtype=np.float32))
    ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([3]))}

    def graph(edges, **nodes):
        return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)

    with pytest.raises(GraphError, match="nowhere"):
        interop.from_nir(graph([("input", "a"), ("a", "output"), ("a", "nowhere")], a=one))
    with pytest.raises(GraphError, match="twice"):
        interop.from_nir(graph([("input", "a"), ("input", "a"), ("a", "output")], a=one))
    wide = nir.Linear(np.ones((2, 4), np.float32))
    with pytest.raises(ShapeError, match="'b'"):
        interop.from_nir(graph([("input", "a"), ("a", "b"), ("b", "output")], a=one, b=wide))


def test_cycle_over_two_nodes_has_one_step_of_delay():
    neuron = _lif()
    nodes = {
        "input": nir.Input(np.array([3])), "a": _lif(), "w": nir.Linear(0.5 * np.eye(3, dtype=np.float32)), "b": neuron,
        "back": nir.Linear(-0.5 * np.eye(3, dtype=np.float32)), "output": nir.Output(np.array([3])),
    }  # fmt: skip
    edges = [("input", "a"), ("a", "w"), ("w", "b"), ("b", "back"), ("back", "a"), ("b", "output")]
    model, variables = interop.from_nir(nir.NIRGraph(nodes, edges))
    x = np.random.default_rng(0).uniform(0, 3, (20, 2, 3)).astype(np.float32)
    _, _, record = snn.unroll(model, variables, x, record=True)
    feedback = np.concatenate([np.zeros((1, 2, 3), np.float32), -0.5 * np.asarray(record["b"]["spk"])[:-1]])
    np.testing.assert_allclose(record["a"]["input"], x + feedback, atol=1e-6)


@pytest.mark.parametrize("cut", [0, 10, 500, -1])
def test_truncated_files_are_one_error(tmp_path, cut):
    path = tmp_path / "a.nir"
    interop.write_nir(path, _graph(_lif()))
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(NIRFileError, match=r"a\.nir"):
        interop.from_nir(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.nir"):
        interop.from_nir(tmp_path / "none.nir")


def test_inspect_describes_every_node(tmp_path):
    net = snn.Sequential([nn.Dense(4), snn.RLeaky(0.8, linear_features=4, init_hidden=True)])
    interop.write_nir(tmp_path / "a.nir", interop.to_nir(net, _variables(net, X[0]), X[0]))
    content = describe(tmp_path / "a.nir")
    assert [n["becomes"] for n in content["nodes"]] == ["Dense", "RLeaky"] and content["dt"] == 1e-4
    assert "RLeaky" in table(content) and "beta 0.8" in table(content)


@needs_data
def test_lif_of_the_nir_paper_against_recorded_runs():
    """The NIR paper's neuron, against the runs that Norse and snnTorch recorded (V of snnTorch times r*dt/tau)."""
    model, variables = interop.from_nir(DATA / "01_lif" / "lif_norse.nir")
    for name, scale in (("norse", 1.0), ("snntorch", 0.04)):
        rows = np.genfromtxt(DATA / "01_lif" / f"lif_{name}.csv", delimiter=",")
        rows = rows[-1000:]
        _, _, record = snn.unroll(
            model, variables, rows[:, 0].astype(np.float32).reshape(-1, 1, 1), record=True
        )
        (neuron,) = record.values()
        assert np.array_equal(np.asarray(neuron["spk"]).ravel(), rows[:, 2]), name
        assert np.abs(np.asarray(neuron["mem"]).ravel() - rows[:, 1] * scale).max() < 1e-6, name


@needs_data
def test_nested_file_with_edges_to_nowhere_is_put_right():
    """Its inner edges name a node that does not exist, where just one has no edge; nir 1.0.8 refuses it."""
    with pytest.warns(RepairWarning, match="nested graph 'lif1': edges name 'lif'"):
        nested = interop.from_nir(DATA / "03_rnn" / "braille_noDelay_bias_zero_subgraph.nir")
    flat = interop.from_nir(DATA / "03_rnn" / "braille_noDelay_bias_zero.nir")
    x = np.random.default_rng(0).integers(0, 2, (50, 2, 12)).astype(np.float32)
    assert np.array_equal(snn.unroll(*nested, x)[0], snn.unroll(*flat, x)[0])


@needs_data
@pytest.mark.parametrize("name", ["02_cnn/cnn_sinabs.nir", "03_rnn/braille_noDelay_bias_zero.nir"])
def test_files_of_the_nir_paper_import_and_run(name):
    model, variables = interop.from_nir(DATA / name)
    x = np.random.default_rng(0).integers(0, 2, (5, 1, *model.input_shape)).astype(np.float32)
    assert np.isfinite(jax.tree.leaves(snn.unroll(model, variables, x)[0])[0]).all()
