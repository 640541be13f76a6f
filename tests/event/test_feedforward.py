"""Layers of event-driven neurons against dense stepping, and what no engine may do: lose a spike."""

import math
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_stepping import spike_times

from snnax.errors import ArgumentError, ShapeError
from snnax.event import LIFParameters, Trains, count, from_lists, lif_spikes, trains

CASES = {
    "twice": {},
    "leak": {"v_leak": 0.3},
    "fires alone": {"v_leak": 1.4},
    "refractory": {"refractory": 0.6},
    "all": {"v_leak": 1.3, "refractory": 0.3, "v_reset": -0.5},
    "initial": {"v_initial": 0.7, "v_reset": -1.0, "v_leak": -0.2},
    "equal": {"tau_syn": 2.0},
    "reversed": {"tau_mem": 0.7, "refractory": 0.2},
    "general": {"tau_mem": 3.3, "v_reset": 0.5},
    "equal, alone": {"tau_syn": 2.0, "v_leak": 1.2},
    "once": {"refractory": math.inf, "v_leak": 0.2},
    "once, alone": {"refractory": math.inf, "tau_mem": 1.0, "v_leak": 1.5},
}
T_MAX, BUDGET = 8.0, 10


def numbers(case):
    return LIFParameters(**{"tau_mem": 2.0, "tau_syn": 1.0, **CASES[case]})


def network(seed, samples=1, inputs=6, neurons=20):
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 6, (samples, inputs, 2))
    times[:, 1] = times[:, 0]  # exactly at the same time
    times[:, 2, 1] = np.inf
    return times, rng.normal(1.2, 2.5, (inputs, neurons))


@pytest.mark.parametrize("case", CASES)
def test_spikes_are_those_of_dense_stepping(case):
    p = numbers(case)
    times, weights = network(3)
    with jax.enable_x64(True):
        spikes = lif_spikes(trains(times), weights, p, t_max=T_MAX, max_spikes=BUDGET)
        spikes = jax.tree.map(np.asarray, spikes)
    wiring = SimpleNamespace(inputs=weights, recurrent=None, delayed=None, delays=None)
    wanted = spike_times([(weights.shape[1], p)], times[0], wiring, T_MAX)
    if p.fires_once:
        wanted = [train[:1] for train in wanted]
    assert sum(map(len, wanted)) > 10
    for m, train in enumerate(wanted):
        assert spikes.overflow[0, m] == (len(train) > BUDGET)
        np.testing.assert_allclose(spikes.times[0, m, : len(train)], train[:BUDGET], rtol=0, atol=1e-9)
        assert (spikes.times[0, m, len(train) :] == np.inf).all()


@pytest.mark.parametrize("case", ["twice", "all", "general"])
def test_a_small_budget_keeps_the_first_spikes_and_tells_of_more(case):
    p = numbers(case)
    times, weights = network(4, samples=2)
    many = lif_spikes(trains(times), weights, p, t_max=T_MAX, max_spikes=BUDGET)
    few = lif_spikes(trains(times), weights, p, t_max=T_MAX, max_spikes=2)
    np.testing.assert_array_equal(few.times, many.times[..., :2])
    np.testing.assert_array_equal(few.overflow, count(many) > 2)


def test_one_spike_at_most_is_the_first_of_many():
    times, weights = network(5, samples=3)
    for fields in ({}, {"v_leak": 0.4}, {"tau_syn": 2.0}, {"v_leak": 1.3}):
        p = LIFParameters(**{"tau_mem": 2.0, "tau_syn": 1.0, **fields})
        once = LIFParameters(**{"tau_mem": 2.0, "tau_syn": 1.0, "refractory": math.inf, **fields})
        first = lif_spikes(trains(times), weights, p, t_max=T_MAX)
        only = lif_spikes(trains(times), weights, once, t_max=T_MAX, max_spikes=3)
        np.testing.assert_allclose(only.times[..., :1], first.times, rtol=1e-6)
        assert not only.overflow.any() and (only.times[..., 1:] == np.inf).all()


@pytest.mark.parametrize("case", ["twice", "all", "general", "once, alone"])
def test_the_order_and_the_padding_of_inputs_mean_nothing(case):
    times, weights = network(6)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(weights))
    wider = np.pad(times, ((0, 0), (0, 0), (0, 3)), constant_values=np.inf)
    wider[0, 0, 3] = T_MAX  # has no time to act
    options = {"t_max": T_MAX, "max_spikes": BUDGET}
    with jax.enable_x64(True):
        plain = lif_spikes(trains(times), weights, numbers(case), **options)
        mixed = lif_spikes(trains(wider[:, order]), weights[order], numbers(case), **options)
        plain, mixed = jax.tree.map(np.asarray, (plain, mixed))
    np.testing.assert_allclose(mixed.times, plain.times, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", ["twice", "fires alone", "all", "reversed", "equal", "once", "once, alone"])
def test_float32_over_ten_thousand_time_constants(case):
    """The same two inputs again and again, far apart: the same answer each time, and no NaN in the gradients."""
    p = numbers(case)
    begins = np.linspace(0, 9970, 8)
    times = np.stack([begins, begins + 0.5])[None]
    weights = jnp.array([[3.5, 0.5], [3.0, 1.0]], jnp.float32)

    def total(weights, times):
        spikes = lif_spikes(Trains(times, jnp.zeros((1, 2), bool)), weights, p, t_max=1e4, max_spikes=40)
        return jnp.sum(jnp.where(spikes.times < jnp.inf, spikes.times, 0)), spikes

    slopes, spikes = jax.jit(jax.grad(total, (0, 1), has_aux=True))(weights, jnp.float32(times))
    assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)
    found = np.asarray(spikes.times[0, 0])
    if p.fires_once:
        assert found[0] < 3
        return
    if p.fires_alone:
        assert spikes.overflow.all() and (np.diff(found) > 0.1).all() and found[-1] < 2000
        return
    found = found[found < np.inf]
    offsets = np.array([(found - b)[(found >= b) & (found < b + 200)] for b in begins])
    assert offsets.shape[1] >= 1  # as many spikes after each pair
    np.testing.assert_allclose(offsets[1:], offsets[1:2].repeat(7, 0), atol=4e-3)  # 4 ulp of 1e4


