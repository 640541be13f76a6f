"""The random encoders: their distribution, against theory and snnTorch, and that a key decides everything."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import spikegen
from snnax.errors import ArgumentError

KEY = jax.random.key(3)
P = np.array([0, 0.003, 0.1, 0.5, 0.77, 0.995, 1, -0.4, 1.7], np.float32)
CLIPPED = np.clip(P, 0, 1)
SAMPLES = 100_000
SIGMAS = 4.5  # a right encoder fails one such comparison in 150 000


def drawn(dtype=np.float32, key=KEY):
    return np.asarray(spikegen.rate(jnp.asarray(P).astype(dtype), num_steps=SAMPLES, key=key), np.float32)


def close(frequency, expected, samples, variance=None):
    """Frequencies within ``SIGMAS`` of what is expected; to the last bit where nothing is random."""
    variance = expected * (1 - expected) if variance is None else variance
    error = np.abs(np.asarray(frequency, float) - expected)
    np.testing.assert_array_less(error, SIGMAS * np.sqrt(variance / samples) + 1e-9)


# --- rate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_rate_has_the_mean_and_variance_of_its_probability(dtype):
    spikes = drawn(dtype)
    p = np.clip(np.asarray(jnp.asarray(P).astype(dtype), np.float64), 0, 1)
    assert set(np.unique(spikes)) == {0, 1}
    close(spikes.mean(0, dtype=float), p, SAMPLES)
    fourth = p * (1 - p) * (1 - 4 * p * (1 - p))  # variance of (S - p)**2
    close(((spikes - p) ** 2).mean(0), p * (1 - p), SAMPLES, fourth + 1e-12)


def test_rate_of_float64():
    with jax.enable_x64(True):
        spikes = spikegen.rate(P.astype(np.float64), num_steps=SAMPLES, key=jax.random.key(1))
        assert spikes.dtype == np.float64
    close(np.asarray(spikes).mean(0), CLIPPED.astype(float), SAMPLES)


def test_rate_is_distributed_as_snntorchs():
    theirs, torch = pytest.importorskip("snntorch.spikegen"), pytest.importorskip("torch")
    torch.manual_seed(0)
    expected = theirs.rate(torch.tensor(P), num_steps=SAMPLES).numpy()
    p = CLIPPED.astype(float)
    close(drawn().mean(0, dtype=float) - expected.mean(0, dtype=float) + p, p, SAMPLES / 2)


def test_spikes_are_independent_in_time_and_between_values():
    spikes = drawn()[:, 2:6].astype(float)
    spikes = (spikes - spikes.mean(0)) / spikes.std(0)
    for lag in (1, 2, 7):
        products = spikes[lag:].T @ spikes[:-lag] / (SAMPLES - lag)
        assert np.abs(products).max() < SIGMAS / np.sqrt(SAMPLES - lag)
    between = spikes.T @ spikes / SAMPLES - np.eye(4)
    assert np.abs(between).max() < SIGMAS / np.sqrt(SAMPLES)


@pytest.mark.parametrize("time_var_input", [False, True])
def test_gain_and_offset_scale_the_probability(time_var_input):
    x = np.full((SAMPLES, 2) if time_var_input else 2, 0.25, np.float32)
    steps = {"time_var_input": True} if time_var_input else {"num_steps": SAMPLES}
    spikes = spikegen.rate(x, gain=np.array([0.5, 2], np.float32), offset=0.1, key=KEY, **steps)
    close(spikes.mean(0), np.array([0.225, 0.6]), SAMPLES)


def test_time_varying_data_give_each_step_its_own_probability():
    x = np.repeat(P[:, None], SAMPLES, 1)
    spikes = spikegen.rate(x, time_var_input=True, key=KEY)
    assert spikes.shape == x.shape
    close(spikes.mean(1), CLIPPED.astype(float), SAMPLES)
    close(spikegen.rate_conv(x, key=KEY).mean(1), CLIPPED.astype(float), SAMPLES)


@pytest.mark.parametrize(("options", "steps"), [({"num_steps": 9}, 9), ({"time_var_input": True}, 3 + 4)])
def test_nothing_spikes_before_the_first_spike_time(options, steps):
    spikes = spikegen.rate(jnp.ones((4, 2)), first_spike_time=3, key=KEY, **options)
    assert spikes.shape[0] == steps
    assert not spikes[:3].any()
    assert spikes[3:].all()


# --- targets --------------------------------------------------------------------------------------

TRAINS = 20_000
STEPS, FIRST = 12, 2


@functools.cache
def trains(pattern, rate):
    def one(key):
        return spikegen.target_rate_code(STEPS, FIRST, rate, pattern, key=key)[0]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, TRAINS)))


def test_poisson_targets_fire_at_each_step_with_the_rate():
    spikes = trains("poisson", 0.3)
    assert not spikes[:, :FIRST].any()
    close(spikes[:, FIRST:].mean(0), np.full(STEPS - FIRST, 0.3), TRAINS)
    close(spikes.sum(1).mean(), 3, TRAINS, 10 * 0.3 * 0.7)


def test_uniform_targets_are_as_many_random_steps():
    spikes = trains("uniform", 0.3)
    assert not spikes[:, :FIRST].any()
    assert spikes.sum(1).max() == 3
    close(spikes[:, FIRST:].mean(0), np.full(10, 1 - 0.9**3), TRAINS)


@pytest.mark.parametrize("pattern", ["uniform", "poisson"])
def test_random_targets_are_distributed_as_snntorchs(pattern):
    rate = 0.3
    theirs, torch = pytest.importorskip("snntorch.spikegen"), pytest.importorskip("torch")
    torch.manual_seed(1)
    few = TRAINS // 4
    expected = np.stack([theirs.target_rate_code(STEPS, FIRST, rate, pattern)[0].numpy() for _ in range(few)])
    ours = trains(pattern, rate)
    samples = 1 / (1 / few + 1 / TRAINS)
    close(ours.mean(0), expected.mean(0), samples, ours.var(0))
    close(ours.sum(1).mean(), expected.sum(1).mean(), samples, ours.sum(1).var())
    assert abs(ours.sum(1).var() / expected.sum(1).var() - 1) < 0.12


@pytest.mark.parametrize("pattern", ["uniform", "Poisson"])
def test_random_targets_of_classes(pattern):
    def one(key):
        options = {"correct_rate": 0.6, "incorrect_rate": 0.2, "firing_pattern": pattern}
        return spikegen.targets_rate(jnp.array([1, 0]), 3, num_steps=10, key=key, **options)

    spikes = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, TRAINS)))  # [K, T, B, C]
    correct, incorrect = spikes[:, :, 0, 1], spikes[:, :, 0, 0]
    np.testing.assert_array_equal(correct, spikes[:, :, 1, 0])
    np.testing.assert_array_equal(incorrect, spikes[:, :, 0, 2])
    expected = (0.6, 0.2) if pattern.lower() == "poisson" else (1 - 0.9**6, 1 - 0.9**2)
    for train, p in zip((correct, incorrect), expected, strict=True):
        close(train.mean(0), np.full(10, p), TRAINS)
    a, b = correct.ravel() - correct.mean(), incorrect.ravel() - incorrect.mean()
    assert abs((a * b).mean()) < SIGMAS * np.sqrt((a**2).mean() * (b**2).mean() / a.size)


@pytest.mark.parametrize("pattern", ["uniform", "poisson"])
def test_times_are_those_of_the_spikes(pattern):
    spikes, times = spikegen.target_rate_code(50, 0, 0.5, pattern, key=KEY)
    np.testing.assert_array_equal(np.flatnonzero(spikes), np.unique(times))
    traced = jax.jit(lambda key: spikegen.target_rate_code(50, 0, 0.5, pattern, key=key))(KEY)
    np.testing.assert_array_equal(traced[0], spikes)
    assert set(np.asarray(traced[1]).tolist()) - {50} == set(np.asarray(times).tolist())
    np.testing.assert_array_equal(
        spikegen.rate_interpolate(traced[1], 50), spikegen.rate_interpolate(times, 50)
    )


# --- keys -----------------------------------------------------------------------------------------

RATES = {"correct_rate": 0.6, "incorrect_rate": 0.2, "firing_pattern": "poisson", "num_steps": 50}
RANDOM = {
    "rate": lambda **key: spikegen.rate(np.full(10, 0.5), num_steps=5, **key),
    "rate in time": lambda **key: spikegen.rate(np.full((5, 10), 0.5), time_var_input=True, **key),
    "rate_conv": lambda **key: spikegen.rate_conv(np.full((5, 10), 0.5), **key),
    "poisson": lambda **key: spikegen.target_rate_code(50, 0, 0.5, "poisson", **key)[0],
    "uniform": lambda **key: spikegen.target_rate_code(50, 0, 0.5, "uniform", **key)[0],
    "targets_rate": lambda **key: spikegen.targets_rate([0, 1], 2, **RATES, **key),
    "targets_convert": lambda **key: spikegen.targets_convert([0, 1], 2, **RATES, **key),
}
every = pytest.mark.parametrize("name", RANDOM)


@pytest.mark.parametrize("name", ["rate", "rate_conv", "targets_rate"])
def test_the_key_decides(name):
    encode = jax.jit(lambda key: RANDOM[name](key=key))
    first = encode(KEY)
    np.testing.assert_array_equal(first, encode(jax.random.key(3)))
    assert (first != encode(jax.random.key(4))).any()


def test_old_keys_work():
    old, new = jax.random.PRNGKey(3), jax.random.key(3)
    np.testing.assert_array_equal(RANDOM["rate_conv"](key=old), RANDOM["rate_conv"](key=new))


@every
def test_without_a_key_the_error_shows_the_call(name):
    with pytest.raises(
        ArgumentError, match=r"got no key\. Pass spikegen\.\w+\(.*key=jax\.random\.key\(0\)\)"
    ):
        RANDOM[name]()


@every
@pytest.mark.parametrize(
    "key", [0, "seed", np.zeros(2), jax.random.split(KEY)], ids=["int", "str", "floats", "two"]
)
def test_what_is_no_key_is_refused(name, key):
    with pytest.raises(ArgumentError, match=r"expected one key of jax\.random: spikegen"):
        RANDOM[name](key=key)


def test_a_key_is_not_needed_where_nothing_is_random():
    spikegen.targets_rate([0], 2, firing_pattern="poisson")
    spikegen.targets_rate([0], 2, num_steps=4, first_spike_time=1, firing_pattern="uniform")
    spikegen.target_rate_code(4, rate=0, firing_pattern="poisson")
