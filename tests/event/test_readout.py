"""Leaky integrators: the voltage at given times, and its maximum, against a fine grid and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back

from snnax import event
from snnax.errors import ArgumentError, GraphError, ShapeError
from snnax.event import LIFParameters, LIParameters, Trains, li_max_voltage, li_voltage, trains

PAIRS = [(2.0, 1.0), (1.0, 1.0), (0.7, 3.0)]
T_MAX = 6.0


def network(seed=0, samples=2, inputs=4, outputs=6):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 8, (samples, inputs, 2)))
    times[:, 2, 1] = np.inf
    return times, rng.normal(0.3, 1, (inputs, outputs))


def summed(times, weights, grid, p):
    """The voltage ``[T, B, M]`` as a plain sum of responses."""
    passed, (tm, ts) = grid[:, None, None, None] - times, (p.tau_mem, p.tau_syn)
    late = np.clip(passed, 0, 100)
    response = late / tm * np.exp(-late / tm)
    if tm != ts:
        response = ts / (tm - ts) * (np.exp(-late / tm) - np.exp(-late / ts))
    return p.v_leak + np.einsum("tbnk,nm->tbm", response, weights)


@pytest.mark.parametrize("pair", PAIRS)
def test_voltages_and_their_maximum_are_those_on_a_grid(pair):
    p = LIParameters(tau_mem=pair[0], tau_syn=pair[1], v_leak=0.3)
    times, weights = network()
    grid = np.union1d(np.linspace(0, T_MAX, 20001), times[times < T_MAX])
    with jax.enable_x64(True):
        few = np.asarray(li_voltage(trains(times), weights, p, grid[::1000]))
        highest = np.asarray(li_max_voltage(trains(times), weights, p, t_max=T_MAX))
    wanted = summed(times, weights, grid, p)
    np.testing.assert_allclose(few, wanted[::1000], atol=1e-12)
    np.testing.assert_allclose(highest, wanted.max(0), atol=1e-6)
    assert len(set(wanted.argmax(0).ravel())) > 5


@pytest.mark.parametrize("pair", PAIRS)
def test_gradients(pair):
    """At a maximum between inputs, at the end, at the start, and at an input at which the voltage turns."""
    p = LIParameters(tau_mem=pair[0], tau_syn=pair[1], v_leak=0.3)
    times, weights = network(1, samples=1)
    weights[:, 0], weights[:, 1] = [2.0, 2.0, -9.0, 2.0], -1.0
    times = np.where(times < np.inf, times, 7.0)
    grid = jnp.linspace(0.05, T_MAX, 9)

    def readouts(parts):
        inputs = Trains(parts[0], jnp.zeros(parts[0].shape[:2], bool))
        highest = li_max_voltage(inputs, parts[1], p, t_max=T_MAX)
        return jnp.concatenate([li_voltage(inputs, parts[1], p, grid), highest[None]]), ()

    with jax.enable_x64(True):
        both = with_pull_back(readouts)
        for seed in range(5):
            assert gradient_error(both, [times, weights], np.random.default_rng(seed)) < 1e-6


def test_no_nan_over_ten_thousand_time_constants_and_without_input():
    p = LIFParameters(tau_mem=2.0, tau_syn=1.0, v_leak=1.5)
    times = jnp.array(
        [[[0.5, 9e3], [jnp.inf, jnp.inf]], [[jnp.inf, jnp.inf], [jnp.inf, jnp.inf]]], jnp.float32
    )

    def total(times, weights):
        inputs = Trains(times, jnp.zeros((2, 2), bool))
        highest = li_max_voltage(inputs, weights, p, t_max=1e4)
        return jnp.sum(highest) + jnp.sum(li_voltage(inputs, weights, p, jnp.array([0.0, 1e4]))), highest

    slopes, highest = jax.grad(total, (0, 1), has_aux=True)(times, jnp.ones((2, 3), jnp.float32))
    assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)
    np.testing.assert_allclose(highest, [[1.75] * 3, [1.5] * 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: li_voltage(i, jnp.ones((2, 1)), LIParameters(), 0.1), ArgumentError, r"expected \[T\]"),
        (
            lambda i: li_voltage(i, jnp.ones((3, 1)), LIParameters(), [0.1]),
            ShapeError,
            r"li_voltage\(weights.*N = 2",
        ),
        (
            lambda i: li_voltage(i, jnp.ones((2, 1)), None, [0.1]),
            ArgumentError,
            r"li_voltage\(parameters=None",
        ),
        (lambda i: li_max_voltage(i, jnp.ones((2, 1)), LIParameters(), t_max=0), ArgumentError, "above 0"),
        (
            lambda i: li_max_voltage(i.times, jnp.ones((2, 1)), LIParameters(), t_max=1),
            ArgumentError,
            "spike trains",
        ),
    ],
)
def test_errors_say_what_works(call, error, message):
    with pytest.raises(error, match=message):
        call(trains([[0.1, 0.2]]))


def test_voltages_of_a_network_need_times_or_an_end():
    network = event.Network(
        [event.Population("out", 1, event.LIFParameters())],
        [
            event.Projection("in", "out", jnp.ones((1, 1))),
            event.Projection("out", "voltage", jnp.ones((1, 1)), delay=1e-3),
        ],
        [event.Readout("voltage", 1, event.LIParameters())],
    )
    spikes = {"out": event.trains(jnp.array([[2e-3]]))}
    read = event.voltages(network, {}, spikes, times=jnp.array([2e-3, 8e-3]))["voltage"][:, 0, 0]
    alone = event.li_voltage(
        event.trains(jnp.array([[3e-3]])), jnp.ones((1, 1)), event.LIParameters(), jnp.array([2e-3, 8e-3])
    )
    np.testing.assert_allclose(read, alone[:, 0, 0])
    for given, said in (({}, "either times"), ({"times": [0.0], "t_max": 1.0}, "either times")):
        with pytest.raises(ArgumentError, match=said):
            event.voltages(network, {}, spikes, **given)
    with pytest.raises(ArgumentError, match="reached by 'out'"):
        event.voltages(network, {}, {}, t_max=0.05)


def test_a_readout_sends_nothing():
    with pytest.raises(GraphError, match="sends no spikes"):
        event.Network(
            [event.Population("out", 1, event.LIFParameters())],
            [
                event.Projection("voltage", "out", jnp.ones((1, 1))),
                event.Projection("out", "voltage", jnp.ones((1, 1))),
            ],
            [event.Readout("voltage", 1, event.LIParameters())],
        )
