"""The event loop against stepping on a fine grid and against differences; ties, budgets, and long times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import BATCH, BUDGET, DURATION, FULL, KINDS, LEAKY, PER_KIND, draw, lif
from helpers.event_stepping import padded, spike_times

from snnax import event
from snnax.errors import ArgumentError, ShapeError

INF = np.inf


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


compiled = jax.jit(
    event.recurrent_spikes,
    static_argnums=2,
    static_argnames=("t_max", "max_spikes", "max_events", "max_in_flight"),
)


def looped(times, wiring, neurons, t_max=DURATION, **options):
    return compiled(event.trains(jnp.asarray(times, float)), wiring, neurons, t_max=t_max, **options)


# Such ratios are in the cycle, and such axons have the neurons with refractory times.
SAID_BY_OTHERS = {"any ratio of time constants", "delays"}


@pytest.fixture(params=[name for name in KINDS if FULL or name not in SAID_BY_OTHERS])
def kind(request):
    return KINDS[request.param]


def test_times_and_gradients_of_random_networks(kind):
    """Every network is judged twice; those that a spike enters or leaves in the differences are counted."""
    generator = np.random.default_rng(1)
    both = with_pull_back(lambda parts: looped(*parts, kind.neurons, max_spikes=BUDGET))
    compared, born = 0, 0
    for _ in range(PER_KIND):
        times, wiring = parts = draw(kind, generator)
        found, overflow, _ = both(parts, 0.0)
        for sample in np.flatnonzero(~np.asarray(overflow).any(1)):
            expected = padded(spike_times(kind.neurons, times[sample], wiring, DURATION), BUDGET)
            np.testing.assert_allclose(found[sample], expected, rtol=0, atol=1e-10)
            compared += 1
        error = gradient_error(both, parts, generator)
        born += error is None
        assert error is None or error < 1e-6
    assert compared >= PER_KIND
    assert born <= PER_KIND // 20 + 1
    print(f"{compared} samples, {born} of {PER_KIND} networks set apart")


# --- exactly simultaneous spikes ------------------------------------------------------------------


def identical(generator, recurrent):
    """Four neurons with the same input, and two input trains with a spike at the same time."""
    times = np.sort(generator.uniform(0.1, 1, (1, 4, 1)), 1)
    times[:, 1] = times[:, 0]
    inputs = np.tile(generator.uniform(1.5, 2.5, (4, 1)), (1, 4))
    return times, event.Wiring(inputs, recurrent)


@pytest.mark.parametrize("tau_mem", [2.0, 1.3])
@pytest.mark.parametrize("seed", range(2))
def test_ties_are_the_limit_of_a_vanishing_perturbation(tau_mem, seed):
    """Any kicks that stop nobody: each of four is a bit weaker than the one before, or exactly equal."""
    generator = np.random.default_rng(seed)
    times, tied = identical(generator, generator.normal(0, 0.2, (4, 4)))
    later = tied._replace(inputs=tied.inputs * (1 - 1e-11 * np.arange(4)))
    both = with_pull_back(lambda parts: looped(*parts, lif(tau_mem, v_reset=-0.1), max_spikes=6))
    weights = generator.normal(size=(1, 4, 6))
    exact, limit = both((times, tied), weights), both((times, later), weights)
    assert len({*np.asarray(exact[0][0, :, 0]).tolist()}) == 1 < np.isfinite(exact[0]).sum() / 4
    np.testing.assert_allclose(exact[0], limit[0], rtol=0, atol=1e-9)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9), exact[2], limit[2])


def test_who_reaches_threshold_together_fires_even_where_the_kick_would_stop_it():
    times, wiring = identical(np.random.default_rng(0), -9.0 * (1 - np.eye(4)))
    both = with_pull_back(lambda parts: looped(*parts, lif(), max_spikes=2))
    found, overflow, gradient = both((times, wiring), 1.0)
    assert (found[0, :, 0] == found[0, 0, 0]).all() and not overflow.any()
    assert all(np.isfinite(part).all() for part in jax.tree.leaves(gradient))
    # The slope of the last one is that before it was kicked: its weights count as if it were alone.
    alone = both(
        (times, wiring._replace(recurrent=0 * wiring.recurrent)), np.eye(2)[:1] * np.ones((1, 4, 1))
    )[2]
    np.testing.assert_allclose(gradient[1].inputs[:, 3], alone[1].inputs[:, 3], rtol=1e-9)


def test_input_spikes_at_the_same_time_add_up():
    merged = looped([[[1.0]]], event.Wiring(np.array([[6.0]])), lif())
    apart = looped([[[1.0], [1.0]]], event.Wiring(np.array([[4.0], [2.0]])), lif())
    assert merged.times == apart.times < INF


# --- budgets --------------------------------------------------------------------------------------


def busy():
    generator = np.random.default_rng(4)
    times, wiring = draw(KINDS["any weights, v_leak, v_reset"], generator)
    return times[:1], wiring


def test_more_spikes_than_are_kept_act_and_are_flagged():
    kept = looped(*busy(), LEAKY, max_spikes=1, max_events=200)
    whole = looped(*busy(), LEAKY, max_spikes=20)
    np.testing.assert_array_equal(kept.times, whole.times[..., :1])
    np.testing.assert_array_equal(kept.overflow, whole.times[..., 1] < INF)
    assert kept.overflow.any() and not whole.overflow.any()


def test_the_budget_of_events_is_exact_and_its_end_is_flagged():
    whole = looped(*busy(), LEAKY, max_spikes=20)
    events = 5 + int(event.count(whole).sum())
    enough = looped(*busy(), LEAKY, max_spikes=20, max_events=events)
    short = looped(*busy(), LEAKY, max_spikes=20, max_events=events - 1)
    np.testing.assert_array_equal(enough.times, whole.times)
    assert not enough.overflow.any() and short.overflow.all()
    assert event.count(short).sum() == events - 6


def test_each_sample_has_its_own_budget():
    times, wiring = draw(KINDS["any weights, v_leak, v_reset"], np.random.default_rng(4))
    quiet = np.stack([times[0], np.full_like(times[0], INF)])
    found = looped(quiet, wiring, lif(), max_spikes=20, max_events=8)
    assert found.overflow[0].all() and not found.overflow[1].any() and (found.times[1] == INF).all()


def test_a_network_that_excites_itself_for_ever_ends_and_is_flagged():
    wiring = event.Wiring(np.full((1, 2), 5.0), np.full((2, 2), 5.0))
    found = looped([[[0.5]]], wiring, lif(), max_spikes=4)
    assert found.overflow.all() and np.isfinite(found.times).all()


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau_mem", [2.0, 1.3])
def test_float32_to_ten_thousand_time_constants(tau_mem):
    """Times are exact but for the resolution of float32 at their end; gradients have no NaN."""
    with jax.enable_x64(False):
        generator = np.random.default_rng(2)
        times = np.sort(generator.uniform(0, 1e4, (1, 2, 150)).astype(np.float32), -1)
        wiring = event.Wiring(np.array([[5.0, 3.5], [2.0, 4.5]]), np.array([[0.3, 2.0], [-1.0, 0.2]]))
        neurons, options = lif(tau_mem), {"t_max": 1e4, "max_spikes": 900}
        both = with_pull_back(lambda parts: looped(*parts, neurons, **options))
        found, overflow, gradient = both((times, wiring), 1.0)
        assert found.dtype == np.float32 and not overflow.any()
        assert all(np.isfinite(part).all() for part in jax.tree.leaves(gradient))
    expected = padded(spike_times([(2, neurons)], times[0].astype(float), wiring, 1e4, step=0.02), 900)
    assert np.isfinite(expected).sum() > 200
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=4 * np.spacing(np.float32(1e4)))


def test_no_inputs_and_silence_have_gradients_of_zero():
    both = with_pull_back(lambda parts: looped(*parts, lif(), max_spikes=2))
    times, wiring = np.full((1, 1, 1), INF), event.Wiring(np.ones((1, 3)), np.ones((3, 3)))
    found, overflow, gradient = both((times, wiring), np.nan)
    assert (found == INF).all() and not overflow.any()
    assert all((part == 0).all() for part in jax.tree.leaves(gradient))


def test_jit_and_vmap_change_nothing():
    times, wiring = draw(KINDS["delays"], np.random.default_rng(0))
    neurons = KINDS["delays"].neurons

    def one(sample):
        return looped(sample[None], wiring, neurons, max_spikes=BUDGET).times[0]

    together = looped(times, wiring, neurons, max_spikes=BUDGET).times
    np.testing.assert_allclose(jax.jit(jax.vmap(one))(times), together, rtol=1e-14)
    assert together.shape[0] == BATCH


# --- arguments ------------------------------------------------------------------------------------

GOOD = event.Wiring(np.ones((1, 2)), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("wiring", "said"),
    [
        (GOOD._replace(inputs=np.ones((2, 2))), r"wiring.inputs of shape \(2, 2\)\): expected \(1, 2\)"),
        (
            GOOD._replace(recurrent=np.ones((1, 2))),
            r"wiring.recurrent of shape \(1, 2\)\): expected \(2, 2\)",
        ),
        (GOOD._replace(delays=np.ones((1, 2))), "belong together"),
        (GOOD._replace(delays=np.ones((1, 2)), delayed=np.ones((2, 2, 2))), r"expected \(1, 2, 2\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(wiring, said):
    with pytest.raises(ShapeError, match=said):
        looped([[[1.0]]], wiring, lif())


@pytest.mark.parametrize(
    "options", [{"t_max": 0.0}, {"max_spikes": 0}, {"max_events": 1.5}, {"max_in_flight": -1}]
)
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(ArgumentError, match=f"recurrent_spikes\\({name}="):
        looped([[[1.0]]], GOOD, lif(), **options)
