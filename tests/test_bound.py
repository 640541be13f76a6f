"""Calls of bound modules: what Flax's own call returns and keeps, as compiled programs."""

from __future__ import annotations

import gc
import weakref

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import bound
from snnax.errors import SnnaxError, StateError
from snnax.functional import ce_rate_loss

X = jnp.asarray(np.random.default_rng(0).uniform(0, 2, (3, 4)), jnp.float32)
HIDDEN = {"beta": 0.5, "init_hidden": True}


class Own(snn.Module):
    """A network in torch's words, that notes when Python runs it."""

    def __init__(self, calls=None):
        super().__init__()
        self.fc1 = snn.Linear(4, 5)
        self.lif1 = snn.Synaptic(alpha=0.5, **HIDDEN)
        self.drop = snn.Dropout(0.5)
        self.block = snn.Sequential(snn.Linear(5, 4), snn.Leaky(**HIDDEN, output=True))

    def forward(self, x):
        seen.append(x)
        return self.block(self.drop(self.lif1(self.fc1(x))))


seen: list = []


def networks():
    return {
        "chain": snn.Sequential(
            nn.Dense(4), snn.Leaky(**HIDDEN), snn.RLeaky(**HIDDEN, linear_features=4, output=True)
        ),
        "own": snn.utils.evaluating(Own()),
        "neuron": snn.Leaky(**HIDDEN, output=True),
    }


def flax_only(monkeypatch):
    monkeypatch.setattr(bound, "call", lambda module, args: NotImplemented)


def spied(monkeypatch):
    """The modules whose calls were programs."""
    found, call = [], bound.call

    def noted(module, args):
        result = call(module, args)
        if result is not NotImplemented:
            found.append(type(module).__name__)
        return result

    monkeypatch.setattr(bound, "call", noted)
    return found


def rates(net, steps=4):
    """The results of some steps, and the state after them."""
    variables = snn.utils.reset(net.init(jax.random.key(0), X))
    there = net.bind(variables, mutable=["hidden", "record"])
    return [there(step * X) for step in range(steps)], there.variables


def same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.weak_type == b.weak_type
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("kind", networks())
def test_it_returns_and_keeps_what_the_call_does(kind, monkeypatch):
    found = spied(monkeypatch)
    ours = rates(networks()[kind])
    assert (
        set(found)
        == {
            "chain": {"Sequential"},
            "own": {"Dense", "Synaptic", "Dropout", "Sequential"},
            "neuron": {"Leaky"},
        }[kind]
    )
    flax_only(monkeypatch)
    same(ours, rates(networks()[kind]))


def test_what_the_user_wrote_runs_as_python_each_time():
    there = Own().bind(
        Own().init(jax.random.key(0), X), mutable=["hidden"], rngs={"dropout": jax.random.key(1)}
    )
    seen.clear()
    first, second = there(X), there(X)
    assert len(seen) == 2
    assert not np.array_equal(first[1], second[1])  # other keys at each call, as Flax hands them out


def test_reset_forgets_and_another_batch_size_is_refused_before():
    net = networks()["chain"]
    there = net.bind(net.init(jax.random.key(0), X), mutable=["hidden"])
    first = there(X)
    assert not np.array_equal(first[1], there(X)[1])
    with pytest.raises(StateError, match="another batch size"):
        there(X[:2])
    snn.utils.reset(there)
    np.testing.assert_array_equal(there(X)[1], first[1])


def test_a_state_that_is_not_mutable_and_missing_weights_are_refused():
    net = networks()["chain"]
    with pytest.raises(StateError, match="not mutable"):
        net.bind(net.init(jax.random.key(0), X))(X)
    with pytest.raises(SnnaxError, match="'kernel' of 'params'"):
        net.bind({}, mutable=["hidden"])(X)


def test_interceptors_notes_and_traced_values_are_left_to_flax(monkeypatch):
    found = spied(monkeypatch)
    net = networks()["own"]
    variables = net.init(jax.random.key(0), X)
    names = []

    def watch(following, args, kwargs, context):
        names.append(type(context.module).__name__)
        return following(*args, **kwargs)

    with nn.intercept_methods(watch):
        net.bind(variables, mutable=["hidden"])(X)
    assert {"Dense", "Synaptic", "Leaky"} <= set(names)
    _, noted = net.apply(variables, X, mutable=["hidden", "intermediates"], capture_intermediates=True)
    assert {"fc1", "lif1", "block"} <= set(noted["intermediates"])
    jax.jit(lambda x: net.bind(variables, mutable=["hidden"])(x))(X)
    jax.grad(lambda p: net.bind({"params": p}, mutable=["hidden"])(X)[1].sum())(variables["params"])
    assert "Synaptic" in net.tabulate(jax.random.key(0), X)
    assert not found


def test_gradients_through_a_bound_network_are_those_of_unroll():
    net = networks()["chain"]
    variables = net.init(jax.random.key(0), X)

    def looped(params):
        there = net.bind({"params": params}, mutable=["hidden"])
        return sum(there(x)[0].sum() for x in (X, 2 * X))

    def unrolled(params):
        return snn.unroll(net, {"params": params}, jnp.stack([X, 2 * X]))[0][0].sum()

    grads = jax.grad(looped)(variables["params"]), jax.grad(unrolled)(variables["params"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *grads)


def test_a_bound_network_goes_with_its_weights_when_nobody_holds_it():
    net = networks()["own"]
    there = net.bind(net.init(jax.random.key(0), X), mutable=["hidden"])
    there(X)
    weights, gone = weakref.ref(there.variables["params"]["fc1"]["kernel"]), there
    seen.clear()
    del there, gone
    gc.collect()
    assert weights() is None


def test_losses_take_what_a_bound_network_returns():
    net = networks()["chain"]
    there = net.bind(net.init(jax.random.key(0), X), mutable=["hidden"])
    spk_rec = jnp.stack([there(X)[0] for _ in range(3)])
    assert np.isfinite(ce_rate_loss()(spk_rec, jnp.array([0, 1, 2])))
