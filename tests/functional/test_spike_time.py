"""Spike times and their gradients against snnTorch, and against a loop where snnTorch is wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax.functional as SF
from snnax.errors import ArgumentError, ShapeError
from snnax.functional.spike_time import spike_times

T, B, N = 12, 4, 5
LABELS = np.array([0, 4, 2, 2])


def spikes(rate=0.15, seed=0):
    """Some neurons silent, some spiking several times."""
    return (np.random.default_rng(seed).random((T, B, N)) < rate).astype(np.float32)


def by_loop(spk, count):
    """Times of the first spikes, [F, B, N]."""
    times = np.full((count, *spk.shape[1:]), len(spk) - 1.0)
    for b, n in np.ndindex(*spk.shape[1:]):
        there = np.flatnonzero(spk[:, b, n])[:count]
        times[: len(there), b, n] = there
    return times


def theirs(options, spk, targets):
    """snnTorch's times, its targets, and the gradient of the times weighted with 1, 2, 3 ..."""
    functional = pytest.importorskip("snntorch.functional")
    torch = pytest.importorskip("torch")
    x = torch.tensor(spk, requires_grad=True)
    times, goal = functional.SpikeTime(**options)(x, torch.tensor(targets))
    (times * torch.arange(1.0, times.numel() + 1).reshape(times.shape)).sum().backward()
    return times.detach().numpy(), goal.numpy(), x.grad.numpy()


def ours(options, spk, targets):
    def total(x):
        times, goal = SF.SpikeTime(**options)(x, targets)
        return (times * jnp.arange(1.0, times.size + 1).reshape(times.shape)).sum(), (times, goal)

    slope, (times, goal) = jax.jit(jax.grad(total, has_aux=True))(spk)
    return np.asarray(times), np.asarray(goal), np.asarray(slope)


@pytest.mark.parametrize(
    "options",
    [
        {"on_target": 1, "off_target": 9},
        {"on_target": 9, "off_target": 1},
        {"on_target": 2, "off_target": 8, "tolerance": 3},
        {"target_is_time": True},
        {"target_is_time": True, "tolerance": 2},
    ],
    ids=str,
)
def test_first_spikes_are_as_in_snntorch(options):
    spk, targets = spikes(), LABELS
    if "target_is_time" in options:
        targets = np.random.default_rng(1).integers(-4, T, (B, N)).astype(np.float32)
    assert spk.sum(0).min() == 0 and spk.sum(0).max() > 1
    expected = theirs(options, spk, targets.copy())
    for mine, other in zip(ours(options, spk, targets), expected, strict=True):
        assert mine.shape == other.shape
        np.testing.assert_array_equal(mine, other)


def test_the_given_times_stay_as_they_are():
    targets = np.full((B, N), -1.0, np.float32)
    _, goal = SF.SpikeTime(target_is_time=True)(spikes(), targets)
    assert (targets == -1).all()
    assert (np.asarray(goal) == T - 1).all()


def test_a_negative_time_counts_from_the_end():
    _, goal = jax.jit(SF.SpikeTime(on_target=-3, off_target=-1))(spikes(), LABELS)
    expected = np.where(np.eye(N)[LABELS] == 1, T - 3, T - 1)
    np.testing.assert_array_equal(goal, expected)
    wrong = theirs({"on_target": -1, "off_target": -3}, spikes(), LABELS)[1]
    assert not (wrong == T - 3).any()  # snnTorch takes the negative one for 0


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_later_spikes_are_the_later_spikes(count):
    spk = spikes(0.3)
    options = {"on_target": [0] * count, "off_target": [-1] * count, "multi_spike": True}
    times, goal, slope = ours(options, spk, LABELS)
    expected = by_loop(spk, count)
    np.testing.assert_array_equal(times, expected)
    np.testing.assert_array_equal(goal[0], np.where(np.eye(N)[LABELS] == 1, 0, T - 1))
    gradient = np.zeros_like(spk)
    cotangent = np.arange(1.0, times.size + 1).reshape(times.shape)
    for f, b, n in np.ndindex(*times.shape):
        gradient[int(expected[f, b, n]), b, n] -= cotangent[f, b, n]
    np.testing.assert_array_equal(slope, gradient)


def test_snntorch_loses_spikes_with_multi_spike():
    spk = spikes(0.3)
    options = {"on_target": [0, 1], "off_target": [2, 3], "multi_spike": True}
    times, goal, _ = theirs(options, spk, LABELS)
    np.testing.assert_array_equal(times[0], by_loop(spk, 2)[0])
    assert (times[1] != by_loop(spk, 2)[1]).any()
    np.testing.assert_array_equal(ours(options, spk, LABELS)[1], goal)


@pytest.mark.parametrize(("multi", "shape"), [(False, (N,)), (True, (3, N)), (True, (3, B, N))])
def test_given_times_for_all_samples_alike(multi, shape):
    targets = np.random.default_rng(2).integers(0, T, shape).astype(np.float32)
    times, goal = jax.jit(SF.SpikeTime(target_is_time=True, multi_spike=multi))(spikes(), targets)
    full = targets[:, None] if shape == (3, N) else targets
    assert times.shape == goal.shape == ((3, B, N) if multi else (B, N))
    np.testing.assert_array_equal(goal, np.broadcast_to(full, goal.shape))


def test_forward_mode_is_the_transpose_of_reverse_mode():
    spk, change = jnp.asarray(spikes()), jnp.asarray(spikes(0.5, 7))
    cotangent = jnp.asarray(np.random.default_rng(3).normal(size=(2, B, N)), jnp.float32)

    @jax.jit
    def both(spk, change, cotangent):
        _, tangent = jax.jvp(lambda s: spike_times(s, 2), (spk,), (change,))
        _, pull = jax.vjp(lambda s: spike_times(s, 2), spk)
        return (pull(cotangent)[0] * change).sum(), (cotangent * tangent).sum()

    np.testing.assert_allclose(*both(spk, change, cotangent), rtol=1e-5)


def test_arrays_of_times_are_taken_and_hash():
    options = {"off_target": (3, 4), "multi_spike": True}
    built = SF.SpikeTime(on_target=jnp.array([1, 2]), **options)
    assert built == SF.SpikeTime(on_target=[1, 2], **options)
    assert hash(built) == hash(SF.SpikeTime(on_target=np.array([1, 2]), **options))


def test_bfloat16_holds_late_times():
    spk = jnp.zeros((300, 1, 1), jnp.bfloat16).at[259].set(1)
    assert jax.jit(SF.SpikeTime())(spk, np.array([0]))[0][0, 0] == 259


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_target": [1, 2], "off_target": [3, 4]}, "multi_spike=True"),
        ({"on_target": 1, "off_target": 3, "multi_spike": True}, "a time for each"),
        ({"on_target": [1, 2], "off_target": [3], "multi_spike": True}, "a time for each"),
    ],
)
def test_bad_targets_are_named_when_it_is_built(options, message):
    with pytest.raises(ArgumentError, match=message):
        SF.SpikeTime(**options)


@pytest.mark.parametrize("shape", [(B,), (B, N + 1), (B + 1, N), (2, B, N)])
def test_times_of_another_shape_are_refused(shape):
    with pytest.raises(ShapeError, match=r"\(4, 5\)"):
        SF.SpikeTime(target_is_time=True)(spikes(), np.zeros(shape, np.float32))
