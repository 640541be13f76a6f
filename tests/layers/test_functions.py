"""Functions among the layers of a network: run in each step, all steps at once, and refused where no file holds one."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError

X = np.random.default_rng(0).normal(1.0, 1.0, (5, 2, 3)).astype(np.float32)


def leaky():
    return snn.Leaky(0.9, init_hidden=True)


class Modules(nn.Module):
    """A module of one's own, as functions had to be before."""

    @nn.compact
    def __call__(self, x):
        return nn.gelu(x)


def test_a_function_is_a_layer():
    """Numbers and names are those of a module that calls it."""
    net = snn.Sequential([nn.Dense(3), nn.gelu, leaky(), lambda x: 2 * x, jnp.tanh])
    beside = snn.Sequential([nn.Dense(3), Modules(), leaky(), snn.Scale(2.0)])
    assert [type(layer).__name__ for layer in net.layers[1:]] == ["Lambda", "Leaky", "Lambda", "Lambda"]
    assert "function = gelu" in repr(net)
    assert snn.Sequential(nn.Dense(3), nn.gelu)[1] == snn.Lambda(nn.gelu)
    variables = net.init(jax.random.key(0), X[0])
    assert set(variables["params"]) == {"layers_0"}
    found, _ = snn.unroll(net, variables, X)
    expected, _ = snn.unroll(beside, variables, X)
    np.testing.assert_array_equal(found, jnp.tanh(expected))
    hidden = {"hidden": variables["hidden"]}
    for step, x in enumerate(X):
        y, hidden = net.apply({**variables, **hidden}, x, mutable=["hidden"])
        np.testing.assert_allclose(y, found[step], rtol=1e-6)


def test_it_runs_over_all_steps_at_once():
    """One call of the function for all steps, though it may mix the samples of each; and twice in a network too."""
    seen = []

    def centred(x):
        seen.append(x.shape)
        return x - x.mean(axis=0, keepdims=True)

    net = snn.Sequential([nn.Dense(3), centred, leaky(), centred])
    variables = net.init(jax.random.key(0), X[0])
    program = str(jax.make_jaxpr(lambda v, x: snn.unroll(net, v, x)[0])(variables, X))
    assert program.count("scan[") == 1
    _, loop = program.split("scan[")
    assert program.count("reduce_sum") >= 2
    assert "reduce_sum" not in loop[: loop.index("unroll=")]
    assert {*seen} == {(2, 3)}


def test_nodes_of_a_graph_and_partials():
    half = functools.partial(jnp.multiply, 0.5)
    edges = [("input", "half"), ("half", "lif"), ("input", "lif"), ("lif", "output")]
    net = snn.Graph({"half": half, "lif": leaky()}, edges)
    beside = snn.Graph({"half": snn.Scale(0.5), "lif": leaky()}, edges)
    np.testing.assert_array_equal(snn.unroll(net, {}, X)[0], snn.unroll(beside, {}, X)[0])
    with pytest.raises(ConversionError, match=r"'half': the function partial\(multiply\) has no NIR form"):
        interop.to_nir(net, {}, X[0])


def test_relu_is_the_layer_that_nir_has():
    net = snn.Sequential([nn.Dense(3), nn.relu, jax.nn.relu])
    assert net[1] == net[2] == snn.ReLU()
    variables = net.init(jax.random.key(0), X[0])
    again, found = interop.from_nir(interop.to_nir(net, variables, X[0]))
    np.testing.assert_allclose(again.apply(found, X[0]), net.apply(variables, X[0]), rtol=1e-6)


def test_no_file_holds_a_function(tmp_path):
    net = snn.Sequential([nn.Dense(3), nn.gelu, leaky()])
    variables = net.init(jax.random.key(0), X[0])
    with pytest.raises(ConversionError, match=r"'1': the function gelu has no NIR form\. .*snnax.ReLU\(\)"):
        interop.to_nir(net, variables, X[0])
    assert set(interop.to_state_dict(net, variables)) >= {"0.weight", "0.bias", "2.beta"}
    interop.write_source(tmp_path / "net.py", net, variables)
    assert "snn.Lambda(nn.gelu)" in (tmp_path / "net.py").read_text()
    with pytest.raises(
        ConversionError, match=r"function=<function .* Use a function of flax.linen or jax.numpy"
    ):
        interop.write_source(tmp_path / "own.py", snn.Sequential([nn.Dense(3), lambda x: x]), variables)


def test_what_is_no_function_is_said():
    with pytest.raises(ArgumentError, match=r"'layers_1' is 0.5, not a layer.*nn.gelu or lambda x: 2 \* x"):
        snn.Sequential([nn.Dense(3), 0.5])
    with pytest.raises(ArgumentError, match=r"Lambda\(function=.*expected a function, as flax.linen.gelu"):
        snn.Lambda(nn.Dense)
    net = snn.Sequential([len])
    with pytest.raises(ArgumentError, match=r"len returned 2; expected an array"):
        net.apply({}, X[0])


def test_a_module_of_torch_is_no_function():
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match=r"'layers_0' is Linear.*not a layer"):
        snn.Sequential([torch.nn.Linear(3, 3)])
