"""``snn.step``: one compiled step, which after T of them is ``unroll``."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError, StateError

X = jnp.asarray(np.random.default_rng(0).uniform(0, 2, (6, 3, 4)), jnp.float32)


class Own(nn.Module):
    """A user's own layer with a state."""

    @nn.compact
    def __call__(self, x):
        total = self.variable("hidden", "total", jnp.zeros, x.shape)
        total.value = total.value + x
        return total.value


def networks():
    lif = {"beta": 0.5, "init_hidden": True}
    back = [("input", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")]
    return {
        "chain": snn.Sequential(nn.Dense(4), snn.Synaptic(0.5, **lif), snn.RLeaky(linear_features=4, **lif)),
        "loop": snn.Graph({"lif": snn.Leaky(**lif), "back": nn.Dense(4)}, back),
        "own": snn.Sequential(Own(), snn.Leaky(**lif, output=True)),
        "neuron": snn.Leaky(**lif, output=True),
    }


@pytest.mark.parametrize("kind", networks())
def test_steps_are_those_of_unroll(kind):
    net = networks()[kind]
    variables = snn.utils.reset(net.init(jax.random.key(0), X[0]))
    wanted, after = snn.unroll(net, variables, X)
    found = []
    for x in X:
        y, updates = snn.step(net, variables, x)
        variables = {**variables, **updates}
        found.append(y)
    stacked = jax.tree.map(lambda *steps: jnp.stack(steps), *found)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), stacked, wanted)
    assert jax.tree.structure(variables["hidden"]) == jax.tree.structure(after["hidden"])


def test_it_updates_what_is_named_and_draws_with_keys():
    net = snn.Sequential(nn.Dropout(0.5, deterministic=False), snn.Leaky(0.5, init_hidden=True))
    keys = {"dropout": jax.random.key(3)}
    spk, updates = snn.step(net, {}, X[0], rngs=keys, mutable=["record"])
    assert set(updates) == {"hidden", "record"}
    assert np.array_equal(updates["record"]["layers_1"]["spk"], spk)


def test_it_runs_inside_of_jit_and_under_grad():
    net = networks()["chain"]
    variables = net.init(jax.random.key(0), X[0])
    plain, inside = snn.step(net, variables, X[0]), jax.jit(lambda v, x: snn.step(net, v, x))(variables, X[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), plain, inside)
    slope = jax.grad(lambda x: snn.step(net, variables, x)[0].sum())(X[0])
    assert jnp.any(slope != 0)


def test_a_step_without_statistics_is_refused():
    net = snn.Sequential(snn.BatchNormTT1d(4, time_steps=1, use_running_average=True))
    _, updates = snn.step(net, net.init(jax.random.key(0), X[0]), X[0])
    variables = {**net.init(jax.random.key(0), X[0]), **updates}
    with pytest.raises(ArgumentError, match="got step 1; expected 0 to 0"):
        snn.step(net, variables, X[1])


@pytest.mark.parametrize("run", [snn.unroll, snn.step])
def test_a_neuron_whose_state_nobody_carries_is_refused(run):
    with pytest.raises(ArgumentError, match=r"each step would start from zeros.*init_hidden=True"):
        run(snn.Leaky(0.5), {}, X)


def test_what_has_no_steps_and_what_does_not_fit_is_refused():
    net = networks()["chain"]
    variables = net.init(jax.random.key(0), X[0])
    with pytest.raises(ArgumentError, match="all time steps in one call"):
        snn.step(snn.Sequential(snn.StateLeaky(0.5, 4)), {}, X[0])
    with pytest.raises(StateError, match="another batch size"):
        snn.step(net, variables, X[0, :2])
    with pytest.raises(ShapeError):
        snn.step(net, variables, X[0, :, :2])
    with pytest.raises(ArgumentError):
        snn.step(net, variables, "x")
