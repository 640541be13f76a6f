"""Neurons as NNX modules: the numbers of linen to the last bit, for every public neuron."""

from __future__ import annotations

import inspect
import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from laws.table import TABLE

import snnax as snn
from snnax.errors import ArgumentError, HiddenStateTypeError, StateError
from snnax.nnx.neurons import LINEN

PUBLIC = [n for n in snn.neurons.__all__ if isinstance(getattr(snn, n), type) and n != "SpikingCell"]
"""All but flax's cell, and the functions that make classes."""

ENTRIES = {name: entry for name, entry in TABLE.items() if entry.kind in PUBLIC}


def same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def rebuilt(linen, **more):
    """The NNX module with the fields of a linen one."""
    names = [p for p in inspect.signature(type(linen)).parameters if p not in ("parent", "name")]
    return getattr(snn.nnx, type(linen).__name__)(**{n: getattr(linen, n) for n in names}, **more)


def test_every_public_neuron_has_a_class():
    assert sorted(LINEN) == sorted(PUBLIC)
    assert {entry.kind for entry in ENTRIES.values()} == set(PUBLIC)
    assert set(PUBLIC) <= set(snn.nnx.__all__) <= set(dir(snn.nnx))
    for name in PUBLIC:
        kind = getattr(snn.nnx, name)
        assert kind is getattr(snn.nnx, name)
        assert issubclass(kind, snn.nnx.Neuron)
        assert kind.linen is getattr(snn, name)
        ours, theirs = (inspect.signature(k).parameters for k in (kind, kind.linen))
        assert [*ours] == [*(n for n in theirs if n not in ("parent", "name")), "x", "rngs"]
    with pytest.raises(AttributeError, match="no attribute 'Leakly'"):
        _ = snn.nnx.Leakly


@pytest.mark.parametrize("name", ENTRIES)
def test_the_numbers_are_those_of_linen(name):
    """Weights drawn, two steps, states and gradients, with variables of the same names."""
    entry = ENTRIES[name]
    linen = entry.build()
    x = jnp.asarray(np.random.default_rng(0).normal(1.0, 1.0, entry.shape), jnp.float32)
    model = rebuilt(linen, rngs=nnx.Rngs(0))
    start = jax.jit(linen.init)(nnx.Rngs(0).params(), x)
    assert all(v.shape == (0,) for v in jax.tree.leaves(nnx.state(model, snn.nnx.Hidden)))
    before = {c: v for c, v in start.items() if c != "hidden"}
    assert jax.tree.structure(model.variables()) == jax.tree.structure(before)
    same(model.variables(), before)

    keeps = "hidden" in start
    assert keeps == bool(jax.tree.leaves(nnx.state(model, snn.nnx.Hidden)))
    explicit = not keeps and not getattr(linen, "sequence", False)

    def twice(step):
        """Of a sum of what two steps return, so that states count."""
        y = step(x)
        again = step(x, *(y[1:] if linen.state_names[0] != "spk" else y)) if explicit else step(x)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((y, again))), (y, again)

    def ours(model):
        return twice(model)

    def theirs(params):
        held = {**before, "params": params} if params else before
        hidden = {}

        def step(x, *states):
            if not keeps:
                return linen.apply(held, x, *states)
            y, new = linen.apply({**held, **hidden}, x, *states, mutable=["hidden"])
            hidden.update(new)
            return y

        total, values = twice(step)
        return total, (values, hidden.get("hidden", {}))

    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def split(params):
        merged = nnx.merge(graph, params, rest, copy=True)
        total, values = ours(merged)
        return total, (values, merged.variables().get("hidden", {}))

    found = jax.jit(jax.value_and_grad(split, has_aux=True))(params)
    expected = jax.jit(jax.value_and_grad(theirs, has_aux=True))(before.get("params", {}))
    same(found[0], expected[0])
    same(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]))


