"""Threshold and Slice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(0, 1, (12, 2, 3)).astype(np.float32)


def test_threshold_is_strict_and_has_a_surrogate_gradient():
    layer = snn.Threshold([0.0, 0.5, -0.5], snn.surrogate.fast_sigmoid(1.0))
    x = jnp.array([[0.0, 0.5, 0.0]])
    assert layer.apply({}, x).tolist() == [[0.0, 0.0, 1.0]]
    slope = jax.grad(lambda x: layer.apply({}, x).sum())(x)
    np.testing.assert_allclose(slope, [[1.0, 1.0, 1 / 1.5**2]], rtol=1e-6)


def test_slice_reads_channels_first():
    x = jnp.arange(10.0)[None]
    image = snn.Slice(2, (2, 2, 2)).apply({}, x)
    assert np.array_equal(jnp.moveaxis(image, -1, 1)[0], np.arange(2.0, 10.0).reshape(2, 2, 2))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: snn.Threshold("high"), ArgumentError, "Threshold"),
        (lambda: snn.Slice(-1, (3,)), ArgumentError, "begin >= 0"),
        (lambda: snn.Slice(0, (0,)), ArgumentError, "sizes >= 1"),
        (lambda: snn.Slice(0, (9,)).apply({}, X[0]), ShapeError, "N >= 9"),
        (lambda: snn.Threshold([1.0, 2.0]).apply({}, X[0]), ShapeError, "threshold has shape"),
    ],
)
def test_refusals(build, error, words):
    with pytest.raises(error, match=words):
        build()
