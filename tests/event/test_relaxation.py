"""Relaxation against the event loop and against differences; how it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import BUDGET, DURATION, FULL, KINDS, PER_KIND, draw, kind, lif

from snnax import event
from snnax.errors import ArgumentError, ShapeError

INF = np.inf
DELAYED = {
    "delays": KINDS["delays"],
    "populations with several axons": kind(
        ((4, lif(refractory=0.2)), (4, lif(tau_mem=1.4, v_leak=0.2))),
        gain=0.6,
        mean=-0.1,
        immediate=False,
        axons=2,
    ),
    "one spike each": kind(lif(refractory=INF), immediate=False, axons=1),
}


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def relaxed(times, wiring, parameters, **options):
    return event.relaxed_spikes(
        event.trains(jnp.asarray(times, float)), wiring, parameters, **{"t_max": DURATION, **options}
    )


# One axon and one population are in float32 below, and in the two others' mixture.
@pytest.mark.parametrize("name", [name for name in DELAYED if FULL or name != "delays"])
def test_times_and_gradients_are_those_of_the_loop_and_of_differences(name):
    generator = np.random.default_rng(7)
    chosen = DELAYED[name]
    both = with_pull_back(lambda parts: relaxed(*parts, chosen.neurons, max_spikes=BUDGET))
    looped = with_pull_back(
        lambda parts: event.recurrent_spikes(
            event.trains(parts[0]), parts[1], chosen.neurons, t_max=DURATION, max_spikes=BUDGET
        )
    )
    compared = born = 0
    for _ in range(PER_KIND):
        parts = draw(chosen, generator)
        found, expected = both(parts, 1.0), looped(parts, 1.0)
        if expected[1].any():
            continue  # spikes over the budget act in the loop alone
        compared += 1
        assert not found[1].any()
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-11)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found[2], expected[2]
        )
        error = gradient_error(both, parts, generator)
        born += error is None
        assert error is None or error < 1e-6
    assert compared >= PER_KIND // 2
    assert born <= PER_KIND // 20 + 1
    print(f"{compared} of {PER_KIND} networks in budget, {born} set apart")


def ring(size):
    """Each neuron excites the next."""
    delayed = jnp.zeros((1, size, size)).at[0, jnp.arange(size), (jnp.arange(size) + 1) % size].set(9.0)
    return event.Wiring(jnp.zeros((1, size)).at[0, 0].set(9.0), None, delayed, jnp.full((1, size), 0.5))


def test_sweeps_that_do_not_suffice_are_flagged():
    """A chain of four spikes needs four sweeps, and one more that finds nothing to change."""
    neurons = lif(refractory=INF)
    whole = relaxed([[[0.1]]], ring(4), neurons)
    assert np.isfinite(whole.times).all() and not whole.overflow.any()
    for sweeps, flagged in ((4, False), (2, True)):
        found = relaxed([[[0.1]]], ring(4), neurons, max_sweeps=sweeps)
        assert bool(found.overflow.all()) == bool(found.overflow.any()) == flagged


def test_it_ends_in_float32_too():
    with jax.enable_x64(False):
        times, wiring = draw(KINDS["delays"], np.random.default_rng(3))
        wiring = jax.tree.map(lambda part: jnp.asarray(part, jnp.float32), wiring)
        found = relaxed(times, wiring, KINDS["delays"].neurons, max_spikes=BUDGET)
        assert found.times.dtype == jnp.float32 and not found.overflow.any()


def test_without_recurrence_it_is_the_layer():
    times, weights = np.array([[[0.2], [0.7]]]), np.array([[5.0, 1.0, -1.0], [1.0, 5.0, 2.0]])
    layer = event.lif_spikes(event.trains(times), weights, lif(), t_max=DURATION)
    np.testing.assert_array_equal(relaxed(times, event.Wiring(weights), lif()).times, layer.times)


def test_what_has_no_delay_is_refused():
    with pytest.raises(ArgumentError, match=r"recurrent weights without a delay.*recurrent_spikes"):
        relaxed([[[0.1]]], event.Wiring(np.ones((1, 2)), np.ones((2, 2))), lif())
    with pytest.raises(ShapeError, match="relaxed_spikes"):
        relaxed([[[0.1]]], event.Wiring(np.ones((2, 2))), lif())
