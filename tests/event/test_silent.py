"""Neurons that never fire get a gradient that wakes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_networks import lif

from snnax import event
from snnax.errors import ArgumentError, ShapeError

T_MAX = 6.0


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def layer(weights, over="batch", **numbers):
    parameters = lif(**numbers)
    inputs = event.trains(jnp.array([[0.0, 0.5], [0.2, np.inf]]))

    def lacking(weights):
        spikes = event.lif_spikes(inputs, weights, parameters, t_max=T_MAX)
        return event.silence(inputs, weights, spikes, parameters, t_max=T_MAX, over=over)

    return jax.jit(jax.value_and_grad(lacking)), jnp.asarray(weights)


@pytest.mark.parametrize(("over", "numbers"), [("batch", {}), ("sample", {"v_leak": 0.2, "tau_mem": 1.3})])
def test_the_gradient_is_that_of_central_differences(over, numbers):
    lacking, weights = layer([[0.8, 6.0, -1.0], [0.7, 1.0, 0.5]], over, **numbers)
    value, gradient = lacking(weights)
    assert value > 0
    for place in np.ndindex(*weights.shape):
        moved = [lacking(weights.at[place].add(by))[0] for by in (1e-6, -1e-6)]
        np.testing.assert_allclose(gradient[place], (moved[0] - moved[1]) / 2e-6, atol=1e-8)


def test_it_counts_those_that_are_silent_in_the_whole_batch_or_in_a_sample():
    # the second neuron fires in the first sample alone
    weights = [[0.8, 3.0, 9.0], [0.8, 3.0, 0.0]]
    by_batch, gradient = layer(weights, "batch")[0](jnp.asarray(weights))
    by_sample, _ = layer(weights, "sample")[0](jnp.asarray(weights))
    assert 0 < by_batch < by_sample
    assert (gradient[:, 0] < 0).all() and (gradient[:, 1:] == 0).all()


def test_from_one_without_input_down_to_none_where_all_fire():
    lacking, weights = layer([[0.5, 0.0, 0.2], [0.5, 0.1, 0.1]])
    assert lacking(0 * weights)[0] == 1.0
    for _ in range(200):
        weights = weights - 2.0 * lacking(weights)[1]
    value, gradient = lacking(weights)
    assert value == 0 and (gradient == 0).all()


def test_what_does_not_fit_is_refused():
    inputs, weights, spikes = (
        event.trains(jnp.zeros((2, 3))),
        jnp.ones((3, 4)),
        event.trains(jnp.zeros((2, 5))),
    )
    with pytest.raises(ShapeError, match=r"silence\(spikes of shape \(2, 5, 1\)\).*\(2, 4\)"):
        event.silence(inputs, weights, spikes, lif(), t_max=1.0)
    with pytest.raises(ArgumentError, match=r"silence\(over='all'\)"):
        event.silence(inputs, weights, event.trains(jnp.zeros((2, 4))), lif(), t_max=1.0, over="all")
