"""The closed form between events, against its definition in fifty decimal digits."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snnax.event import LIFParameters, LIParameters, flow
from snnax.event.closed_form import decay, response_slope

# distinct, reversed, equal, twice, and so nearly equal that a difference of exponentials has no digit left
PAIRS = [
    (10e-3, 3e-3),
    (3e-3, 10e-3),
    (5e-3, 5e-3),
    (10e-3, 5e-3),
    (5e-3, 5.0001e-3),
    (5e-3, 5e-3 * (1 + 2**-52)),
]
TIMES = [0.0, 1e-12, 1e-7, 1e-3, 5e-3, 0.1, 3.0, 50.0]


def exact(time, tau_mem, tau_syn):
    """(mem, syn, response) as Decimals."""
    with localcontext() as context:
        context.prec = 50
        t, tm, ts = Decimal(float(time)), Decimal(tau_mem), Decimal(tau_syn)
        mem, syn = (-t / tm).exp(), (-t / ts).exp()
        response = t / tm * mem if tm == ts else (mem - syn) / (tm * (1 / ts - 1 / tm))
        return mem, syn, response


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pair", PAIRS)
def test_each_factor_has_full_relative_precision(pair, dtype):
    with jax.enable_x64(dtype == "float64"):
        times = np.array(TIMES, dtype)
        factors = decay(jnp.asarray(times), LIParameters(tau_mem=pair[0], tau_syn=pair[1]))
        eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
        for n, time in enumerate(times):
            # the argument of the exponential is rounded too
            bound = eps * (8 + 4 * float(time) / min(pair))
            for got, want in zip(factors, exact(time, *pair), strict=True):
                assert abs(float(got[n]) - float(want)) <= bound * float(want) + tiny


@given(
    st.floats(1e-4, 1.0),
    st.floats(1e-4, 1.0) | st.floats(-1e-6, 1e-6).map(lambda e: 1 + e),
    st.floats(0, 10),
)
@example(1.0, 1.0, 0.0)
def test_flow_is_a_group_of_motions(tau_mem, ratio, time):
    """Twice half the time is the time, for any pair of constants."""
    p = LIFParameters(tau_mem=tau_mem, tau_syn=tau_mem * ratio, v_leak=0.2)
    with jax.enable_x64(True):
        start = (jnp.array(-0.5), jnp.array(1.5))
        half = jnp.array(time / 2)
        once, twice = flow(*start, 2 * half, p), flow(*flow(*start, half, p), half, p)
    np.testing.assert_allclose(once, twice, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_derivatives_solve_the_differential_equations(pair):
    p = LIParameters(tau_mem=pair[0], tau_syn=pair[1], v_leak=0.3)
    with jax.enable_x64(True):
        for time in TIMES[:-2]:
            t = jnp.array(time)
            state = flow(jnp.array(-0.5), jnp.array(1.5), t, p)
            slope = jax.jvp(lambda t: flow(jnp.array(-0.5), jnp.array(1.5), t, p), (t,), (jnp.ones(()),))[1]
            want = ((0.3 - state[0] + state[1]) / pair[0], -state[1] / pair[1])
            np.testing.assert_allclose(slope, want, rtol=1e-9, atol=1e-9)
            factors = decay(t, p)
            kappa = jax.grad(lambda t: decay(t, p).response)(t)
            np.testing.assert_allclose(response_slope(factors, p), kappa, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
def test_no_nan_however_long_the_time(pair):
    p = LIParameters(tau_mem=pair[0], tau_syn=pair[1])
    times = jnp.array([0.0, 1e-30, 1e-3, 1e3, 1e30])
    states = jax.jit(jax.vmap(lambda t: flow(jnp.float32(0.5), jnp.float32(2.0), t, p)))(times)
    slopes = jax.vmap(jax.grad(lambda t: sum(flow(jnp.float32(0.5), jnp.float32(2.0), t, p))))(times)
    assert all(bool(jnp.isfinite(x).all()) for x in (*states, slopes))
