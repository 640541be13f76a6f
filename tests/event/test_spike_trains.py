"""Spike trains: sorted, padded, and never a spike less without a word."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnax import event
from snnax.errors import ArgumentError, ShapeError

INF = np.inf
LISTS = [[[3e-3, 1e-3], [], [2e-3]], [[], [5e-3, 4e-3, 6e-3], [1e-3]]]
ONE = event.trains(jnp.zeros((1, 2)))


def test_lists_are_sorted_and_padded():
    trains = event.from_lists(LISTS)
    assert trains.times.shape == (2, 3, 3) and trains.overflow.shape == (2, 3)
    np.testing.assert_allclose(trains.times[0], [[1e-3, 3e-3, INF], [INF] * 3, [2e-3, INF, INF]])
    assert not trains.overflow.any()
    assert event.count(trains).tolist() == [[2, 0, 1], [0, 3, 1]]
    np.testing.assert_allclose(event.first_spikes(trains)[1], [INF, 4e-3, 1e-3])


def test_a_budget_that_is_too_small_keeps_the_first_spikes_and_says_so():
    trains = event.from_lists(LISTS, max_spikes=2)
    np.testing.assert_allclose(trains.times[1, 1], [4e-3, 5e-3])
    assert trains.overflow.tolist() == [[False] * 3, [False, True, False]]


def test_one_spike_each_and_any_order():
    assert event.trains([[1, 0]]).times.shape == (1, 2, 1)
    np.testing.assert_allclose(event.trains(np.array([[[INF, 2.0, 1.0]]])).times, [[[1.0, 2.0, INF]]])
    assert event.from_lists([[[]]]).times.shape == (1, 1, 1)
    assert event.trains(jnp.zeros((0, 5))).times.shape == (0, 5, 1)
    assert event.trains(jnp.zeros((2, 5, 0))).times.shape == (2, 5, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: event.trains(jnp.zeros(3)), ShapeError, r"\(3,\).*expected \[B, N\] or \[B, N, K\]"),
        (lambda: event.trains("a"), ArgumentError, "array of real numbers"),
        (lambda: event.from_lists([[[]], [[], []]]), ShapeError, r"with \[1, 2\] neurons"),
        (lambda: event.from_lists([]), ShapeError, "at least one"),
        (lambda: event.from_lists(LISTS, max_spikes=0), ArgumentError, r"from_lists\(max_spikes=0\)"),
        (lambda: event.concatenated(), ArgumentError, r"as concatenated\(a, b\)"),
        (lambda: event.from_lists([[["a"]]]), ArgumentError, r"from_lists\(samples=\[\[\['a'\]\]\]"),
        (lambda: event.merged(), ArgumentError, r"as merged\(a, b\)"),
        (
            lambda: event.merged(ONE, event.trains(jnp.zeros((1, 3)))),
            ShapeError,
            r"same numbers of samples and neurons",
        ),
        (
            lambda: event.concatenated(ONE, event.trains(jnp.zeros((2, 2)))),
            ShapeError,
            r"\(1, 2, 1\), \(2, 2, 1\)",
        ),
        (
            lambda: event.count(jnp.zeros((1, 2, 1))),
            ArgumentError,
            r"count\(spikes=.*snnax.event.trains\(times\)",
        ),
        (
            lambda: event.count(ONE._replace(times=ONE.times[0])),
            ShapeError,
            r"count\(spikes with times of shape",
        ),
        (lambda: event.sort_events(jnp.zeros(3)), ShapeError, r"sort_events\(times of shape \(3,\)"),
        (lambda: event.from_dense(jnp.zeros((3, 2)), 1e-3, 1), ShapeError, "time first"),
        (lambda: event.from_dense(jnp.zeros((3, 2, 1)), 0, 1), ArgumentError, r"from_dense\(dt=0\)"),
        (lambda: event.to_dense(event.from_lists(LISTS), 1e-3, 0), ArgumentError, "whole number from 1"),
    ],
)
def test_errors_say_what_works(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.skipif(jax.config.read("jax_enable_x64"), reason="double precision holds it")
def test_a_time_that_single_precision_cannot_hold_is_no_missing_spike():
    with pytest.raises(ArgumentError, match=r"from_lists\(samples\) holds 1e\+300"):
        event.from_lists([[[1e300]]])


def test_populations_side_by_side_and_trains_on_top_of_each_other():
    a, b = event.from_lists(LISTS, max_spikes=2), event.from_lists([[[7e-3]], [[]]])
    both = event.concatenated(a, b)
    assert both.times.shape == (2, 4, 2)
    assert event.count(both).tolist() == [[2, 0, 1, 1], [0, 2, 1, 0]]
    assert both.overflow.tolist()[1] == [False, True, False, False]
    twice = event.merged(a, a)
    assert twice.times.shape == (2, 3, 4) and (twice.overflow == a.overflow).all()
    np.testing.assert_allclose(twice.times[0, 0], [1e-3, 1e-3, 3e-3, 3e-3])


@given(st.sampled_from([1, 4]), st.sampled_from([1, 2, 3, 8, 33, 600, 1025]), st.integers(0, 2**31))
def test_events_are_sorted_with_where_they_came_from(samples, events, seed):
    rng = np.random.default_rng(seed)
    times = rng.integers(-2, 9, (samples, events)).astype("float32")  # many at the same time
    times[times == 8] = INF
    times[rng.random(times.shape) < 0.1] = -0.0  # which is the time 0
    ordered, index = event.sort_events(jnp.asarray(times))
    want = np.argsort(times, axis=1, kind="stable")
    np.testing.assert_array_equal(index, want)
    np.testing.assert_array_equal(ordered, np.take_along_axis(times, want, 1))


@given(st.sampled_from([1, 64, 200]), st.floats(1e-6, 10), st.integers(0, 2**31))
def test_dense_spikes_come_back_from_their_times(steps, dt, seed):
    dense = (np.random.default_rng(seed).random((steps, 2, 3)) < 0.3).astype("float32")
    trains = event.from_dense(dense, dt, steps)
    assert not trains.overflow.any()
    np.testing.assert_array_equal(event.to_dense(trains, dt, steps), dense)


def test_two_spikes_in_one_step_are_two():
    trains = event.from_lists([[[1.1e-3, 1.9e-3, 2e-3, 4e-3]]])
    assert event.to_dense(trains, 1e-3, 4)[:, 0, 0].tolist() == [0, 2, 1, 0]


def test_dense_spikes_over_the_budget_overflow():
    trains = event.from_dense(np.ones((5, 1, 1)), 1e-3, 3)
    assert trains.overflow.tolist() == [[True]]
    np.testing.assert_allclose(trains.times[0, 0], [0, 1e-3, 2e-3], atol=1e-9)


def test_trains_cross_transformations():
    trains = event.from_lists(LISTS)
    shifted = jax.jit(jax.vmap(lambda t: t._replace(times=t.times + 1e-3)))(trains)
    np.testing.assert_allclose(event.first_spikes(shifted), event.first_spikes(trains) + 1e-3)
