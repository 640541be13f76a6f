"""SNNAX's neurons: each against the order of its operations in NumPy, of which no output differs; SRM, SigmaDelta,
TwoDecayLIF."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn

T, B, N = 300, 2, 5
F = np.float32
BELOW = float(np.nextafter(F(1), F(0)))
"""SNNAX fires at its threshold of 1: above the number below."""

KEPT = {"init_hidden": True, "output": True, "threshold": BELOW}


def drive(low, high, shape=(T, B, N)):
    return np.random.default_rng(0).uniform(low, high, shape).astype(F)


def run(net, x, variables=None):
    return [np.asarray(v) for v in snn.unroll(net, variables or {}, jnp.asarray(x))[0]]


@pytest.mark.parametrize("reset_val", [None, 0.25, "soft"])
def test_none_of_3000_outputs_of_the_neuron_with_two_decays_differs(reset_val):
    alpha, beta, x = F(0.9), F(0.8), drive(-1, 4)
    mem, syn, s = np.zeros((3, B, N), F)
    rows = []
    for x_t in x:
        reset = {None: mem, "soft": np.ones_like(mem)}.get(reset_val, mem - F(0.25)) * s
        mem = mem - reset
        mem = alpha * mem + (F(1) - alpha) * syn
        syn = beta * syn + (F(1) - beta) * x_t
        s = (mem - F(1) >= 0).astype(F)
        rows.append((s, syn, mem))
    options = {None: {}, "soft": {"reset_mechanism": "subtract"}}.get(
        reset_val, {"reset_mechanism": "value", "v_reset": 0.25}
    )
    found = run(snn.TwoDecayLIF(**options, **KEPT), x)
    for one, other in zip(found, map(np.stack, zip(*rows, strict=True)), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    np.testing.assert_array_equal(found[0], np.stack([row[0] for row in rows]))
    assert found[0].size == 3000 and found[0].sum() > 100


def test_none_of_3000_outputs_of_the_spike_response_model_differs():
    """Here behind its weights, there around them."""
    alpha, beta, gamma, rho = F(0.9), F(0.8), F(0.7), F(0.75)
    x, kernel = drive(0, 4, (T, B, 4)), drive(-0.5, 1.5, (4, N))
    p, q, r, s, spikes = *np.zeros((2, B, 4), F), *np.zeros((2, B, N), F), []
    for x_t in x:
        p = alpha * p + (F(1) - alpha) * x_t
        q = beta * q + (F(1) - beta) * p
        r = gamma * r + rho * s
        s = (q @ kernel - rho * r - F(1) >= 0).astype(F)
        spikes.append(s)
    net = snn.Sequential([nn.Dense(N, use_bias=False), snn.SRM(gamma=gamma, reset_val=rho, **KEPT)])
    spk, *_ = run(net, x, {"params": {"layers_0": {"kernel": jnp.asarray(kernel)}}})
    np.testing.assert_array_equal(spk, np.stack(spikes))
    assert spk.size == 3000 and spk.sum() > 100


@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_none_of_3000_outputs_of_the_sigma_delta_neuron_differs(threshold):
    x = drive(-0.5, 1)
    sigma, act, residue = np.zeros((3, B, N), F)
    rows = []
    for x_t in x:
        sigma = sigma + x_t
        delta = sigma - act + residue
        s = (delta - F(threshold) >= 0).astype(F)
        residue, act = delta - s, sigma
        rows.append((s, sigma, delta))
    found = run(snn.SigmaDelta(**{**KEPT, "threshold": float(np.nextafter(F(threshold), F(0)))}), x)
    for one, other in zip(found, map(np.stack, zip(*rows, strict=True)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0].size == 3000 and found[0].sum() > 100


@pytest.mark.parametrize("detach", [True, False])
def test_its_gradient_through_the_reset(detach):
    """As ``stop_reset_grad``: the derivative of SNNAX's steps, with ``stop_gradient`` around the reset or without."""
    x = jnp.asarray(drive(0, 4, (12, 1, 3)))
    surrogate = snn.surrogate.fast_sigmoid(10.0)

    def theirs(x):
        def step(carry, x_t):
            mem, syn, s = carry
            reset = mem * s
            mem = mem - (mem * jax.lax.stop_gradient(s) if detach else reset)
            mem = 0.9 * mem + (1 - 0.9) * syn
            syn = 0.8 * syn + (1 - 0.8) * x_t
            s = surrogate(mem - BELOW)
            return (mem, syn, s), s

        return jax.lax.scan(step, (jnp.zeros((1, 3)),) * 3, x)[1]

    ours = snn.TwoDecayLIF(spike_grad=surrogate, detach_reset=detach, init_hidden=True, threshold=BELOW)
    weights = jnp.asarray(drive(-1, 1, (12, 1, 3)))
    one, other = (
        jax.grad(lambda x, f=f: jnp.sum(f(x) * weights))(x)
        for f in (lambda x: snn.unroll(ours, {}, x)[0], theirs)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert float(jnp.abs(one).max()) > 1e-3