def network(**more):
    rngs = nnx.Rngs(0)
    lif = snn.nnx.Leaky(0.9, learn_beta=True, init_hidden=True, **more)
    return nnx.Sequential(nnx.Linear(3, 4, rngs=rngs), lif, nnx.Linear(4, 2, rngs=rngs))


X = np.random.default_rng(1).normal(1.0, 1.0, (5, 6, 3)).astype(np.float32)


def test_a_network_of_nnx_is_trained():
    """Beside the same network in linen."""
    model, target = network(), jnp.ones((6, 2))
    net = snn.Sequential([nn.Dense(4), snn.Leaky(0.9, learn_beta=True, init_hidden=True), nn.Dense(2)])
    layers = model.layers
    linear = {i: {"kernel": layers[i].kernel[...], "bias": layers[i].bias[...]} for i in (0, 2)}
    params = {**{f"layers_{i}": v for i, v in linear.items()}, "layers_1": {"beta": layers[1].beta[...]}}
    tx = optax.adam(0.05)
    optimizer, state = nnx.Optimizer(model, tx, wrt=nnx.Param), tx.init(params)

    @nnx.jit
    def train(model, optimizer, x):
        def loss(model):
            snn.nnx.reset(model)
            return jnp.mean((sum(model(frame) for frame in x) - target) ** 2)

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    @jax.jit
    @jax.value_and_grad
    def loss(params, x):
        y, _ = snn.unroll(net, {"params": params}, x)
        return jnp.mean((y.sum(0) - target) ** 2)

    for _ in range(3):
        found = train(model, optimizer, X)
        value, grads = loss(params, X)
        updates, state = tx.update(grads, state)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(found, value, rtol=1e-5)
    np.testing.assert_allclose(model.layers[1].beta[...], params["layers_1"]["beta"], rtol=1e-5)
    assert float(params["layers_1"]["beta"]) != np.float32(0.9)
    assert model.layers[1].mem[...].shape == (6, 4)


def test_states_are_carried_by_split_jit_and_scan():
    eager, jitted = network(), network()
    step = nnx.jit(lambda model, x: model(x))
    for x in X:
        expected = eager(x)
        np.testing.assert_allclose(step(jitted, x), expected, rtol=1e-6)
    graph, params, hidden = nnx.split(eager, nnx.Param, ...)
    assert [v.shape for v in jax.tree.leaves(hidden)] == [(6, 4)]
    after = nnx.clone(eager)(X[0])
    same(nnx.merge(graph, params, hidden)(X[0]), after)

    scanned = network()
    scanned.layers[1].reset(jnp.zeros((6, 4)))

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
    def steps(model, x):
        return model, model(x)

    scanned, y = steps(scanned, X)
    np.testing.assert_allclose(y[-1], expected, rtol=1e-6)


def test_reset_starts_anew_for_any_batch():
    model = snn.nnx.Leaky(0.9, init_hidden=True)
    first = model(X[0])
    with pytest.raises(StateError, match=r"\(6, 3\).*nnx: call reset\(\)"):
        model(X[0, :2])
    model.reset()
    assert model.mem[...].shape == (0,)
    same(model(X[0, :2]), first[:2])
    model.reset(X[0])
    assert model.mem[...].shape == (6, 3)
    assert not model.mem[...].any()
    same(model(X[0]), first)
    empty = snn.nnx.Leaky(0.9)
    empty.reset(X[0])  # keeps nothing
    assert not jax.tree.leaves(nnx.state(empty))


def test_states_that_start_elsewhere():
    def tiring(x, tired, mem, *, reset):
        return 0.5 * tired, reset(0.5 * mem + x - tired)

    Own = snn.neuron(tiring, {"tired": 0.5, "mem": 0.0})
    linen = Own(init_hidden=True)
    model = snn.nnx.Neuron(linen)
    expected, updates = linen.apply({}, X[0], mutable=["hidden"])
    same(model(X[0]), expected)
    same(model.variables(), {"hidden": updates["hidden"]})
    model.reset(X[0])
    assert float(model.tired[0, 0]) == 0.5
    same(model(X[0]), expected)


