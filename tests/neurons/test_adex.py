"""AdEx: beside Norse's step by step, and in small steps beside SciPy's integrator."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.spike_times import spike_times

import snnax as snn


def run(x, hidden=None, **options):
    neuron = snn.AdEx(init_hidden=True, output=True, **options)
    with jax.enable_x64(True):
        given = {} if hidden is None else {"hidden": {k: jnp.asarray(v) for k, v in hidden.items()}}
        return [np.asarray(v) for v in snn.unroll(neuron, given, jnp.asarray(x, jnp.float64))[0]]


def test_it_is_norses_behind_its_filter():
    torch = pytest.importorskip("torch")
    norse = pytest.importorskip("norse.torch.functional.lif_adex")
    dt, zero = 1e-3, np.zeros((2, 6))
    p = norse.LIFAdExParameters(adaptation_current=torch.tensor(0.5), adaptation_spike=torch.tensor(0.25))
    p = p._replace(tau_ada_inv=torch.tensor(20.0))
    state = norse.LIFAdExFeedForwardState(*map(torch.tensor, (zero, zero, zero)))
    x, rows = np.random.default_rng(0).uniform(0, 1.5, (1000, *zero.shape)), []
    for x_t in torch.as_tensor(x):
        current = (state.i + x_t).numpy()
        z, state = norse.lif_adex_feed_forward_step(x_t, state, p, dt)
        rows.append((current, z.numpy(), state.a.numpy(), state.v.numpy()))
    currents, spikes, w, v = (np.stack(row) for row in zip(*rows, strict=True))
    numbers = {
        "C": 1000 / p.tau_mem_inv.double(), "g_L": 1.0, "E_L": 0.0, "V_T": 1.0, "delta_T": p.delta_T,
        "tau_w": 1 / p.tau_ada_inv.double(), "a": p.adaptation_current, "b": p.adaptation_spike,
    }  # fmt: skip
    spk, mine, mem = run(
        currents,
        {"w": zero, "mem": zero},
        **{k: float(n) for k, n in numbers.items()},
        v_reset=0.0,
        threshold=1.0,
        dt=dt,
    )
    np.testing.assert_array_equal(spk, spikes)
    np.testing.assert_allclose(mine + 0.25 * spk, w, atol=1e-7)
    np.testing.assert_allclose(mem * (1 - spk), v, atol=1e-6)
    assert 100 < spk.sum() < spk.size / 2


def test_in_small_steps_its_spikes_are_those_of_the_differential_equation():
    pytest.importorskip("scipy")
    p = snn.AdEx()

    def derivative(t, y):
        w, v = y
        leak = p.g_L * (p.E_L - v + p.delta_T * np.exp((v - p.V_T) / p.delta_T))
        return [(p.a * (v - p.E_L) - w) / (1000 * p.tau_w), (leak - w + 1000.0) / p.C]

    def reset(y):
        return np.array([y[0] + p.b, p.v_reset])

    expected = spike_times(derivative, np.array([0.0, p.E_L]), p.threshold, reset, 200.0)
    spk, *_ = run(np.full((40000, 1, 1), 1000.0), dt=5e-6)
    found = (np.flatnonzero(spk) + 1) * 5e-3
    assert len(found) == len(expected) > 5
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_without_a_reset_a_spike_adds_nothing():
    given = {"w": np.zeros((1, 1)), "mem": np.full((1, 1), -30.0)}
    _, w, mem = run(np.zeros((2, 1, 1)), given, reset_mechanism="none")
    assert np.isfinite(mem).all() and w.max() < 1
    _, w, mem = run(np.zeros((1, 1, 1)), given)
    assert abs(mem.item() - snn.AdEx().E_L) < 0.1 and abs(w.item() - 80.5) < 0.1
