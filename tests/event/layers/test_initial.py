"""Neurons fire with the weights that they are given first, whatever their constants."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ShapeError

KEY = jax.random.key(0)


@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(10e-3, 5e-3), (5e-3, 5e-3), (4e-3, 9e-3)])
def test_the_peak_of_inputs_that_come_together_has_the_mean_and_the_deviation(tau_mem, tau_syn):
    neurons = event.LIFParameters(tau_mem=tau_mem, tau_syn=tau_syn, threshold=0.7, v_leak=-0.3)
    draw = event.firing_normal(neurons, gain=2.0, spread=0.2)
    weights = draw(KEY, (50, 2000))
    together = event.trains(jnp.zeros((1, 50)))
    largest = jax.jit(lambda weights: event.li_max_voltage(together, weights, neurons, t_max=0.1))
    peak = largest(weights)[0] - neurons.v_leak
    np.testing.assert_allclose(peak.mean(), 2.0, atol=0.02)
    np.testing.assert_allclose(peak.std(), 0.2, atol=0.01)


@pytest.mark.parametrize(("inputs", "tau_syn"), [(5, 5e-3), (120, 10e-3)])
def test_neurons_fire_at_inputs_that_are_spread_over_time(inputs, tau_syn):
    neurons = event.LIFParameters(tau_syn=tau_syn, refractory=math.inf)
    times = jax.random.uniform(KEY, (16, inputs), maxval=20e-3)
    layer = event.LIF(200, 40e-3, neurons)
    spikes = jax.jit(layer.apply)(layer.init(KEY, times), times)
    assert np.isfinite(spikes.times).mean() > 0.9


def test_it_can_be_compared_and_hashed():
    neurons = event.LIFParameters()
    assert event.firing_normal(neurons) == event.firing_normal(neurons, 3.0)
    assert hash(event.firing_normal(neurons)) == hash(event.firing_normal(neurons, 3.0))
    assert event.firing_normal(neurons)(KEY, (3, 2), jnp.float16).dtype == jnp.float16


def test_a_shape_of_no_layer_is_refused():
    with pytest.raises(ShapeError, match=r"shape=\(3,\)\): expected \[N, M\]"):
        event.firing_normal(event.LIFParameters())(KEY, (3,))
