"""What an export writes: double precision for a model in double precision, and NIR's own nodes where NIR has them."""

from __future__ import annotations

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError
from snnax.interop.families.precision import is_wide

THIRD = 1 / 3
OWN = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False}
RECURRENT = {"all_to_all": False, **OWN}


def _built(layers, x, dtype):
    layers = [nn.Dense(layer, param_dtype=dtype) if isinstance(layer, int) else layer for layer in layers]
    net = snn.Sequential(layers)
    variables = net.init(jax.random.key(0), x[0])
    return net, {k: v for k, v in variables.items() if k != "hidden"}


def _x(dtype, *shape):
    return np.random.default_rng(0).normal(0.5, 1, (12, 2, *shape)).astype(dtype)


LAYERS = [
    4,
    snn.Scale(THIRD),
    snn.Delay(3),
    snn.RLeaky(0.9, V=THIRD, **RECURRENT),
    snn.Threshold(THIRD),
    snn.Leaky(0.7, threshold=THIRD, **OWN),
    snn.LIF(1e-2, r=333.3, v_reset=-THIRD, init_hidden=True),
]
EXPECTED = {
    ("1", "scale"): THIRD,
    ("2", "delay"): 3 * 1e-4,
    ("3.w_rec", "scale"): THIRD,
    ("3.lif", "tau"): 1e-4 / (1 - 0.9),
    ("4", "threshold"): THIRD,
    ("5", "v_threshold"): THIRD,
    ("5", "r"): 1 / (1 - 0.7),
    ("6", "v_reset"): -THIRD,
    ("6", "r"): 333.3,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_written_in_the_precision_of_the_model(dtype, tmp_path):
    with jax.enable_x64(dtype == np.float64):
        x = _x(dtype, 3)
        net, variables = _built(LAYERS, x, dtype)
        interop.write_nir(tmp_path / "a.nir", interop.to_nir(net, variables, x[0]))
        graph = interop.read_nir(tmp_path / "a.nir")
        for (node, key), value in EXPECTED.items():
            found = getattr(graph.nodes[node], key)
            assert found.dtype == dtype, (node, key)
            np.testing.assert_array_equal(found, np.full(4, value, dtype))
        again = interop.from_nir(tmp_path / "a.nir")
        mine, theirs = (snn.unroll(*pair, x)[0] for pair in ((net, variables), again))
        assert np.asarray(mine).any()
        np.testing.assert_array_equal(mine, theirs)


def test_the_portable_profile_folds_in_double_precision():
    with jax.enable_x64(True):
        net, variables = _built([4, snn.RLeaky(0.9, linear_features=4, **OWN)], _x(np.float64, 3), np.float64)
        recurrent = {
            k: v.astype(np.float64) + THIRD for k, v in variables["params"]["layers_1"]["recurrent"].items()
        }
        variables["params"]["layers_1"]["recurrent"] = recurrent
        graph = interop.to_nir(net, variables, _x(np.float64, 3)[0], profile="portable")
    kernel = np.asarray(variables["params"]["layers_0"]["kernel"]).T
    np.testing.assert_allclose(graph.nodes["0"].weight, kernel / (1 - 0.9), rtol=1e-14)
    np.testing.assert_allclose(graph.nodes["0"].bias, np.asarray(recurrent["bias"]) / (1 - 0.9), rtol=1e-14)
    assert {node.weight.dtype for n, node in graph.nodes.items() if hasattr(node, "weight")} == {
        np.dtype(float)
    }


def test_other_frameworks_get_every_digit():
    torch = pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    layers = [4, snn.Scale(THIRD), snn.RLeaky(0.9, V=THIRD, threshold=THIRD, **RECURRENT)]
    with jax.enable_x64(True):
        x = _x(np.float64, 3)
        net, variables = _built(layers, x, np.float64)
        made = interop.to_snntorch(net, variables, x[0])
        theirs = (made[1].scale, made[2].V, made[2].recurrent.V, made[2].threshold)
        assert {t.dtype for t in (*theirs, made[2].beta, made[0].weight)} == {torch.float64}
        assert [float(t.detach()) for t in theirs] == [THIRD] * 4
        assert float(made[2].beta) == 0.9
        pytest.importorskip("norse")
        made = interop.to_norse(net, variables, x[0])
        assert float(made[1].scale) == THIRD and float(made[-1].p.v_th) == THIRD
        w_rec = made[-1].recurrent_weights
        assert w_rec.dtype == torch.float64
        np.testing.assert_allclose(w_rec.diagonal().detach(), THIRD / (1 - 0.9), rtol=1e-14)


@pytest.mark.parametrize(
    ("variables", "wide"),
    [
        ({"params": {"a": np.ones(2)}}, True),
        ({"params": {"a": np.ones(2, np.float32)}, "buffers": {"a": np.ones(2)}}, False),
        ({"buffers": {"a": np.ones(2)}}, True),
        ({"hidden": {"a": np.ones(2)}, "params": {}}, False),
        ({}, False),
    ],
)
def test_the_weights_say_how_precise_a_model_is(variables, wide):
    assert is_wide(variables) == wide


RESHAPES = {
    "first axes": ((2, 3, 4), (6, 4), (0, 1)),
    "last axes": ((2, 3, 4), (2, 12), (1, 2)),
    "all of them": ((2, 3, 4), (-1,), (0, 2)),
    "axes of one": ((2, 1, 4), (2, -1), (0, 1)),
    "other axes": ((2, 3, 4), (4, 6), None),
    "more axes": ((2, 6), (2, 3, 2), None),
    "the same": ((2, 6), (2, 6), (0, 0)),
}


@pytest.mark.parametrize("name", RESHAPES)
def test_a_reshape_is_nirs_flatten_where_it_is_one(name, tmp_path):
    shape, after, dims = RESHAPES[name]
    x = np.moveaxis(_x(np.float32, *shape), 2, -1)
    net, variables = _built([snn.Reshape(after, channels_first=True)], x, np.float32)
    graph = interop.to_nir(net, variables, x[0])
    node = graph.nodes["0"]
    assert isinstance(node, nir.Flatten) == (dims is not None)
    if dims is not None:
        assert (node.start_dim, node.end_dim) == dims
        nir.NIRGraph(graph.nodes, graph.edges)  # nir's own check of the types
    interop.write_nir(tmp_path / "a.nir", graph, extensions=dims is None)
    model, weights = interop.from_nir(tmp_path / "a.nir")
    found = snn.unroll(model, weights, np.moveaxis(x, -1, 2))[0]
    expected = np.moveaxis(np.asarray(snn.unroll(net, variables, x)[0]), -1, 2)
    np.testing.assert_array_equal(found, expected)


def test_torchs_flatten_of_some_axes_is_nirs():
    torch = pytest.importorskip("torch")
    leaky = pytest.importorskip("snntorch").Leaky(0.9, threshold=0.1, init_hidden=True)
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.Flatten(2), torch.nn.Conv1d(3, 2, 2), leaky)
    x = _x(np.float32, 2, 4, 4)
    model, variables = interop.from_snntorch(net, x[0])
    node = interop.to_nir(model, variables).nodes["1"]
    assert isinstance(node, nir.Flatten) and (node.start_dim, node.end_dim) == (1, 2)
    with torch.no_grad():
        expected = net(torch.from_numpy(x[0])).numpy()
        again = interop.to_snntorch(model, variables)(torch.from_numpy(x[0])).numpy()
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(snn.unroll(model, variables, x[:1])[0][0], expected)


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_a_file_in_single_precision_becomes_torch_in_double(kind):
    torch = pytest.importorskip("torch")
    three = np.ones(3, np.float32)
    own = {"tau": 3e-3 * three} if kind == "LIF" else {"tau_mem": 3e-3 * three, "tau_syn": 7e-4 * three}
    node = getattr(nir, kind)(**own, r=7 * three, v_leak=0 * three, v_threshold=0.3 * three)
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(3, dtype=np.float32)), node)
    with jax.enable_x64(True):
        x = _x(np.float64, 3)
        model, variables = interop.from_nir(graph)
        report = interop.crossvalidate(
            (model, variables), interop.to_snntorch(model, variables, dtype=torch.float64), x
        )
        assert report.agree and not report.unexplained, str(report)
        with pytest.raises(ArgumentError, match=r"torch\.float64"):
            interop.to_snntorch(model, variables, dtype=torch.float16)
