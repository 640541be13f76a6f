"""ResonateFire: its closed form, in complex numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn

T, B, N = 400, 2, 6
X = np.random.default_rng(0).integers(0, 2, (T, B, N)) * 0.25
OPTIONS = {"b": -30.0, "omega": 500.0, "dt": 1e-3}


def run(x, **options):
    neuron = snn.ResonateFire(init_hidden=True, output=True, **{**OPTIONS, **options})
    with jax.enable_x64(True):
        return [np.asarray(v) for v in snn.unroll(neuron, {}, jnp.asarray(x))[0]]


def test_each_pulse_starts_an_oscillation_that_fades():
    """The sum of :math:`I_k e^{(b + i omega)(t - t_k)}`, until the first spike, which there is none."""
    _, real, mem = run(X, threshold=100.0)
    since = np.arange(T)[:, None] - np.arange(T)
    kernel = np.where(since >= 0, np.exp((-30.0 + 500.0j) * 1e-3 * since), 0)
    z = np.einsum("tk,k...->t...", kernel, X)
    np.testing.assert_allclose(real + 1j * mem, z, atol=1e-12)


@pytest.mark.parametrize("reset", ["value", "zero", "subtract", "none"])
def test_its_resets_in_complex_numbers(reset):
    spk, real, mem = run(X, reset_mechanism=reset, threshold=0.75)
    z, rows = np.zeros((B, N), complex), []
    for x_t in X:
        to = {"value": np.full_like(z, 1j), "zero": 0 * z, "subtract": z - 0.75j, "none": z}[reset]
        z = np.where(z.imag > 0.75, to, z) * np.exp((-30.0 + 500.0j) * 1e-3) + x_t
        rows.append(z)
    z = np.stack(rows)
    np.testing.assert_array_equal(spk, z.imag > 0.75)
    np.testing.assert_allclose(real + 1j * mem, z, atol=1e-12)
    assert spk.sum() > 50


def test_it_fires_at_its_own_rhythm():
    pulses = np.zeros((400, 1, 3))
    for place, period in enumerate((9, 13, 17)):
        pulses[::period, :, place] = 0.4
    spk, *_ = run(pulses)  # 2 pi / 0.5 = 12.6 steps
    assert [bool(s) for s in spk.sum((0, 1))] == [False, True, False]
