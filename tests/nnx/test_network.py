"""Networks as NNX modules: the same as in linen, with what NNX users expect."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers import neurons as twin

import snnax as snn
from snnax.errors import ArgumentError, StateError

T, B = 7, 4
X = jnp.asarray(2 * twin.current((T, B, 3)))


def dense():
    layers = [nn.Dense(5), snn.Leaky([0.9, 0.8, 0.7, 0.6, 0.5], init_hidden=True), nn.Dense(2)]
    return snn.Sequential([*layers, snn.Leaky(0.9, learn_beta=True, init_hidden=True, output=True)])


def same(ours, theirs, atol=0.0):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def fresh():
    return snn.nnx.Network(dense(), X[0], rngs=nnx.Rngs(0))


@pytest.fixture
def model(fresh):
    return nnx.clone(fresh)


def test_a_call_is_a_step_and_keeps_the_state(model):
    net, variables = model.net, model.variables()
    assert set(variables) == {"params", "buffers", "hidden"}
    assert jax.tree.structure(variables) == jax.tree.structure(net.init(jax.random.key(0), X[0]))
    for x in X[:3]:
        expected, updates = net.apply(variables, x, mutable=["hidden"])
        variables = {**variables, **updates}
        same(model(x), expected)
    same(model.variables(), variables)
    model.reset()
    assert not any(v.any() for v in jax.tree.leaves(model.variables()["hidden"]))


def test_unroll_is_many_steps(model):
    variables = model.variables()
    expected, updates = snn.unroll(model.net, variables, X)
    same(model.unroll(X), expected)
    same(model.variables()["hidden"], updates["hidden"])
    model.reset()
    steps = [model(x) for x in X]
    same(jax.tree.map(lambda *v: jnp.stack(v), *steps), expected, 1e-6)
    same(model.variables()["hidden"], updates["hidden"], 1e-6)
    model.reset()
    first, second = model.unroll(X[:3]), model.unroll(X[3:])
    same(jax.tree.map(lambda *v: jnp.concatenate(v), first, second), expected, 1e-6)
    model.reset()
    y, recorded = model.unroll(X, record=["layers_1"])
    same(y, expected)
    assert sorted(recorded["layers_1"]) == ["input", "mem", "spk"]


def test_variables_have_types(model):
    kinds = {nnx.Param: 5, snn.nnx.Hidden: 2, snn.nnx.Buffer: 1}
    for kind, count in kinds.items():
        assert len(jax.tree.leaves(nnx.state(model, kind))) == count
    everything = len(jax.tree.leaves(nnx.state(model, nnx.Variable)))
    assert everything == sum(kinds.values()) + 2  # and a key with its count
    expected, _ = model.net.apply(model.variables(), X[0], mutable=["hidden"])
    graph, params, hidden, rest = nnx.split(model, nnx.Param, snn.nnx.Hidden, ...)
    same(nnx.merge(graph, params, hidden, rest)(X[0]), expected)


def test_jit_keeps_the_state(model):
    @nnx.jit
    def step(model, x):
        return model(x)

    other = nnx.clone(model)
    for x in X[:3]:
        same(step(model, x), other(x), 1e-6)
    same(model.variables(), other.variables(), 1e-6)
    assert any(v.any() for v in jax.tree.leaves(model.variables()["hidden"]))


def test_training_is_that_of_linen(model):
    net, start = model.net, model.variables()
    target = jnp.array([0, 1, 0, 1])
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)

    @nnx.jit
    def train(model, optimizer):
        def loss(model):
            model.reset()
            _, mem = model.unroll(X)
            return optax.softmax_cross_entropy_with_integer_labels(mem[-1], target).mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    ours = [float(train(model, optimizer)) for _ in range(3)]

    fixed = {"buffers": start["buffers"]}
    tx = optax.adam(0.05)
    params, state, theirs = start["params"], tx.init(start["params"]), []

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        (_, mem), _ = snn.unroll(net, {**fixed, "params": params}, X)
        return optax.softmax_cross_entropy_with_integer_labels(mem[-1], target).mean()

    for _ in range(3):
        value, gradients = loss(params)
        updates, state = tx.update(gradients, state)
        params = optax.apply_updates(params, updates)
        theirs.append(float(value))

    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert len({*ours}) == 3
    same(model.variables()["params"], params, 1e-6)
    same(model.variables()["buffers"], start["buffers"])
    for before, after in zip(jax.tree.leaves(start["params"]), jax.tree.leaves(params), strict=True):
        assert not np.array_equal(before, after)


def test_gradient_of_single_steps(model):
    """A loop over calls inside the loss, as it is written in torch."""

    def loss(model):
        model.reset()
        return sum(jnp.mean(model(x)[1] ** 2) for x in X[:3])

    def linen(params):
        hidden, total = start["hidden"], 0.0
        for x in X[:3]:
            given = {**start, "params": params, "hidden": hidden}
            (_, mem), updates = model.net.apply(given, x, mutable=["hidden"])
            hidden, total = updates["hidden"], total + jnp.mean(mem**2)
        return total

    start = model.variables()
    ours = nnx.to_pure_dict(nnx.jit(nnx.grad(loss))(model))["collections"]["params"]
    same(ours, jax.jit(jax.grad(linen))(start["params"]), 1e-6)


def test_another_batch_size_needs_a_reset(model):
    model(X[0])
    with pytest.raises(StateError, match=r"'mem' has shape \(4, 5\), the input \(2, 5\)"):
        model(X[0, :2])
    model.reset(X[0, :2])
    assert model(X[0, :2])[0].shape == (2, 2)
    assert model.unroll(X[:, :2])[0].shape == (T, 2, 2)


def test_known_variables_are_taken(model):
    given = model.variables()
    copy = snn.nnx.Network(model.net, X[0], variables={c: v for c, v in given.items() if c != "hidden"})
    same(copy.variables(), given)
    same(copy.unroll(X), model.unroll(X))
    later = snn.nnx.Network(model.net, X[0], variables=model.variables())
    same(later(X[0]), model(X[0]))


def test_random_layers_and_batch_statistics():
    net = snn.Sequential(
        [
            nn.BatchNorm(use_running_average=False),
            nn.Dropout(0.5, deterministic=False),
            snn.LI(2e-4, init_hidden=True),
        ]
    )
    model = snn.nnx.Network(net, X[0], rngs=nnx.Rngs(params=0, dropout=1))
    first, second = model(X[0]), model(X[0])
    assert not np.array_equal(first == 0, second == first / 2)
    assert len(jax.tree.leaves(nnx.state(model, nnx.BatchStat))) == 2
    before = model.variables()["batch_stats"]["layers_0"]["mean"]
    model.unroll(X)
    after = model.variables()["batch_stats"]["layers_0"]["mean"]
    assert float(jnp.abs(before).max()) > 0
    assert not np.array_equal(before, after)


def test_as_part_of_an_nnx_model():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.spiking = snn.nnx.Network(dense(), X[0], rngs=rngs)
            self.readout = nnx.Linear(2, 1, rngs=rngs)

        def __call__(self, x):
            self.spiking.reset()
            return self.readout(self.spiking.unroll(x)[1].mean(0))

    model = Model(nnx.Rngs(0))
    gradients = nnx.jit(nnx.grad(lambda m: (m(X) ** 2).mean()))(model)
    assert len(jax.tree.leaves(gradients)) == 7
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradients))


def test_what_is_no_network_is_refused():
    with pytest.raises(ArgumentError, match="expected a linen module"):
        snn.nnx.Network(jnp.tanh, X[0], rngs=nnx.Rngs(0))
    with pytest.raises(ArgumentError, match=r"neither rngs nor variables"):
        snn.nnx.Network(dense(), X[0])


def test_an_ensemble_is_made_and_run_by_vmap():
    """As NNX users make it: members with weights and dropout of their own."""
    net = snn.Sequential(
        [nn.Dense(5), nn.Dropout(0.5, deterministic=False), snn.Leaky(0.9, init_hidden=True)]
    )

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,))
    def create(rngs):
        return snn.nnx.Network(net, X[0], rngs=rngs)

    @nnx.vmap(in_axes=(0, None))
    def forward(model, x):
        return model(x)

    models = create(nnx.Rngs(0, dropout=1))
    assert forward(models, X[0]).shape == (3, B, 5)
    kernel = models.collections["params"]["layers_0"]["kernel"][...]
    assert not np.array_equal(kernel[0], kernel[1])
    (mem,) = jax.tree.leaves(nnx.state(models, snn.nnx.Hidden))
    assert mem.shape == (3, B, 5)
    assert mem.any()


def test_streams_are_its_own():
    """The weights are those of the caller's key; what the module draws later does not move the caller's streams."""
    rngs = nnx.Rngs(0)
    model = snn.nnx.Network(dense(), X[0], rngs=rngs)
    again = snn.nnx.Network(dense(), X[0], variables=dense().init({"params": nnx.Rngs(0).params()}, X[0]))
    same(model.variables(), again.variables())
    assert model.rngs is not rngs
