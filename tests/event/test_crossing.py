"""Crossings of the threshold, against the voltage on a fine grid in double precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnax.event import LIFParameters, first_crossing, flow
from snnax.event.crossing import DecayClock, SecondsClock, clock_of, crosses

RATIOS = [(2.0, 1.0), (1.0, 1.0), (1.0, 2.0), (3.3, 1.0), (1.0, 7.0), (1.0, 1.0 + 1e-9)]


def numbers(ratio, **fields):
    return LIFParameters(tau_mem=ratio[0], tau_syn=ratio[1], v_reset=-2.0, **fields)


def voltage(v, i, t, p):
    """The closed form as a textbook writes it, in NumPy."""
    tm, ts = p.tau_mem, p.tau_syn
    kernel = (
        t / tm * np.exp(-t / tm)
        if abs(tm - ts) < 1e-6
        else ts / (tm - ts) * (np.exp(-t / tm) - np.exp(-t / ts))
    )
    return p.v_leak + (v - p.v_leak) * np.exp(-t / tm) + i * kernel


def scanned(v, i, time, p):
    """The first crossing on a fine grid, refined by bisection; and by how far the voltage misses or exceeds."""
    grid = np.linspace(0, time, 20001)
    above = voltage(v, i, grid, p) - p.threshold
    found = np.flatnonzero(above >= 0)
    if not len(found):
        return np.inf, above.max()
    low, high = grid[found[0] - 1], grid[found[0]]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if voltage(v, i, middle, p) >= p.threshold else (middle, high)
    return high, above.max()


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("v_leak", [0.0, 0.4, 1.5])
def test_crossings_are_those_on_a_fine_grid(ratio, v_leak):
    rng = np.random.default_rng(1)
    p = numbers(ratio, v_leak=v_leak)
    v, i = rng.uniform(-2, 0.99, 100), rng.normal(2, 6, 100)
    time = rng.uniform(0.05, 6, 100)
    with jax.enable_x64(True):
        got = np.asarray(first_crossing(jnp.array(v), jnp.array(i), jnp.array(time), p))
    hits = 0
    for n in range(100):
        want, margin = scanned(v[n], i[n], time[n], p)
        if abs(margin) > 1e-6:  # the grid cannot tell closer than its step
            np.testing.assert_allclose(got[n], want, rtol=1e-8, atol=1e-8)
            hits += np.isfinite(want)
    assert 15 < hits < 95


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_maximum_on_the_threshold_is_decided_by_its_value(ratio):
    """A current for which the maximum is 1: a little more crosses, a little less does not."""
    tm, ts = ratio
    peak = np.exp(-1) if tm == ts else np.exp(np.log1p((ts - tm) / tm) * tm / (tm - ts))
    for dtype, tolerance in (("float32", 4e-6), ("float64", 4e-15)):
        with jax.enable_x64(dtype == "float64"):
            currents = jnp.array([1 - tolerance, 1 + tolerance], dtype) / np.asarray(peak, dtype)
            zeros = jnp.zeros(2, dtype)
            below, above = first_crossing(zeros, currents, zeros + 50, numbers(ratio))
            assert below == np.inf and 0 < above < 50


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_border_between_two_intervals_loses_no_spike(ratio):
    """The crossing is found before a border or after it, wherever the border lies in floats around the root."""
    p = numbers(ratio)
    root = float(first_crossing(jnp.float32(0.1), jnp.float32(9.0), jnp.float32(20), p))
    borders = jnp.float32(root + np.arange(-40, 41) * np.spacing(np.float32(root)))
    v, i = jnp.full(81, 0.1, jnp.float32), jnp.full(81, 9.0, jnp.float32)
    first = first_crossing(v, i, borders, p)
    rest = borders + first_crossing(*flow(v, i, borders, p), jnp.full(81, 20.0), p)
    assert 0 < (first < np.inf).sum() < 81
    np.testing.assert_allclose(np.minimum(first, rest), root, rtol=2e-5)


@pytest.mark.parametrize("ratio", RATIOS)
def test_no_time_has_no_crossing_and_a_long_one_loses_none(ratio):
    p = numbers(ratio)
    below = jnp.nextafter(jnp.float32(1), jnp.float32(0))
    for v in (jnp.float32(0), below):
        assert first_crossing(v, jnp.float32(9.0), jnp.float32(0), p) == np.inf
        assert (
            first_crossing(v, jnp.float32(9.0), jnp.float32(1e5), p) < 1
        )  # both have underflowed at the end


@given(
    ratio=st.sampled_from(RATIOS),
    v=st.floats(-3, 0.9),
    i=st.floats(-10, 10),
    time=st.floats(1e-3, 20),
    v_leak=st.sampled_from([0.0, 0.5, 1.5]),
)
def test_gradients_are_those_of_the_voltage(ratio, v, i, time, v_leak):
    """V at the crossing is the threshold: differentiating that gives the derivatives of the time."""
    p = numbers(ratio, v_leak=v_leak)
    with jax.enable_x64(True):
        v, i, time = jnp.array(v), jnp.array(i), jnp.array(time)
        crossing, (by_v, by_i, by_time) = jax.value_and_grad(first_crossing, (0, 1, 2))(v, i, time, p)
        assert by_time == 0
        if not crossing < np.inf:
            assert by_v == by_i == 0
            return
        at, (dv, di, dt) = jax.value_and_grad(lambda *a: flow(*a, p)[0], (0, 1, 2))(v, i, crossing)
        np.testing.assert_allclose(at, p.threshold, atol=1e-12)
        if dt > 1e-3:
            np.testing.assert_allclose((by_v, by_i), (-dv / dt, -di / dt), rtol=1e-9)
        assert np.isfinite([by_v, by_i]).all()


@pytest.mark.parametrize("ratio", RATIOS)
def test_both_clocks_tell_the_same_time(ratio):
    p = numbers(ratio)
    assert isinstance(clock_of(p), DecayClock if ratio == (2.0, 1.0) else SecondsClock)
    clock = clock_of(p)
    first, second = jnp.array([0.1, 0.5]), jnp.array([0.4, 0.2])
    a, b = clock.span(first), clock.span(second)
    for span, seconds in (
        (a, first),
        (clock.joined(a, b), first + second),
        (clock.rest(clock.joined(a, b), a), second),
        (clock.rest(a, clock.joined(a, b)), jnp.zeros(2)),
        (clock.shorter(a, b), jnp.minimum(first, second)),
        (clock.shortest(jnp.stack([a, b]), 0), jnp.minimum(first, second)),
        (jnp.full(2, clock.none), jnp.zeros(2)),
    ):
        np.testing.assert_allclose(clock.time(span), seconds, atol=1e-6)
    assert isinstance(clock_of(numbers(ratio, refractory=0.1)), SecondsClock)
    assert isinstance(clock_of(numbers(ratio, v_leak=1.1)), SecondsClock)
    u, i = jnp.array([0.5, -0.5]), jnp.array([3.0, 1.0])
    np.testing.assert_allclose(clock.advance(u, i, a), flow(u, i, first, p), rtol=1e-6)


def test_the_closed_form_and_newton_agree():
    p = numbers((2.0, 1.0), v_leak=0.3)
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        u, i = jnp.array(rng.uniform(-3, 0.6, 500)), jnp.array(rng.normal(2, 4, 500))
        whole = jnp.array(rng.uniform(0.1, 8, 500))
        closed, newton = DecayClock(p), SecondsClock(p)
        hit = crosses(u, i, *newton.advance(u, i, whole), p)
        assert 100 < hit.sum() < 400
        times = closed.time(closed.crossing(u, i, closed.span(whole), hit))
        found = newton._newton(u, i, whole, hit, earliest=False)
        np.testing.assert_allclose(times, found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ratio", RATIOS)
def test_no_nan_where_nothing_moves_or_everything_is_large(ratio):
    grid = jnp.array(
        np.meshgrid([-1e4, -1.0, 0.0, 0.999999], [-1e6, -1.0, 0.0, 1e-30, 1.0, 1e6], [0.0, 1e-6, 1.0, 1e6])
    )
    v, i, time = (x.ravel() for x in grid)
    for v_leak in (0.0, 0.999999, 1.5):
        p = numbers(ratio, v_leak=v_leak)
        both = jax.value_and_grad(functools.partial(first_crossing, parameters=p), (0, 1, 2))
        crossing, slopes = jax.jit(jax.vmap(both))(v, i, time)
        assert not jnp.isnan(crossing).any() and (crossing >= 0).all()
        assert all(bool(jnp.isfinite(s).all()) for s in slopes)
