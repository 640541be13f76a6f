"""Layers one after the other."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import lif

import snnax as snn
from snnax import event
from snnax.errors import ArgumentError

T_MAX = 6.0
KEY = jax.random.key(0)
ONCE = lif(refractory=math.inf)


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def times(seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(0, 2, (3, 4)))


def layers(*last):
    return event.Sequential([event.LIF(5, T_MAX, ONCE), *last])


def test_each_gets_the_spikes_of_the_one_before():
    net = layers(event.LIF(2, T_MAX, ONCE))
    variables = net.init(KEY, times())

    @jax.jit
    def both(variables):
        spikes = event.trains(times())
        for name in ("layers_0", "layers_1"):
            spikes = event.lif_spikes(spikes, variables["params"][name]["weights"], ONCE, t_max=T_MAX)
        return net.apply(variables, times()), spikes

    got, want = both(variables)
    np.testing.assert_array_equal(np.asarray(got.times), np.asarray(want.times))


def test_gradients_of_spike_times_are_those_of_central_differences():
    net = layers(event.LIF(2, T_MAX, ONCE))
    both = with_pull_back(lambda parts: net.apply({"params": parts[0]}, parts[1]))
    found = [
        gradient_error(
            both,
            [net.init(jax.random.key(seed), times(seed))["params"], times(seed)],
            np.random.default_rng(seed),
        )
        for seed in range(4)
    ]
    known = [error for error in found if error is not None]
    assert len(known) > 1 and max(known) < 1e-6


def test_gradients_of_the_largest_voltage_are_those_of_central_differences():
    net = layers(event.LI(2, T_MAX, event.LIParameters(tau_mem=2.0, tau_syn=1.0)))
    params = net.init(KEY, times())["params"]
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(3, 2))
    direction = jax.tree.map(lambda value: generator.normal(size=value.shape), params)

    @jax.jit
    def both(by):
        there = jax.tree.map(lambda value, way: value + by * way, params, direction)
        return jax.value_and_grad(lambda p: jnp.sum(weights * net.apply({"params": p}, times())))(there)

    (after, _), (before, _), (_, gradient) = both(1e-6), both(-1e-6), both(0.0)
    expected = (after - before) / 2e-6
    got = sum(np.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_spike_that_a_hidden_layer_lost_flags_the_output():
    net = event.Sequential([event.LIF(5, T_MAX, lif(), max_spikes=1), event.LIF(2, T_MAX, ONCE)])
    spikes, told = jax.jit(lambda: net.apply(net.init(KEY, times()), times(), mutable=["overflow"]))()
    hidden = told["overflow"]["layers_0"]["spikes"].any(1)
    assert hidden.any() and not told["overflow"]["layers_1"]["spikes"].any()
    assert (spikes.overflow == hidden[:, None]).all()


def test_spikes_of_all_layers_can_be_captured():
    net = layers(event.LI(2, T_MAX))
    options = {"capture_intermediates": True, "mutable": ["intermediates"]}
    _, found = jax.eval_shape(lambda: net.apply(net.init(KEY, times()), times(), **options))
    assert found["intermediates"]["layers_0"]["__call__"][0].times.shape == (3, 5, 1)


def test_a_readout_is_the_last_layer():
    net = layers(event.LI(2, T_MAX), event.LIF(2, T_MAX))
    with pytest.raises(ArgumentError, match="LI at 1 returns no spike trains, which LIF after it needs"):
        jax.eval_shape(lambda: net.init(KEY, times()))


def test_it_has_no_time_steps():
    with pytest.raises(ArgumentError, match=r"has no time steps.*net\.apply\(variables, x\)"):
        snn.unroll(layers(), {}, jnp.zeros((5, 2, 4)))


@pytest.mark.parametrize("given", [[], "LIF", [len], nn.Dense(3)])
def test_what_are_no_layers_is_refused(given):
    with pytest.raises(ArgumentError, match=r"Sequential\(layers="):
        event.Sequential(given)
