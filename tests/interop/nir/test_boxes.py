"""Weights in the boxes of ``nn.with_partitioning``: everything that takes variables takes them, boxed or not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import snnax as snn
import snnax.functional as SF
from snnax import interop

X = np.random.default_rng(0).random((3, 2, 6, 6, 2)).astype(np.float32)
BOXES = {"mesh axes": nn.with_partitioning, "logical axes": nn.with_logical_partitioning}


def network(box):
    def boxed(init, *names):
        return box(init, names)

    draw = nn.initializers.lecun_normal()
    layers = [
        nn.Conv(4, (3, 3), kernel_init=boxed(draw, None, None, None, "out")),
        nn.BatchNorm(use_running_average=True, scale_init=boxed(nn.initializers.ones, None)),
        snn.MaxPool2d(2),
        snn.Flatten(),
        nn.Dense(4, kernel_init=boxed(draw, "in", None), bias_init=boxed(nn.initializers.zeros, None)),
        snn.Leaky(0.5, init_hidden=True, learn_beta=True),
    ]
    return snn.Sequential(layers)


@pytest.fixture(params=BOXES)
def both(request):
    """A network, its variables in boxes, and without."""
    net = network(BOXES[request.param])
    variables = net.init(jax.random.key(0), X[0])
    assert any(isinstance(v, nn.Partitioned) for v in jax.tree.leaves(variables, is_leaf=is_box))
    return net, variables, nn.unbox(variables)


def is_box(value):
    return isinstance(value, nn.Partitioned)


def same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_conversions_take_boxed_weights(both):
    net, boxed, plain = both
    ours, theirs = (interop.to_nir(net, v, X[0]) for v in (boxed, plain))
    assert list(ours.nodes) == list(theirs.nodes)
    same(*({name: vars(graph.nodes[name])["weight"] for name in ("0", "4")} for graph in (ours, theirs)))
    same(interop.to_state_dict(net, boxed, X[0]), interop.to_state_dict(net, plain, X[0]))
    torch = pytest.importorskip("torch")
    for options in ({}, {"dtype": torch.float64}):
        made, other = (interop.to_snntorch(net, v, X[0], **options).state_dict() for v in (boxed, plain))
        assert all(torch.equal(made[name], other[name]) for name in other)


def test_what_is_loaded_stays_in_its_boxes(both):
    net, boxed, plain = both
    state = interop.to_state_dict(net, plain, X[0])
    state["4.weight"] = state["4.weight"] + 1
    loaded = interop.from_state_dict(net, boxed, state, X[0])
    assert jax.tree.structure(loaded) == jax.tree.structure(boxed)
    same(nn.unbox(loaded), interop.from_state_dict(net, plain, state, X[0]))


def test_time_loop_and_nnx_compute_the_same(both):
    net, boxed, plain = both
    expected = snn.unroll(net, plain, X)[0]
    same(snn.unroll(net, boxed, X)[0], expected)
    same(snn.nnx.Network(net, X[0], variables=boxed).unroll(X), expected)
    assert snn.nnx.Network(net, X[0], rngs=nnx.Rngs(0))(X[0]).shape == (2, 4)


def test_training_and_its_checkpoints_keep_the_boxes(tmp_path):
    net = network(nn.with_partitioning)
    variables, y = net.init(jax.random.key(0), X[0]), jnp.zeros(2, int)
    start = snn.training.TrainState.create(net, variables, optax.adam(1e-2))
    how = {"loss": SF.ce_rate_loss(), "progress": False, "checkpoint": str(tmp_path)}
    state, _ = snn.training.fit(start, [(X, y)], epochs=1, **how)
    assert jax.tree.structure(state.params) == jax.tree.structure(variables["params"])
    again, _ = snn.training.fit(start, [(X, y)], epochs=1, resume=True, **how)
    same(again.params, state.params)