def test_models_are_built_under_transformations():
    """As whole models are, to be born on many devices, or as an ensemble."""
    model = nnx.jit(lambda: network())()
    assert float(model.layers[1].beta[...]) == np.float32(0.9)
    np.testing.assert_allclose(model(X[0]), network()(X[0]), rtol=1e-6)

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,))
    def create(rngs):
        return snn.nnx.RLeaky(0.9, linear_features=3, rngs=rngs)

    kernel = create(nnx.Rngs(0)).recurrent["kernel"][...]
    assert kernel.shape == (3, 3, 3)
    assert not np.array_equal(kernel[0], kernel[1])
    with jax.enable_x64(True):
        assert snn.nnx.Leaky(0.9, learn_beta=True).beta.dtype == np.float32


def test_states_by_name():
    model = snn.nnx.Synaptic(0.5, 0.25)
    _, syn, mem = model(X[0])
    same(model(X[0], mem=mem, syn=syn), model(X[0], syn, mem))


def test_arguments_are_attributes():
    model = snn.nnx.Leaky([0.5, 0.75, 1.0], reset_mechanism="zero", learn_threshold=True)
    assert isinstance(model.beta, snn.nnx.Buffer)
    assert isinstance(model.threshold, nnx.Param)
    assert model.reset_mechanism == "zero"
    with pytest.raises(AttributeError, match="'Leaky' object has no attribute 'gamma'"):
        _ = model.gamma
    assert pickle.loads(pickle.dumps(snn.nnx.Leaky)) is snn.nnx.Leaky


def test_nothing_is_assigned_that_the_neuron_would_not_see():
    lif = snn.nnx.Leaky(beta=0.5, learn_beta=True, init_hidden=True)
    with pytest.raises(ArgumentError, match=r"threshold cannot be assigned.*Leaky\(\.\.\., threshold=0.1\)"):
        lif.threshold = 0.1
    for name in ("beta", "mem"):
        with pytest.raises(ArgumentError, match=rf"expected lif.{name}.set_value"):
            setattr(lif, name, jnp.ones(()))
    lif.beta.set_value(jnp.float32(0.25))
    lif.note = "of the user's own"
    lif(jnp.ones((1, 1)))
    assert float(lif(jnp.ones((1, 1)))[0, 0]) == 1 and float(lif.mem[0, 0]) == 1.25


def test_what_does_not_work_is_said():
    with pytest.raises(ArgumentError, match=r"nnx.RLeaky\(\) got no rngs, .* pass rngs=nnx.Rngs\(0\)"):
        snn.nnx.RLeaky(0.9, linear_features=3)
    with pytest.raises(ArgumentError, match=r"expected a neuron, as snnax.Leaky"):
        snn.nnx.Neuron(nn.Dense(3))
    with pytest.raises(ArgumentError, match=r"rngs.*nnx.Rngs\(0\)"):
        snn.nnx.Leaky(0.9, rngs=0)
    with pytest.raises(HiddenStateTypeError, match="keeps its own state"):
        snn.nnx.Leaky(0.9, init_hidden=True)(X[0], X[0])
    with pytest.raises(ArgumentError, match="reset_mechanism='nothing'"):
        snn.nnx.Leaky(0.9, reset_mechanism="nothing")
    with pytest.raises(ArgumentError, match=r"reset\(model=.*expected a module of flax.nnx"):
        snn.nnx.reset(nn.Dense(3))


def test_networks_in_a_model_are_reset_too():
    net = snn.Sequential([nn.Dense(4), snn.Leaky(0.9, init_hidden=True)])
    model = nnx.Sequential(snn.nnx.Network(net, X[0], rngs=nnx.Rngs(0)), network().layers[1])
    model(X[0])
    snn.nnx.reset(model)
    states = jax.tree.leaves(nnx.state(model, snn.nnx.Hidden))
    assert len(states) == 2
    assert not any(v.any() for v in states)
