"""Linear recurrences over all time steps: against a loop in double precision, and their gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from snnax.dynamics import decay

T, B, N = 300, 2, 5
recurrence = jax.jit(decay.recurrence, static_argnums=2)
METHODS = ("auto", "scan", "associative")
DECAYS = {
    "one for each neuron": lambda rng: rng.uniform(0, 1, (1, 1, N)),
    "none, all, more than all": lambda rng: np.array([0, 1, 0.5, 1.01, 1e-30]).reshape(1, 1, N),
    "of each step": lambda rng: rng.uniform(0, 1, (T, B, N)),
    "of each step, tiny": lambda rng: rng.exponential(0.02, (T, 1, N)),
}


def loop(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The recurrence as it is written, in NumPy."""
    state, states = np.zeros_like(x[0]), []
    for t in range(len(x)):
        state = state * a[t % len(a)] + x[t]
        states.append(state)
    return np.stack(states)


def windows(x: np.ndarray, a: np.ndarray, steps: int) -> np.ndarray:
    """The last ``steps`` terms as they are written, in NumPy."""
    return np.stack([sum(a[0] ** k * x[t - k] for k in range(min(steps, t + 1))) for t in range(len(x))])


def inputs(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(T, B, N))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DECAYS)
def test_recurrence_is_the_loop(name, method):
    x, a = inputs(), DECAYS[name](np.random.default_rng(1))
    expected = loop(x, a)
    with jax.enable_x64(True):
        ours = np.asarray(recurrence(jnp.asarray(x), jnp.asarray(a), method))
    assert ours.dtype == np.float64
    assert np.abs(ours - expected).max() < 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 64, 299, 300, 1000])
def test_window_is_the_last_terms(steps):
    x, a = inputs(), DECAYS["none, all, more than all"](None)
    with jax.enable_x64(True):
        ours = np.asarray(decay.window(jnp.asarray(x), jnp.asarray(a), steps))
    expected = windows(x, a, steps)
    assert np.abs(ours - expected).max() < 1e-12 * np.abs(expected).max()


def test_window_forgets_what_left_it():
    """A recurrence from which the oldest input is subtracted would keep its rounding error."""
    x = jnp.zeros((50, 1, 1)).at[0].set(1e20)
    sums = decay.window(x, jnp.full((1, 1, 1), 0.999), 5).ravel()
    assert sums[4] > 9e19
    assert float(jnp.abs(sums[5:]).max()) == 0


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_window_step_is_a_window(steps):
    x, a = jnp.asarray(inputs()[:20], jnp.float32), jnp.linspace(0, 1, N).reshape(1, 1, N)
    past = jnp.zeros((B, steps - 1, N))
    _, sums = jax.lax.scan(lambda p, u: decay.window_step(p, u, a[0]), past, x)
    np.testing.assert_allclose(sums, decay.window(x, a, steps), atol=2e-6)


@pytest.mark.parametrize("method", ["scan", "associative"])
def test_long_sequences_neither_overflow_nor_drift(method):
    x = jnp.ones((5_000, 1, 2))
    last = recurrence(x, jnp.array([0.02, 0.5]).reshape(1, 1, 2), method)[-1]
    np.testing.assert_allclose(last.ravel(), [1 / 0.98, 2], rtol=2e-7)


def test_auto_is_the_loop_on_the_cpu():
    x, a = jnp.asarray(inputs(), jnp.float32), jnp.linspace(0.1, 0.9, N).reshape(1, 1, N)
    assert np.array_equal(recurrence(x, a), recurrence(x, a, "scan"))
    texts = [recurrence.lower(x, a, method).compile().as_text() for method in METHODS]
    assert [" while(" in text for text in texts] == [True, True, False]


PROGRAMS = {
    "scan": lambda x, a: decay.recurrence(x, a, "scan"),
    "associative": lambda x, a: decay.recurrence(x, a, "associative"),
    "auto": decay.recurrence,
    "window": lambda x, a: decay.window(x, a[:1], 5),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("length", [1, 9])
def test_gradients_are_finite_differences(name, length):
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        x, a = jnp.asarray(rng.normal(size=(9, 1, 2))), jnp.asarray(rng.uniform(0.1, 1, (length, 1, 2)))
        check_grads(jax.jit(PROGRAMS[name]), (x, a), order=1, modes=("fwd", "rev"))


@pytest.mark.parametrize("full", [False, True])
def test_rectified_recurrence_is_the_loop(full):
    rng = np.random.default_rng(3)
    x, bias = rng.normal(size=(50, B, N)), rng.normal(size=(1, N))
    weight = rng.uniform(-0.5, 0.5, (N, N)) if full else rng.uniform(-1, 1, (1, N))
    matrix, state = weight if full else np.diag(weight[0]), np.zeros((B, N))
    with jax.enable_x64(True):
        ours = np.asarray(decay.rectified(*map(jnp.asarray, (x, weight, bias))))
    for t in range(len(x)):
        state = np.maximum(x[t] + state @ matrix + bias, 0)
        assert np.abs(ours[t] - state).max() < 1e-12
    assert 0 < (ours == 0).mean() < 1


def test_time_constant_follows_float32():
    beta = np.array([0, 0.5, 0.9, 1], np.float32)
    tau = decay.time_constant(beta)
    assert tau.dtype == np.float32
    np.testing.assert_array_equal(tau, 1 / (1 - beta + np.float32(1e-12)))
    fixed, traced = decay.decay_per_step(tau), jax.jit(decay.decay_per_step)(tau)
    np.testing.assert_allclose(fixed, [np.exp(-1), np.exp(-0.5), np.exp(-0.1), 1], rtol=1e-7)
    np.testing.assert_allclose(traced, fixed, rtol=2e-7)
