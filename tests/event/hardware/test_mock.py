"""The mock: without its faults an exact network, with each of them a measurable step away."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError, ShapeError
from snnax.event.hardware import MockChip

SIZES = (4, 6, 2)
RNG = np.random.default_rng(0)
TIMES = RNG.uniform(0, 8e-6, (5, 4, 1))
WEIGHTS = [RNG.uniform(1, 4, (4, 6)), RNG.uniform(1, 4, (6, 2))]
IDEAL = {"bits": None, "jitter": 0.0}


def chip(**given):
    return MockChip(SIZES, **{**IDEAL, **given})


def exact(chip, weights=WEIGHTS):
    @jax.jit
    def run(times, weights):
        spikes, found = event.trains(times), []
        for matrix in weights:
            spikes = event.lif_spikes(spikes, matrix, chip.parameters, t_max=chip.t_max)
            found.append(spikes.times)
        return found

    return jax.tree.map(np.asarray, run(jnp.asarray(TIMES, float), [jnp.asarray(w, float) for w in weights]))


def test_without_faults_it_is_exact():
    ideal = chip()
    for got, want in zip(ideal.run(TIMES, WEIGHTS), exact(ideal), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
        assert np.isfinite(got).all()


def test_weights_are_rounded_and_saturate():
    has = np.asarray(
        MockChip((1, 5), largest_weight=6.3).programmed(0, jnp.array([[0.04, 0.06, -0.149, 7.0, -9.0]]))
    )
    np.testing.assert_allclose(has, [[0.0, 0.1, -0.1, 6.3, -6.3]], atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(chip(largest_weight=(2, 3)).programmed(1, jnp.array([4.0, 0.123]))), [3, 0.123]
    )


def test_jitter_and_bias_are_those_asked_for():
    noisy = MockChip((1, 500), bits=None, jitter=2e-7, bias=5e-7)
    weights = np.full((1, 500), 6.0)
    first, second = (noisy.run(np.zeros((20, 1, 1)), [weights])[0] for _ in range(2))
    ideal = MockChip((1, 500), **IDEAL).run(np.zeros((1, 1, 1)), [weights])[0][0, 0, 0]
    assert (first != second).mean() > 0.9
    assert abs(first.mean() - ideal - 5e-7) < 2e-8 and abs(first.std() - 2e-7) < 1e-8


def test_a_cycle_makes_exact_ties():
    seen = chip(cycle=2e-6).run(TIMES, WEIGHTS)[0]
    cycles = seen / 2e-6
    np.testing.assert_allclose(cycles, cycles.round(), atol=1e-4)
    assert len(np.unique(seen)) < seen.size / 2


def test_neurons_differ_in_threshold_and_clock():
    other = chip(threshold_spread=0.1, clock_spread=0.1)
    hidden = other.layer(0, TIMES, WEIGHTS[0])
    run = jax.jit(
        lambda times, w: event.lif_spikes(event.trains(times), w, other.parameters, t_max=60e-6).times
    )
    for m, (threshold, clock) in enumerate(zip(other.thresholds[0], other.clocks[0], strict=True)):
        weights = jnp.asarray(WEIGHTS[0][:, m : m + 1] / threshold, float)
        want = np.asarray(run(jnp.asarray(TIMES / clock, float), weights))[:, 0] * clock
        late = want > other.t_max
        np.testing.assert_allclose(hidden[:, m], np.where(late, np.inf, want), rtol=1e-4)


def test_spikes_after_the_observation_are_lost():
    assert np.isinf(chip(t_max=1e-6).run(TIMES, WEIGHTS)[0]).any()


def test_trimmed_neurons_are_nearer_and_the_chip_itself_stays():
    wrong = chip(threshold_spread=0.1, clock_spread=0.1)
    before = [array.copy() for array in wrong.thresholds]
    right = wrong.trimmed(0, wrong.thresholds[0], wrong.clocks[0])
    assert abs(right.thresholds[0] - 1).max() < 0.01 and abs(right.clocks[0] - 1).max() < 0.01
    np.testing.assert_array_equal(right.thresholds[1], wrong.thresholds[1])
    np.testing.assert_array_equal(wrong.thresholds[0], before[0])


@pytest.mark.parametrize(
    ("given", "error", "word"),
    [
        ({"jitter": -1}, ArgumentError, r"MockChip\(jitter=-1"),
        ({"bits": 0}, ArgumentError, r"MockChip\(bits=0"),
        (
            {"largest_weight": (1, 2, 3)},
            ShapeError,
            "of 3 layers: expected one number, or one for each of the 2",
        ),
        ({"threshold_spread": 0.9}, ArgumentError, r"MockChip\(threshold_spread=0\.9"),
        (
            {"parameters": event.LIFParameters(v_leak=0.1)},
            ArgumentError,
            "expected v_leak, v_initial and refractory of 0",
        ),
    ],
)
def test_what_no_chip_can_be_is_refused(given, error, word):
    with pytest.raises(error, match=word):
        chip(**given)


def test_weights_of_another_network_are_refused():
    with pytest.raises(
        ShapeError, match=r"MockChip\.run\(weights of shapes .* expected \[\(4, 6\), \(6, 2\)\]"
    ):
        chip().run(TIMES, WEIGHTS[:1])
