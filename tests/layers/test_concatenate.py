"""Signals side by side at a node of a graph: as ``jnp.concatenate`` in a module of one's own."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError, GraphError

X = np.random.default_rng(0).normal(1.0, 1.0, (5, 2, 3)).astype(np.float32)


def leaky():
    return snn.Leaky(0.9, init_hidden=True)


def graph(text, **nodes):
    return snn.Graph(nodes, [tuple(edge.split(">")) for edge in text.split()])


class Joined(nn.Module):
    """The same network, written by hand."""

    @nn.compact
    def __call__(self, x):
        left = snn.Leaky(0.9, init_hidden=True, name="a")(nn.Dense(4, name="left")(x))
        both = jnp.concatenate([left, nn.Dense(3, name="right")(x)], axis=-1)
        return snn.Leaky(0.9, init_hidden=True, name="lif")(nn.Dense(2, name="out")(both))


def test_the_numbers_are_those_of_a_module_written_by_hand():
    net = graph(
        "input>left left>a input>right a>both right>both both>out out>lif lif>output",
        left=nn.Dense(4), a=leaky(), right=nn.Dense(3), both=snn.Concatenate(), out=nn.Dense(2), lif=leaky(),
    )  # fmt: skip
    variables = net.init(jax.random.key(0), X[0])
    assert variables["params"]["out"]["kernel"].shape == (7, 2)
    found, _ = snn.unroll(net, variables, X)
    expected, _ = snn.unroll(Joined(), variables, X)
    np.testing.assert_array_equal(found, expected)
    constant, _ = snn.unroll(net, variables, X[0], num_steps=3)
    np.testing.assert_array_equal(constant, snn.unroll(net, variables, np.stack([X[0]] * 3))[0])


def test_the_order_is_that_of_the_edges_and_the_axis_may_be_another():
    x = np.arange(24.0, dtype=np.float32).reshape(1, 2, 3, 4)
    nodes = {"a": snn.Scale(1.0), "b": snn.Scale(-1.0)}
    for axis in (-1, -2, -3):
        net = graph("input>a input>b b>c a>c c>output", **nodes, c=snn.Concatenate(axis))
        expected = np.concatenate([-x, x], axis)
        np.testing.assert_array_equal(net.apply({}, x), expected)
        np.testing.assert_array_equal(snn.unroll(net, {}, x[None])[0][0], expected)


@pytest.mark.parametrize("delay_spikes", [False, True])
def test_feedback_beside_the_input(delay_spikes):
    """The shape of what comes back is found though it depends on what is joined."""
    edges = [("input", "both"), ("back", "both"), ("both", "lif"), ("lif", "back"), ("lif", "output")]
    nodes = {"both": snn.Concatenate(), "lif": leaky(), "back": nn.Dense(2)}
    net = snn.Graph(nodes, edges, delay_spikes=delay_spikes)
    assert net.plan().delayed == (("lif",) if delay_spikes else ("back",))
    variables = net.init(jax.random.key(0), X[0])
    variables["params"]["back"]["bias"] += 0.25
    found, _ = jax.tree.map(np.asarray, snn.unroll(net, variables, X))
    dense = jax.tree.map(np.asarray, variables["params"]["back"])
    back, mem = np.zeros((2, 2), np.float32), np.zeros((2, 5), np.float32)
    if delay_spikes:
        back = back + dense["bias"]
    for step, x in enumerate(X):
        mem = 0.9 * mem + np.concatenate([x, back], -1) - (mem > 1)
        np.testing.assert_array_equal(found[step], mem > 1)
        back = found[step] @ dense["kernel"] + dense["bias"]


def test_what_does_not_fit_is_said():
    with pytest.raises(ArgumentError, match=r"Concatenate\(axis=.*0.*whole number below zero"):
        snn.Concatenate(0)
    with pytest.raises(GraphError, match="'layers_0': Concatenate joins what several edges bring"):
        snn.Sequential([snn.Concatenate()])
    net = graph("input>a input>c a>c c>output", a=nn.Dense(4), c=snn.Concatenate(-2))
    with pytest.raises(
        GraphError, match=r"'c': signals of shapes \(2, 3\) and \(2, 4\) cannot be joined by .*axis=-2"
    ):
        net.init(jax.random.key(0), X[0])


def test_nir_adds_what_meets():
    net = graph("input>a input>c a>c c>b b>output", a=snn.Scale(2.0), c=snn.Concatenate(), b=nn.Dense(2))
    variables = net.init(jax.random.key(0), X[0])
    with pytest.raises(
        ConversionError, match=r"'c': Concatenate has no NIR form: .*Give each source a Dense"
    ):
        interop.to_nir(net, variables, X[0])
    assert interop.to_state_dict(net, variables)["b.weight"].shape == (2, 6)


def test_the_remedy_computes_the_same():
    """A ``Dense`` behind it is one for each source, added."""
    net = graph("input>a input>c a>c c>b b>output", a=snn.Scale(2.0), c=snn.Concatenate(), b=nn.Dense(2))
    other = graph(
        "input>a input>b1 a>b2 b1>output b2>output", a=snn.Scale(2.0), b1=nn.Dense(2), b2=nn.Dense(2, False)
    )
    variables = net.init(jax.random.key(0), X[0])
    kernel, bias = (variables["params"]["b"][n] for n in ("kernel", "bias"))
    apart = {"params": {"b1": {"kernel": kernel[:3], "bias": bias}, "b2": {"kernel": kernel[3:]}}}
    np.testing.assert_allclose(other.apply(apart, X[0]), net.apply(variables, X[0]), rtol=1e-6)


def test_source_has_it(tmp_path):
    net = graph("input>a input>c a>c c>output", a=snn.Scale(2.0), c=snn.Concatenate(-2))
    interop.write_source(tmp_path / "net.py", net, {})
    assert "snn.Concatenate(axis=-2)" in (tmp_path / "net.py").read_text()
