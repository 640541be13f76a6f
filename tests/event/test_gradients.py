"""EventProp against central differences in double precision, extrapolated; and at ties, against the limit."""

import itertools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from event.test_feedforward import CASES, numbers
from helpers.event_differences import gradient_error, with_pull_back

from snnax.event import LIFParameters, Trains, eventprop, lif_spikes

T_MAX = 8.0
NETWORKS = int(os.environ.get("SNNAX_NETWORKS", 5))  # 100 of each, where there is time


def spikes_of(parts, p, budgets):
    """Spike trains of a chain of layers; ``parts`` are the input times and the weights."""
    times, *layers = parts
    signal = Trains(times, jnp.zeros(times.shape[:2], bool))
    for weights, budget in zip(layers, budgets, strict=True):
        signal = lif_spikes(signal, weights, p, t_max=T_MAX, max_spikes=budget)
    return signal


def network(seed, sizes):
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 6, (2, sizes[0], 2))
    return [times, *(rng.normal(4.5 / n, 2 / math.sqrt(n), (n, m)) for n, m in itertools.pairwise(sizes))]


def errors(sizes, p, budgets, networks):
    """Of the gradients in input times and weights, along random lines; without networks in which a spike is born."""
    both = with_pull_back(lambda parts: spikes_of(parts, p, budgets))
    with jax.enable_x64(True):
        found = [
            gradient_error(both, network(seed, sizes), np.random.default_rng(seed))
            for seed in range(networks)
        ]
    return [error for error in found if error is not None]


@pytest.mark.parametrize("case", CASES)
def test_two_layers(case):
    found = errors((4, 5, 3), numbers(case), (6, 4), NETWORKS)
    assert len(found) > 0.7 * NETWORKS and max(found) < 1e-6


@pytest.mark.parametrize(("sizes", "budgets"), [((3, 4), (1,)), ((4, 6, 5, 3), (4, 4, 4))])
def test_one_and_three_layers(sizes, budgets):
    p = LIFParameters(tau_mem=2.0, tau_syn=1.0, v_leak=0.3, v_reset=-0.2)
    found = errors(sizes, p, budgets, NETWORKS)
    assert len(found) > 0.7 * NETWORKS and max(found) < 1e-6


def test_simultaneous_inputs_and_neurons_have_the_gradient_of_the_limit():
    """Inputs at one time, and hidden neurons that fire together: as if they were apart by almost nothing."""
    times, first, second = network(12, (4, 4, 2))
    times[:, 1] = times[:, 0]
    first[:, 1] = first[:, 0]
    p = LIFParameters(tau_mem=2.0, tau_syn=1.0, v_leak=0.2, v_reset=-0.2)
    both = with_pull_back(lambda parts: spikes_of(parts, p, (6, 3)))
    with jax.enable_x64(True):
        tied, _, exact = both([times, first, second], 1.0)
        assert np.isfinite(tied).sum() > 4
        for apart in (1e-10, -1e-10):
            moved_times, moved_first = times.copy(), first.copy()
            moved_times[:, 1] += apart
            moved_first[:, 1] += apart
            spikes, _, gradient = both([moved_times, moved_first, second], 1.0)
            np.testing.assert_allclose(np.asarray(spikes), np.asarray(tied), atol=1e-9)
            for got, want in zip(gradient, exact, strict=True):
                np.testing.assert_allclose(np.asarray(got), np.asarray(want), atol=1e-8)


@pytest.mark.parametrize("case", ["twice", "fires alone", "all", "general", "once, alone"])
def test_no_nan_and_no_gradient_for_what_is_silent(case):
    """Padded inputs, late inputs, silent and overflowing neurons, in float32."""
    times = jnp.array([[[0.5, 1.0], [jnp.inf, jnp.inf], [7.9, 9.0]]], jnp.float32)
    weights = jnp.array([[9.0, 0.1, -5.0], [1.0, 1.0, 1.0], [9.0, 0.1, 1.0]], jnp.float32)

    def total(times, weights):
        spikes = spikes_of([times, weights], numbers(case), [2])
        return jnp.sum(spikes.times), spikes

    (by_times, by_weights), spikes = jax.jit(jax.grad(total, (0, 1), has_aux=True))(times, weights)
    assert jnp.isfinite(by_times).all() and jnp.isfinite(by_weights).all()
    silent = ~(spikes.times[0, :, 0] < jnp.inf)
    assert (by_weights[:, silent] == 0).all() and (by_weights[1] == 0).all()
    assert (by_times[0, 1] == 0).all() and by_times[0, 2, 1] == 0
    assert (by_weights[0, 0] != 0) or numbers(case).fires_alone


@pytest.mark.parametrize("case", ["twice", "all"])
def test_currents_that_the_run_has_noted_are_those_of_its_inputs(case):
    """Spikes of hardware come without currents; of the engine's own spikes the gradient is the same either way."""
    (times, weights), p = network(13, (5, 4)), numbers(case)
    with jax.enable_x64(True):
        spikes, pull = jax.vjp(lambda *parts: spikes_of(parts, p, [4]).times, times, weights)
        ones = jnp.where(spikes < jnp.inf, 1.0, jnp.nan)
        for got, want in zip(
            pull(ones), eventprop.pullback(times, weights, spikes, ones, p, T_MAX), strict=True
        ):
            assert np.abs(want).max() > 0
            np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-9, atol=1e-12)


def test_the_memory_of_a_gradient_is_that_of_its_spikes():
    """No array of inputs by neurons by samples is kept from the forward run."""
    times, weights = jnp.zeros((7, 50, 1)), jnp.ones((50, 30))
    _, pull = jax.vjp(lambda *a: spikes_of(a, LIFParameters(), [2]).times, times, weights)
    kept = [leaf.size for leaf in jax.tree.leaves(pull) if hasattr(leaf, "size")]
    assert max(kept) == weights.size > 7 * 30 * 2
