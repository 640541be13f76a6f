"""Delays in NIR: whole ones exactly, learned ones when they are rounded, synaptic ones as a sum over lags."""

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError

X = (np.random.default_rng(0).random((20, 2, 4)) < 0.4).astype(np.float32)


def built(*layers):
    net = snn.Sequential([*layers, snn.Leaky(0.8, threshold=0.5, init_hidden=True, reset_mechanism="zero")])
    variables = {c: v for c, v in net.init(jax.random.key(2), X[0]).items() if c != "hidden"}
    return net, variables


NETS = {
    "axonal": lambda: built(snn.Delay([0.2, 3.9, 1.5, 2.0], learn_delay=True, max_delay=6), nn.Dense(3)),
    "gaussian": lambda: built(
        snn.Delay(learn_delay=True, max_delay=6, kernel="gaussian", sigma=2.0), nn.Dense(3)
    ),
    "synaptic": lambda: built(snn.DelayedDense(3, 6)),
    "synaptic, gaussian": lambda: built(snn.DelayedDense(3, 6, use_bias=False, kernel="gaussian")),
}


@pytest.mark.parametrize("name", NETS)
def test_rounded_delays_are_cross_validated_with_the_reference_simulator(name):
    net, variables = NETS[name]()
    variables, _ = snn.round_delays(variables)
    graph = interop.to_nir(net, variables, X[0])
    assert any(isinstance(node, nir.Delay) for node in graph.nodes.values())
    report = interop.crossvalidate(graph, (net, variables), X)
    assert report.agree, str(report)
    again, read = interop.from_nir(graph)
    spikes = snn.unroll(net, variables, X)[0]
    assert 0 < spikes.mean() < 1 and np.array_equal(spikes, snn.unroll(again, read, X)[0])


@pytest.mark.parametrize("name", NETS)
def test_delays_between_steps_are_refused_with_the_remedy(name):
    net, variables = NETS[name]()
    with pytest.raises(ConversionError, match=r"'0'.*interpolates.*Round first: .*snnax.round_delays"):
        interop.to_nir(net, variables, X[0])


def test_whole_delays_with_a_wide_gaussian_are_refused():
    net, variables = NETS["gaussian"]()
    variables["params"]["layers_0"]["delay"] = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    with pytest.raises(ConversionError, match="sigma = 2 steps"):
        interop.to_nir(net, variables, X[0])


def test_what_was_learned_can_be_learned_on():
    net, variables = NETS["gaussian"]()
    variables, _ = snn.round_delays(variables)
    read, again = interop.from_nir(interop.to_nir(net, variables, X[0], dt=1e-3), dt=1e-3)
    layer = read.members()["0"]
    assert (layer.learn_delay, layer.max_delay, layer.kernel, layer.sigma) == (True, 6, "gaussian", 2.0)
    assert np.array_equal(again["params"]["0"]["delay"], variables["params"]["layers_0"]["delay"])
    assert float(again["buffers"]["0"]["sigma"]) == 0.0


def test_an_edited_delay_is_the_one_that_counts():
    net, variables = NETS["axonal"]()
    graph = interop.to_nir(net, snn.round_delays(variables)[0], X[0])
    graph.nodes["0"].delay = graph.nodes["0"].delay + np.float32(9e-4)
    read, again = interop.from_nir(graph)
    assert read.members()["0"].max_delay == 13
    assert again["params"]["0"]["delay"].tolist() == [9.0, 13.0, 11.0, 11.0]


def test_a_layer_at_two_places_has_one_past():
    layer = snn.DelayedDense(4, 2, steps=1)
    net = snn.Sequential([layer, layer])
    with pytest.raises(ConversionError, match="one state for both places"):
        interop.to_nir(net, net.init(jax.random.key(0), X[0]), X[0])
