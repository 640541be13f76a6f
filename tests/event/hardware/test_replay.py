"""Observed spikes: the values are theirs, the gradients those of neurons that fired there."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError, ShapeError
from snnax.event.hardware import replayed, replayed_network

NEURONS = event.LIFParameters(tau_mem=2.0, tau_syn=1.0, v_reset=-0.5)
ONCE = event.LIFParameters(tau_mem=2.0, tau_syn=1.0, refractory=math.inf)
T_MAX = 8.0


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def network(seed=0):
    rng = np.random.default_rng(seed)
    inputs = event.trains(jnp.asarray(rng.uniform(0, 2, (3, 4))))
    return inputs, [jnp.asarray(rng.uniform(0.5, 2.5, (4, 5))), jnp.asarray(rng.uniform(0.5, 2, (5, 2)))]


def finite(times):
    return jnp.sum(
        jnp.where(times < jnp.inf, times, 0.0) * jnp.cos(jnp.arange(times.size).reshape(times.shape))
    )


def exact(inputs, weights, parameters, max_spikes=2):
    found = []
    for matrix in weights:
        inputs = event.lif_spikes(inputs, matrix, parameters, t_max=T_MAX, max_spikes=max_spikes)
        found.append(inputs)
    return found


def test_at_exact_spikes_the_gradients_are_those_of_the_layers():
    inputs, weights = network()
    seen = jax.jit(lambda *given: exact(*given, NEURONS))(inputs, weights)
    assert np.isfinite(seen[1].times).sum() > 3

    def simulated(times, weights):
        return finite(exact(inputs._replace(times=times), weights, NEURONS)[-1].times)

    def observed(times, weights):
        given = inputs._replace(times=times)
        return finite(replayed_network(given, weights, seen, NEURONS, t_max=T_MAX)[-1].times)

    both = jax.jit(lambda *given: [jax.grad(f, (0, 1))(*given) for f in (simulated, observed)])
    want, got = both(inputs.times, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-9), got, want)


def test_the_values_are_those_observed_and_the_weights_those_used():
    inputs, (weights, _) = network()
    seen = event.trains(jnp.full((3, 5), 3.0))

    def observed(weights, used):
        found = replayed_network(inputs, [weights], [seen], ONCE, t_max=T_MAX, used=used)[0].times
        return found.sum(), found

    gradient = jax.jit(jax.grad(observed, has_aux=True))
    by_used, times = gradient(weights, [2 * weights])
    want, _ = gradient(2 * weights, [2 * weights])
    np.testing.assert_array_equal(np.asarray(times), np.asarray(seen.times))
    np.testing.assert_allclose(np.asarray(by_used), np.asarray(want))
    assert (np.asarray(by_used) != np.asarray(gradient(weights, [weights])[0])).any()


def test_a_spike_that_cannot_have_been_has_a_gradient_that_is_bounded():
    """Seen long after its inputs, when the current is too small to lift the voltage."""
    inputs, weights = event.trains(jnp.zeros((1, 1))), jnp.full((1, 1), 5.0)
    seen = event.trains(jnp.full((1, 1), 7.0))

    def slope(slowest):
        def time(weights):
            return replayed(inputs, weights, seen, ONCE, t_max=T_MAX, slowest=slowest).times.sum()

        return float(jax.grad(time)(weights)[0, 0])

    response = math.exp(-3.5) - math.exp(-7.0)
    np.testing.assert_allclose(slope(0.2), -response * ONCE.tau_mem / 0.2, rtol=1e-9)
    assert slope(0.0) < 1e6 * slope(0.2) < 0
    with pytest.raises(ArgumentError, match=r"replayed\(slowest=-1"):
        slope(-1)


def test_what_does_not_fit_is_refused():
    inputs, weights = network()
    with pytest.raises(
        ShapeError, match=r"observed with times of shape \(3, 2, 1\)\): expected \[B, M, K\] with B = 3"
    ):
        replayed(inputs, weights[0], event.trains(jnp.ones((3, 2))), ONCE, t_max=1.0)
    with pytest.raises(ShapeError, match="weights of 2, observed of 0, used of 2 layers"):
        replayed_network(inputs, weights, [], ONCE, t_max=1.0)
    with pytest.raises(ArgumentError, match=r"replayed\(t_max=0"):
        replayed(inputs, weights[0], event.trains(jnp.ones((3, 5))), ONCE, t_max=0)
