"""Axonal delays: trains that come later, and the list of spikes under way in the event loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import DURATION, KINDS, draw, lif

from snnax import event
from snnax.event.delays import landed, next_arrival, no_flight, sent

INF = np.inf


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def looped(times, wiring, neurons, **options):
    return event.recurrent_spikes(
        event.trains(jnp.asarray(times, float)), wiring, neurons, **{"t_max": DURATION, **options}
    )


# --- trains that come later -----------------------------------------------------------------------


def test_a_train_is_later_by_its_neurons_delay():
    trains = event.trains(jnp.array([[[1.0, INF], [0.5, 2.0]]]))
    assert event.delayed(trains, None) is trains
    np.testing.assert_array_equal(event.delayed(trains, 1.0).times, trains.times + 1)
    later = event.delayed(trains, jnp.array([0.25, -3.0])).times  # not earlier than its cause
    np.testing.assert_array_equal(later, [[[1.25, INF], [0.5, 2.0]]])


def test_the_gradient_of_a_delay_is_that_of_all_its_spikes():
    trains = event.trains(jnp.array([[[1.0, 3.0], [0.5, INF]]]))

    def loss(delay):
        return jnp.sum(jnp.where(trains.times < INF, event.delayed(trains, delay).times ** 2, 0))

    np.testing.assert_allclose(jax.grad(loss)(jnp.array([0.5, 0.5])), [10.0, 2.0])


# --- spikes under way -----------------------------------------------------------------------------


def test_spikes_land_in_the_order_of_their_arrival():
    flight = no_flight(2, 3, jnp.zeros(()))
    for number, arrival in enumerate([[3.0, INF], [1.0, 5.0], [2.0, INF]]):
        flight, lost = sent(
            flight, jnp.array(arrival), jnp.array([number, 10 + number], jnp.int32), jnp.int32(100 + number)
        )
        assert not lost.any()
    seen = []
    for _ in range(3):
        place, *told = next_arrival(flight)
        seen.append(tuple(float(part[0]) for part in told))
        flight = landed(flight, place, jnp.array([True, False]))
    assert seen == [(1.0, 1, 101), (2.0, 2, 102), (3.0, 0, 100)]
    assert next_arrival(flight).time.tolist() == [INF, 5.0]
    for arrival in (4.0, 6.0, 2.0):  # places that became free are used again
        flight, lost = sent(flight, jnp.array([arrival, INF]), jnp.zeros(2, jnp.int32), jnp.int32(0))
        assert not lost.any()
    assert next_arrival(flight).time.tolist() == [2.0, 5.0]


def test_what_finds_no_place_is_lost_and_said_to_be():
    flight = no_flight(2, 1, jnp.zeros(()))
    none = jnp.zeros(2, jnp.int32)
    flight, _ = sent(flight, jnp.array([1.0, INF]), none, jnp.int32(0))
    flight, lost = sent(flight, jnp.array([2.0, 2.0]), none, jnp.int32(1))
    assert lost.tolist() == [True, False]
    assert next_arrival(flight).time.tolist() == [1.0, 2.0]


# --- in the event loop ----------------------------------------------------------------------------


def chain(delays, weights=9.0):
    """A neuron that fires once, and its target."""
    delayed = jnp.zeros((1, 2, 2)).at[0, 0, 1].set(weights)
    return event.Wiring(jnp.array([[9.0, 0.0]]), None, delayed, jnp.asarray(delays, float).reshape(1, 2))


def test_a_delay_moves_the_target_by_itself():
    neurons = lif(refractory=INF)

    def target(delay):
        return looped([[[0.5]]], chain([delay, INF]), neurons).times[0, 1, 0]

    reference = looped(
        [[[0.5]]],
        event.Wiring(jnp.array([[9.0, 0.0]]), jnp.array([[0.0, 9.0], [0.0, 0.0]])),
        neurons,
    )
    here = jax.value_and_grad(jax.jit(target))
    np.testing.assert_allclose(here(0.0)[0], reference.times[0, 1, 0], rtol=1e-15)
    np.testing.assert_allclose(here(0.75), (reference.times[0, 1, 0] + 0.75, 1.0), rtol=1e-14)
    assert here(-1.0) == (here(0.0)[0], 0.0)  # counts as zero, and is not learned
    assert here(DURATION)[0] == INF


def test_too_many_spikes_under_way_are_flagged():
    times, wiring = draw(KINDS["delays"], np.random.default_rng(1))
    wiring = wiring._replace(delays=wiring.delays + 1)
    whole = looped(times, wiring, KINDS["delays"].neurons, max_spikes=20)
    short = looped(times, wiring, KINDS["delays"].neurons, max_spikes=20, max_in_flight=2)
    assert not whole.overflow.any() and short.overflow.all()


def test_delays_are_learned_exactly_alone():
    kind = KINDS["refractory times and delays"]
    generator = np.random.default_rng(3)
    times, wiring = draw(kind, generator)
    both = with_pull_back(
        lambda delays: looped(times, wiring._replace(delays=delays), kind.neurons, max_spikes=12)
    )
    assert gradient_error(both, wiring.delays, generator) < 1e-6