@pytest.mark.parametrize("case", ["twice", "general", "all"])
def test_jit_and_vmap_change_nothing(case):
    times, weights = network(7, samples=3)

    def run(times, weights):
        inputs = Trains(times, jnp.zeros(times.shape[:2], bool))
        return lif_spikes(inputs, weights, numbers(case), t_max=T_MAX, max_spikes=3)

    with jax.enable_x64(True):
        plain = run(trains(times).times, jnp.array(weights))
        jitted = jax.jit(run)(trains(times).times, jnp.array(weights))
        mapped = jax.vmap(run, (0, None))(trains(times).times[:, None], jnp.array(weights))
        plain, jitted, mapped = jax.tree.map(np.asarray, (plain, jitted, mapped))
    np.testing.assert_allclose(jitted.times, plain.times, rtol=1e-12)
    np.testing.assert_allclose(mapped.times[:, 0], plain.times, rtol=1e-12)
    np.testing.assert_array_equal(mapped.overflow[:, 0], plain.overflow)


def test_neurons_that_are_alike_fire_together():
    times, weights = network(8)
    twice = np.repeat(weights, 2, 1)
    spikes = lif_spikes(trains(times), twice, numbers("twice"), t_max=T_MAX, max_spikes=BUDGET)
    np.testing.assert_array_equal(spikes.times[:, ::2], spikes.times[:, 1::2])
    assert count(spikes).sum() > 20


def test_a_spike_is_later_than_the_input_that_causes_it():
    """Also where the difference is too small for floats: the gradient has to know which came first."""
    p = LIFParameters(tau_mem=2.0, tau_syn=1.0, v_initial=1 - 2**-24, v_leak=0.5, v_reset=0.0)
    spikes = lif_spikes(from_lists([[[4e3], [4e3]]]), jnp.full((2, 1), 1e6), p, t_max=5e3)
    assert 4e3 < spikes.times[0, 0, 0] < 4e3 + 0.01


def test_no_input_and_no_neuron():
    p = numbers("twice")
    silent = lif_spikes(from_lists([[[], []]]), jnp.ones((2, 3)), p, t_max=1.0, max_spikes=2)
    assert silent.times.shape == (1, 3, 2) and (silent.times == np.inf).all() and not silent.overflow.any()
    assert lif_spikes(from_lists([[[], []]]), jnp.ones((2, 0)), p, t_max=1.0).times.shape == (1, 0, 1)


INPUTS = from_lists([[[1e-3], [2e-3]]])


def test_inputs_may_be_constants_of_a_program():
    """Their times are looked at before it runs, not in it."""
    layer = partial(lif_spikes, parameters=LIFParameters(), t_max=0.1)
    weights = jnp.full((2, 3), 4.0)
    found = jax.jit(lambda weights: layer(INPUTS, weights))(weights)
    np.testing.assert_allclose(found.times, layer(INPUTS, weights).times, rtol=1e-6)
    negative = trains(jnp.array([[-1.0, 0.0]]))
    with pytest.raises(ArgumentError, match="from 0 on"):
        jax.eval_shape(lambda weights: layer(negative, weights), weights)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"inputs": jnp.zeros((1, 2, 1))},
            ArgumentError,
            r"lif_spikes\(inputs=.*as snnax.event.trains\(times\)",
        ),
        ({"inputs": from_lists([[[-1e-3], []]])}, ArgumentError, "from 0 on"),
        ({"inputs": trains(jnp.array([[jnp.nan, 0]]))}, ArgumentError, "from 0 on"),
        ({"weights": jnp.ones((3, 4))}, ShapeError, r"\(3, 4\).*N = 2"),
        ({"weights": jnp.ones(2)}, ShapeError, r"jnp.ones\(\(2, 10\)\)"),
        ({"weights": "w"}, ArgumentError, "array of real numbers"),
        ({"parameters": {"tau_mem": 1}}, ArgumentError, r"expected LIFParameters\(\)"),
        ({"t_max": math.inf}, ArgumentError, r"lif_spikes\(t_max=inf\); expected seconds"),
        ({"t_max": 0}, ArgumentError, "above 0"),
        ({"max_spikes": 0}, ArgumentError, r"lif_spikes\(max_spikes=0\)"),
    ],
)
def test_errors_say_what_works(given, error, message):
    call = {"inputs": INPUTS, "weights": jnp.ones((2, 3)), "parameters": LIFParameters(), "t_max": 0.1}
    with pytest.raises(error, match=message):
        lif_spikes(**{**call, **given})
