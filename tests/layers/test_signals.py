"""Threshold, Delay and Slice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError, StateError

X = np.random.default_rng(0).normal(0, 1, (12, 2, 3)).astype(np.float32)


def test_threshold_is_strict_and_has_a_surrogate_gradient():
    layer = snn.Threshold([0.0, 0.5, -0.5], snn.surrogate.fast_sigmoid(1.0))
    x = jnp.array([[0.0, 0.5, 0.0]])
    assert layer.apply({}, x).tolist() == [[0.0, 0.0, 1.0]]
    slope = jax.grad(lambda x: layer.apply({}, x).sum())(x)
    np.testing.assert_allclose(slope, [[1.0, 1.0, 1 / 1.5**2]], rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 5, 12])
@pytest.mark.parametrize("steps", [0, 1, 4, 20, [0, 2, 5]])
def test_delay(steps, chunk):
    out = np.asarray(snn.unroll(snn.Delay(steps), {}, X, chunk=chunk)[0])
    for neuron, d in enumerate(np.broadcast_to(steps, 3)):
        expected = np.concatenate([np.zeros((min(d, 12), 2), np.float32), X[: max(12 - d, 0), :, neuron]])
        assert np.array_equal(out[..., neuron], expected)


def test_delay_of_images_and_over_calls():
    images = np.random.default_rng(0).normal(0, 1, (6, 1, 2, 2, 3)).astype(np.float32)
    layer = snn.Delay(np.array([1, 2, 0]))
    whole, _ = snn.unroll(layer, {}, images)
    first, updates = snn.unroll(layer, {}, images[:4])
    second, _ = snn.unroll(layer, updates, images[4:])
    assert np.array_equal(whole, np.concatenate([first, second]))
    assert np.array_equal(whole[2:, ..., 1], images[:-2, ..., 1])


def test_slice_reads_channels_first():
    x = jnp.arange(10.0)[None]
    image = snn.Slice(2, (2, 2, 2)).apply({}, x)
    assert np.array_equal(jnp.moveaxis(image, -1, 1)[0], np.arange(2.0, 10.0).reshape(2, 2, 2))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: snn.Delay(1.5), ArgumentError, "whole numbers"),
        (lambda: snn.Delay(-1), ArgumentError, ">= 0"),
        (lambda: snn.Threshold("high"), ArgumentError, "Threshold"),
        (lambda: snn.Slice(-1, (3,)), ArgumentError, "begin >= 0"),
        (lambda: snn.Slice(0, (0,)), ArgumentError, "sizes >= 1"),
        (lambda: snn.Slice(0, (9,)).apply({}, X[0]), ShapeError, "N >= 9"),
        (lambda: snn.Threshold([1.0, 2.0]).apply({}, X[0]), ShapeError, "threshold has shape"),
        (lambda: snn.Delay([1, 2]).apply({}, X[0], mutable=["hidden"]), ShapeError, "steps has shape"),
        (lambda: snn.Delay(1).apply({}, X[0]), StateError, "mutable"),
        (
            lambda: snn.unroll(snn.Delay(1), {"hidden": {"past": jnp.zeros((5, 1, 3))}}, X),
            StateError,
            "batch",
        ),
    ],
)
def test_refusals(build, error, words):
    with pytest.raises(error, match=words):
        build()
