"""Values and rasters as spike times, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError, ShapeError

INF = np.inf


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [4.0, 3.0, 1.0, 0.0, 4.0]),
        ({"largest_first": False}, [0.0, 1.0, 3.0, 4.0, 0.0]),
        ({"earliest": 2.0}, [4.0, 3.5, 2.5, 2.0, 4.0]),
        ({"low": 0.25, "high": 0.75}, [4.0, 4.0, 0.0, 0.0, 4.0]),
        ({"silent_below": 0.25}, [INF, 3.0, 1.0, 0.0, INF]),
    ],
)
def test_a_value_is_the_time_of_one_spike(given, expected):
    found = event.latency_code([[0.0, 0.25, 0.75, 2.0, -1.0]], 4.0, **given)
    assert found.times[0, :, 0].tolist() == expected and not found.overflow.any()


def test_times_follow_the_values():
    slope = jax.jacobian(lambda v: event.latency_code(v, 6.0, earliest=2.0, high=2.0).times[0, :, 0])
    np.testing.assert_allclose(slope(jnp.array([[0.5, 1.0]]))[:, 0], -2.0 * np.eye(2))


def test_the_neuron_that_prefers_the_value_fires_first():
    found = event.population_code([[0.0, 0.5], [1.0, 0.26]], 5, 8.0, earliest=1.0, silent_below=0.05)
    times = np.asarray(found.times).reshape(2, 2, 5)
    assert times.argmin(-1).tolist() == [[0, 2], [4, 1]]
    np.testing.assert_allclose(times[0, 0, :3], 8 - 7 * np.exp(-(np.arange(3) ** 2) / 2), rtol=1e-6)
    assert np.isinf(times[0, 0, 3:]).all() and times.min() == 1.0
    narrow = event.population_code([[0.5]], 5, 8.0, width=0.01).times[0, :, 0]
    assert np.isfinite(narrow).tolist() == [False, False, True, False, False]


def test_a_bias_fires_in_each_sample():
    given = event.from_raster(jnp.ones((3, 2, 4)), 1e-3)
    found = event.biased(given, 5e-4)
    assert found.times.shape == (2, 5, 3)
    np.testing.assert_array_equal(
        np.asarray(found.times[:, 4]), np.full((2, 3), [5e-4, INF, INF], np.float32)
    )
    np.testing.assert_array_equal(np.asarray(found.times[:, :4]), np.asarray(given.times))


def test_rasters_of_any_shape_come_back():
    raster = (np.random.default_rng(0).random((12, 2, 3, 4)) < 0.4).astype(np.float32)
    found = event.from_raster(raster, 2e-3)
    assert found.times.shape == (2, 12, int(raster.sum(0).max())) and not found.overflow.any()
    np.testing.assert_array_equal(np.asarray(event.to_raster(found, 2e-3, 12, (3, 4))), raster)
    np.testing.assert_array_equal(np.asarray(event.to_raster(found, 2e-3, 12)), raster.reshape(12, 2, 12))
    cut = event.from_raster(raster, 2e-3, 1)
    assert (np.asarray(cut.overflow) == (raster.sum(0) > 1).reshape(2, -1)).all()
    traced = jax.jit(lambda r: event.from_raster(r, 2e-3, 9))(raster)
    assert traced.times.shape == (2, 12, 9)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: event.latency_code([0.5], 1.0), ShapeError, r"latency_code\(values of shape \(1,\)"),
        (lambda: event.latency_code([[0.5]], 1.0, earliest=2.0), ArgumentError, "earliest=2, latest=1"),
        (lambda: event.latency_code([[0.5]], 1.0, low=2.0), ArgumentError, "low=2, high=1"),
        (lambda: event.population_code([[0.5]], 1, 1.0), ArgumentError, "neurons=1"),
        (lambda: event.population_code([[0.5]], 3, 1.0, width=0.0), ArgumentError, "width=0.0"),
        (lambda: event.biased(event.latency_code([[0.5]], 1.0), -1.0), ArgumentError, "time=-1.0"),
        (lambda: event.from_raster(np.ones((3, 2)), 1.0), ShapeError, r"shape \(3, 2\)"),
        (lambda: event.from_raster(np.full((3, 2, 1), 2), 1.0), ArgumentError, "holds 2; expected 0 and 1"),
        (
            lambda: jax.jit(lambda r: event.from_raster(r, 1.0))(np.ones((3, 2, 1))),
            ArgumentError,
            "max_spikes",
        ),
        (lambda: event.to_raster(event.latency_code([[0.5]], 1.0), 1.0, 2, (2, 2)), ShapeError, "1 neurons"),
    ],
)
def test_what_cannot_be_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
