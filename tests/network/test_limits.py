"""Sizes that a few bytes ask for: refused with the layer named, before anything runs, and allowed on request."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ShapeError
from snnax.interop.simulator import simulate

ONE = np.ones(4, np.float32)
IMAGE = np.ones((2, 1, 1, 4, 4), np.float32)


def ends(node, shape):
    nodes = {"input": nir.Input({"input": np.array(shape)}), "big": node}
    nodes["output"] = nir.Output({"output": np.array(shape)})
    return nir.NIRGraph(nodes, [("input", "big"), ("big", "output")], type_check=False)


def conv(padding, stride=1):
    return nir.Conv2d(
        (4, 4), np.ones((1, 1, 1, 1), np.float32), stride, padding, 1, 1, np.zeros(1, np.float32)
    )


GRAPHS = {
    "padding": (lambda: ends(conv((10**5, 10**5)), (1, 4, 4)), IMAGE),
    "padding, far strides": (lambda: ends(conv(10**6, 10**5), (1, 4, 4)), IMAGE),
    "pooling": (
        lambda: ends(nir.SumPool2d(np.full(2, 10**5), np.ones(2, int), np.full(2, 5 * 10**4)), (1, 4, 4)),
        IMAGE,
    ),
    "line": (
        lambda: ends(
            nir.Conv1d(4, np.ones((1, 1, 1), np.float32), 1, 10**9, 1, 1, np.zeros(1, np.float32)), (1, 4)
        ),
        np.ones((2, 1, 1, 4), np.float32),
    ),
    "delay": (lambda: ends(nir.Delay(ONE * 2e5), (4,)), np.ones((2, 1, 4), np.float32)),
    "delay beyond counting": (lambda: ends(nir.Delay(ONE * 1e30), (4,)), np.ones((2, 1, 4), np.float32)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_asks_for_too_much_is_refused_when_it_is_read(name):
    graph, x = GRAPHS[name][0](), GRAPHS[name][1]
    with pytest.raises(ShapeError, match=r"'big' .*snnax.size_limit\("):
        interop.from_nir(graph)
    if "delay" not in name:  # the referee keeps no more than it was given
        with pytest.raises(ShapeError, match=r"'big' .*snnax.size_limit\("):
            simulate(graph, x)


def test_an_input_that_is_too_late_or_too_large():
    graph = ends(nir.Scale(ONE), (4,))
    with pytest.raises(ShapeError, match="'input' is to be late"):
        interop.from_nir(graph, input_delay=10**9)
    with pytest.raises(ShapeError, match="'input' takes samples"):
        interop.from_nir(ends(nir.Scale(np.ones(())), (10**5, 10**5)))


BY_HAND = {
    "convolution": (nn.Conv(1, (1, 1), padding=10**5), IMAGE[:, :, 0, :, :, None]),
    "pairs": (nn.Conv(1, (1, 1), padding=[(0, 10**9), (0, 0)]), IMAGE[:, :, 0, :, :, None]),
    "delay": (snn.Delay(2 * 10**7), np.ones((2, 1, 4), np.float32)),
    "pooling": (snn.AvgPool2d(10**5, padding=5 * 10**4), IMAGE[:, :, 0, :, :, None]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_layer_by_hand_that_asks_for_too_much(name):
    module, x = BY_HAND[name]
    for net in (snn.Sequential([module]), snn.Graph({"big": module}, [("input", "big"), ("big", "output")])):
        for call in (
            lambda net=net: net.init(jax.random.key(0), x[0]),
            lambda net=net: snn.unroll(net, {"params": {}}, x),
            lambda net=net: snn.unroll(net, {"params": {}}, x[0], num_steps=3),
        ):
            with pytest.raises(ShapeError, match=r"snnax.size_limit\("):
                call()


def test_the_limit_can_be_raised_and_lowered():
    x = jnp.ones((6, 2, 3))
    graph = ends(nir.Delay(np.ones(3) * 3e-4), (3,))
    with snn.size_limit(8):
        with pytest.raises(ShapeError, match="'big' keeps the inputs of 3 steps: 9 numbers"):
            interop.from_nir(graph)
        with snn.size_limit(9):
            model, variables = interop.from_nir(graph)
            assert np.asarray(snn.unroll(model, variables, x)[0])[3:].all()
        with pytest.raises(ShapeError):
            snn.Sequential([snn.Delay(4)]).init(jax.random.key(0), x[0])
    with pytest.raises(ShapeError, match="Delay"):
        snn.Delay(3 * 10**9)
    for wrong in (0, 1.5, True, "1"):
        with pytest.raises(ArgumentError, match="size_limit"), snn.size_limit(wrong):
            pass
