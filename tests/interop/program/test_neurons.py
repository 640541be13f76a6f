"""A neuron of a program: one step and all steps, numbers that are handed in, images in torch's layout."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.written_programs import leaky

from snnax.interop.program.neurons import ProgramNeuron
from snnax.interop.spec import NeuronSpec

X = (np.random.default_rng(0).random((5, 2, 3, 4, 4)) * 2).astype(np.float32)


def steps_of(x, beta, threshold):
    mem, spikes, membranes = np.zeros_like(x[0]), [], []
    for frame in x:
        mem = beta * mem + frame - threshold * (mem > threshold)
        spikes.append(mem > threshold)
        membranes.append(mem)
    return np.stack(spikes), np.stack(membranes)


def one_by_one(neuron, x, parameters):
    mem, spikes = None, []
    for frame in x:
        fired = neuron.step(jnp.asarray(frame), {"mem": mem}, parameters)
        mem = fired.states[0]
        spikes.append(fired.spk)
    return np.stack(spikes), np.asarray(mem)


@pytest.mark.parametrize("shape", [(), (3, 1, 1), (1, 3, 1, 1)])
def test_steps_and_handed_numbers(shape):
    beta = np.linspace(0.5, 0.9, int(np.prod(shape))).astype(np.float32).reshape(shape)
    spec = leaky().with_values(beta=beta.reshape(shape[-3:]))
    neuron = ProgramNeuron("lif", spec)
    given = {"beta": jnp.asarray(beta * 0.9), "threshold": jnp.asarray(0.8)}
    spk, mem = steps_of(X, np.float32(0.9) * beta, np.float32(0.8))
    for every, image in itertools.product((True, False), repeat=2):
        start = {"mem": jnp.zeros(X.shape[1:])}
        fired, (end,) = neuron.steps(jnp.asarray(X), start, given, every=every, image=image)
        np.testing.assert_array_equal(fired.spk, spk)
        np.testing.assert_allclose(end, mem[-1], atol=1e-5)
        assert len(fired.states) == every
        for states in fired.states:
            np.testing.assert_allclose(states, mem, atol=1e-5)
    singly, last = one_by_one(neuron, X, given)
    np.testing.assert_array_equal(singly, spk)
    np.testing.assert_allclose(last, mem[-1], atol=1e-5)


def test_dictated_spikes():
    neuron = ProgramNeuron("lif", leaky())
    fired = neuron.step(jnp.asarray(X[0]), {"mem": None}, {}, jnp.full(X[0].shape, 3.0))
    assert np.all(fired.spk == 3)
    np.testing.assert_array_equal(fired.own, X[0] > 1)


def test_a_neuron_with_recurrent_weights():
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(3, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    values = {"beta": np.float32(0.9), "threshold": np.float32(1)}
    spec = NeuronSpec(
        "RLeaky", {k: np.asarray(v) for k, v in values.items()}, recurrent={"weight": weight, "bias": bias}
    )
    x = X[:, :, :, 0, 0]
    given = {"recurrent.weight": jnp.asarray(2 * weight), "recurrent.bias": jnp.asarray(bias)}
    zeros = jnp.zeros(x.shape[1:])
    start = {"spk": zeros, "mem": zeros}
    fired, (last, _) = ProgramNeuron("lif", spec).steps(jnp.asarray(x), start, given, every=True, image=False)
    mem, spk = np.zeros_like(x[0]), np.zeros_like(x[0])
    for t, frame in enumerate(x):
        reset = mem > 1
        mem = np.float32(0.9) * mem + frame + spk @ (2 * weight).T + bias - reset
        spk = (mem > 1).astype(np.float32)
        np.testing.assert_allclose(fired.states[1][t], mem, atol=1e-4)
        np.testing.assert_array_equal(fired.spk[t], spk)
    np.testing.assert_array_equal(fired.states[0], fired.spk)
    np.testing.assert_array_equal(last, fired.spk[-1])
