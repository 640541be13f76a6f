"""Izhikevich's neuron: beside Norse's step by step, and in small steps beside SciPy's integrator."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.spike_times import spike_times

import snnax as snn

T, B, N = 1500, 2, 6
KINDS = {
    "regular": {"c": -65.0, "d": 8.0},
    "chattering": {"c": -50.0, "d": 2.0},
    "fast": {"a": 0.1, "c": -65.0, "d": 2.0},
}


def run(x, hidden=None, **options):
    neuron = snn.Izhikevich(init_hidden=True, output=True, **options)
    with jax.enable_x64(True):
        given = {} if hidden is None else {"hidden": {k: jnp.asarray(v) for k, v in hidden.items()}}
        return [np.asarray(v) for v in snn.unroll(neuron, given, jnp.asarray(x, jnp.float64))[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_norses_whose_membrane_is_reset_within_the_step(kind):
    torch = pytest.importorskip("torch")
    norse = pytest.importorskip("norse.torch.functional.izhikevich")
    given = {"a": 0.02, "b": 0.2, **KINDS[kind]}
    p, start = norse.IzhikevichParameters(**given, tau_inv=200), np.zeros((B, N))
    state = norse.IzhikevichState(torch.tensor(start - 70), torch.tensor(start - 14))
    x, rows = np.random.default_rng(0).uniform(0, 20, (T, B, N)), []
    for x_t in torch.as_tensor(x):
        z, state = norse.izhikevich_feed_forward_step(x_t, state, p, 1e-3)
        rows.append((z.numpy(), state.u.numpy(), state.v.numpy()))
    theirs = [np.stack(row) for row in zip(*rows, strict=True)]
    spk, u, mem = run(x, **given, dt=2e-4)
    np.testing.assert_array_equal(spk, theirs[0])
    np.testing.assert_allclose(u + spk * given["d"], theirs[1], atol=1e-3)
    np.testing.assert_allclose(np.where(spk > 0, given["c"], mem), theirs[2], atol=1e-2)
    assert spk.sum() > 80


@pytest.mark.parametrize("kind", KINDS)
def test_in_small_steps_its_spikes_are_those_of_the_differential_equation(kind):
    pytest.importorskip("scipy")
    p = {"a": 0.02, "b": 0.2, **KINDS[kind]}

    def derivative(t, y):
        u, v = y
        return [p["a"] * (p["b"] * v - u), 0.04 * v * v + 5 * v + 140 - u + 10]

    def reset(y):
        return np.array([y[0] + p["d"], p["c"]])

    expected = spike_times(derivative, np.array([-14.0, -70.0]), 30.0, reset, 100.0)
    off = []
    for dt in (1e-5, 5e-6):
        spk, *_ = run(np.full((round(0.1 / dt), 1, 1), 10.0), **p, dt=dt)
        found = (np.flatnonzero(spk) + 1) * 1e3 * dt
        assert len(found) == len(expected) > 2
        off.append(np.abs(found - expected).max())
    assert off[1] < 0.3 and off[1] < 0.75 * off[0]  # Euler's steps: about half as far in half the step


def test_without_a_reset_nothing_is_reset():
    _, u, mem = run(
        np.full((3, 1, 1), 0.0), {"u": np.zeros((1, 1)), "mem": np.full((1, 1), 40.0)}, reset_mechanism="none"
    )
    assert np.all(np.diff(mem[:, 0, 0]) > 0) and u.max() < 1
    _, u, mem = run(np.full((1, 1, 1), 0.0), {"u": np.zeros((1, 1)), "mem": np.full((1, 1), 40.0)})
    assert mem.item() < -64 and 7.9 < u.item() < 8.1
