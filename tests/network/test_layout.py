"""Images in torch's layout: a network built with ``channels_first=True`` is torch's, weights and all."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import snntorch
import torch

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, ShapeError

KEY = jax.random.key(0)
X = np.random.default_rng(0).uniform(0, 2, (6, 3, 2, 8, 6)).astype(np.float32)  # [T, B, C, H, W]


def chain(at, neurons):
    return (
        at.Conv2d(2, 4, 3), at.MaxPool2d(2), neurons.Leaky(0.5, init_hidden=True), at.Flatten(), at.Linear(24, 5),
        neurons.Leaky(0.5, init_hidden=True, output=True),
    )  # fmt: skip


def ported(**how):
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(*chain(torch.nn, snntorch))
    net = snn.Sequential(*chain(snn, snn), **how)
    sample = X[0] if how else np.moveaxis(X[0], 1, -1)
    return net, interop.from_state_dict(net, net.init(KEY, sample), theirs.state_dict(), sample), theirs


def test_it_takes_torchs_arrays_and_its_order_of_features():
    net, variables, theirs = ported(channels_first=True)
    assert net.layers[3].channels_first
    (spk, mem), _ = snn.unroll(net, variables, X)
    frames = [theirs(torch.from_numpy(frame)) for frame in X]
    np.testing.assert_array_equal(spk, np.stack([s.detach().numpy() for s, _ in frames]))
    np.testing.assert_allclose(mem, np.stack([m.detach().numpy() for _, m in frames]), rtol=1e-4, atol=1e-5)
    other, its, _ = ported()
    (same, _), _ = snn.unroll(other, its, np.moveaxis(X, 2, -1))
    np.testing.assert_array_equal(spk, same)
    for chunk in (1, 3):
        np.testing.assert_array_equal(snn.unroll(net, variables, X, chunk=chunk)[0][0], spk)


def test_it_travels():
    net, variables, theirs = ported(channels_first=True)
    assert interop.crossvalidate(theirs, (net, variables), X).agree
    graph = interop.to_nir(net, variables, X[0])
    assert tuple(graph.nodes["input"].input_type["input"]) == (2, 8, 6)
    assert interop.crossvalidate((net, variables), graph, X).agree
    again = interop.to_snntorch(net, variables, X[0])
    assert interop.crossvalidate(theirs, again, X).agree


def test_images_come_back_in_the_layout_that_they_came_in():
    net = snn.Sequential([snn.Sequential(snn.Flatten(), snn.Reshape((2, 8, 6)))], channels_first=True)
    np.testing.assert_array_equal(net(X[0]), X[0])
    shared = snn.Scale(2.0, learn_scale=True)
    twice = snn.Sequential(snn.Sequential(shared, snn.Flatten()), shared, channels_first=True)
    assert jax.tree.leaves(twice.init(KEY, X[0]))[0].shape == ()
    assert len(jax.tree.leaves(twice.init(KEY, X[0]))) == 1


def test_the_other_layout_is_an_error_that_says_so():
    net = snn.Sequential(*chain(snn, snn))
    with pytest.raises(ShapeError, match="channels-last"):
        net.init(KEY, X[0])
    first = snn.Sequential(*chain(snn, snn), channels_first=True)
    with pytest.raises(ShapeError, match="channels"):
        first.init(KEY, np.moveaxis(X[0], 1, -1))


def test_a_reshape_in_another_order_than_torchs_is_refused_a_conversion():
    net = snn.Sequential(
        snn.Linear(24, 24), snn.Reshape((3, 2, 4)), snn.Conv2d(4, 2, 1), snn.Leaky(0.5, init_hidden=True)
    )
    x = np.ones((2, 24), np.float32)
    variables = net.init(KEY, x)
    for convert in (
        lambda: interop.to_nir(net, variables, x),
        lambda: interop.to_state_dict(net, variables, x),
    ):
        with pytest.raises(ConversionError, match="channels_first=True"):
            convert()
