"""Layers under torch's names: what torch's own compute, from the weights that it draws."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import stats

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError, ShapeError

KEY = jax.random.key(0)

CASES = {
    "Linear": ("Linear", (6, 5), {}, (3, 6)),
    "Linear, no bias": ("Linear", (6, 5, False), {}, (3, 6)),
    "Conv1d": ("Conv1d", (4, 6, 3, 2, 1, 2, 2), {}, (3, 4, 9)),
    "Conv2d": ("Conv2d", (1, 12, 5), {}, (2, 1, 9, 8)),
    "Conv2d, all": ("Conv2d", (2, 4, (3, 2), (1, 2), (1, 0), 2, 2, False), {}, (2, 2, 9, 8)),
    "Conv2d, same": ("Conv2d", (2, 4, 3), {"padding": "same"}, (2, 2, 9, 8)),
    "Conv2d, valid": ("Conv2d", (2, 4, 3, 2), {"padding": "valid"}, (2, 2, 9, 8)),
    "ConvTranspose2d": ("ConvTranspose2d", (3, 4, 3), {}, (2, 3, 5, 4)),
    "ConvTranspose2d, all": (
        "ConvTranspose2d",
        (4, 6, (3, 2), (2, 3), 1, 1, 2, False, (2, 1)),
        {},
        (2, 4, 5, 4),
    ),
    "ConvTranspose2d, cut": ("ConvTranspose2d", (2, 2, 2), {"padding": 3}, (1, 2, 9, 9)),
    "BatchNorm1d": ("BatchNorm1d", (4, 1e-3), {}, (6, 4)),
    "BatchNorm2d": ("BatchNorm2d", (4,), {"momentum": 0.3}, (6, 4, 3, 2)),
}


def built(case):
    kind, given, named, shape = CASES[case]
    return getattr(snn, kind)(*given, **named), getattr(torch.nn, kind)(*given, **named), shape


def drawn(shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def last(x):
    return np.moveaxis(x, 1, -1)


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_torch_with_its_state_dict(case):
    ours, theirs, shape = built(case)
    x = drawn(shape)
    net = snn.Sequential(ours)
    variables = interop.from_state_dict(
        net, net.init(KEY, last(x)), {f"0.{k}": v for k, v in theirs.state_dict().items()}
    )
    y, updates = net.apply(variables, last(x), mutable=["batch_stats"])
    np.testing.assert_allclose(y, last(theirs(torch.from_numpy(x)).detach().numpy()), rtol=1e-4, atol=1e-5)
    if "BatchNorm" in case:
        mean = updates["batch_stats"]["layers_0"]["mean"]
        np.testing.assert_allclose(mean, theirs.running_mean.numpy(), rtol=1e-5, atol=1e-6)
    assert {k: np.shape(v) for k, v in interop.to_state_dict(net, variables, sample=last(x)).items()} == {
        f"0.{k}": tuple(v.shape) for k, v in theirs.state_dict().items()
    }


@pytest.mark.parametrize(
    ("kind", "given", "shape"),
    [
        ("Linear", (64, 400), (1, 64)),
        ("Conv2d", (4, 100, 5), (1, 9, 9, 4)),
        ("ConvTranspose2d", (4, 100, 5, 2), (1, 9, 9, 4)),
    ],
)
def test_initial_weights_have_the_distribution_of_torch(kind, given, shape):
    torch.manual_seed(0)
    params = getattr(snn, kind)(*given).init(KEY, jnp.ones(shape))["params"]
    theirs = getattr(torch.nn, kind)(*given)
    for ours, other in ((params["kernel"], theirs.weight), (params["bias"], theirs.bias)):
        values, others = np.ravel(ours), other.detach().numpy().ravel()
        assert values.size == others.size and stats.ks_2samp(values, others).pvalue > 0.01
        assert abs(np.abs(values).max() / np.abs(others).max() - 1) < 0.05


def test_layer_norm_and_dropout_are_those_of_torch():
    x = drawn((3, 4))
    ours, theirs = snn.LayerNorm(4, 1e-2), torch.nn.LayerNorm(4, 1e-2)
    y = ours.apply(ours.init(KEY, x), x)
    np.testing.assert_allclose(y, theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6)
    dropout = snn.Dropout(0.25)
    y = dropout.apply({}, jnp.ones((100, 100)), rngs={"dropout": KEY})
    assert abs(float((y == 0).mean()) - 0.25) < 0.02 and float(y.max()) == np.float32(1 / 0.75)
    assert np.array_equal(snn.utils.evaluating(dropout).apply({}, x), x)


@pytest.mark.parametrize("size", [3, (2, 5), (None, 1), 9])
def test_an_adaptive_mean_is_torchs(size):
    x = drawn((2, 3, 7, 6))
    y = snn.AdaptiveAvgPool2d(size)(last(x))
    theirs = torch.nn.AdaptiveAvgPool2d(size)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(y, last(theirs), rtol=1e-5, atol=1e-6)


def test_a_decoder_goes_to_torch_and_is_refused_a_file_by_name():
    net = snn.Sequential(
        snn.ConvTranspose2d(2, 3, 3, 2, 1, 1),
        snn.ReLU(),
        snn.AdaptiveAvgPool2d((5, 3)),
        snn.Leaky(0.5, threshold=0.1, init_hidden=True),
    )
    x = np.abs(drawn((6, 2, 4, 4, 2)))  # [T, B, H, W, C]
    first, variables = np.moveaxis(x, -1, 2), net.init(KEY, x[0])
    spk = snn.unroll(net, variables, x)[0]
    there = interop.to_snntorch(net, variables, x[0])
    theirs = np.stack([there(torch.from_numpy(frame)).detach().numpy() for frame in first])
    assert spk.sum() > 5 and np.array_equal(np.moveaxis(spk, -1, 2), theirs)
    graph = interop.to_nir(net, variables, x[0], dt=1e-4)
    assert interop.crossvalidate((net, variables), graph, first).agree
    again, held = interop.from_nir(graph, dt=1e-4)
    assert interop.crossvalidate((net, variables), (again, held), first).agree
    with pytest.raises(ConversionError, match=r"no node for (ConvTranspose2d|ReLU|AdaptiveAvgPool2d)"):
        interop.write_nir("never.nir", graph)


@pytest.mark.parametrize(("layer", "shape"), [
    (lambda: snn.Conv2d(1, 12, 5), (4, 1, 28, 28)),
    (lambda: snn.Conv1d(2, 4, 3), (4, 2, 28)),
    (lambda: snn.BatchNorm2d(3), (4, 3, 8, 8)),
    (lambda: snn.ConvTranspose2d(3, 2, 3), (4, 3, 8, 8)),
    (lambda: snn.ConvTranspose2d(3, 2, 3, padding=9), (4, 8, 8, 3)),
    (lambda: snn.AdaptiveAvgPool2d(3), (4, 8)),
    (lambda: snn.Linear(784, 10), (4, 28, 28)),
    (lambda: snn.LayerNorm(5), (4, 3)),
])  # fmt: skip
def test_an_input_with_other_features_is_refused_by_name(layer, shape):
    with pytest.raises(ShapeError, match=r"expected|channels-last|nothing"):
        snn.Sequential(layer()).init(KEY, jnp.ones(shape))


def test_channels_that_groups_do_not_divide_are_refused():
    with pytest.raises(ShapeError, match=r"\(1, 8, 8, 5\): its channels do not divide into 2 groups"):
        snn.Sequential(snn.Conv2d(4, 6, 3, groups=2)).init(KEY, jnp.ones((1, 8, 8, 5)))


def test_weights_that_are_there_are_no_excuse():
    conv = snn.Conv2d(1, 2, 3)
    variables = conv.init(KEY, jnp.ones((1, 5, 5, 1)))
    with pytest.raises(ShapeError, match="channels-last"):
        snn.Sequential(conv).apply({"params": {"layers_0": variables["params"]}}, jnp.ones((1, 1, 5, 5)))


@pytest.mark.parametrize("wrong", [
    lambda: snn.Linear(0, 3), lambda: snn.Linear(3, 2.5), lambda: snn.Conv2d(1, 2, (3, 3, 3)),
    lambda: snn.Conv2d(3, 4, 3, groups=2), lambda: snn.Conv2d(1, 2, 3, padding="full"),
    lambda: snn.Conv2d(1, 2, 3, 2, "same"), lambda: snn.Conv2d(1, 2, 3, -1), lambda: snn.Conv2d(1, 2, 3, 1, -1),
    lambda: snn.ConvTranspose2d(2, 3, 3, output_padding=1), lambda: snn.ConvTranspose2d(2, 3, 3, groups=2),
    lambda: snn.ConvTranspose2d(2, 3, 0), lambda: snn.AdaptiveAvgPool2d(0), lambda: snn.AdaptiveAvgPool2d((1, 2, 3)),
    lambda: snn.Dropout(1.5), lambda: snn.BatchNorm1d(None), lambda: snn.LayerNorm((3, 4)),
])  # fmt: skip
def test_bad_arguments_are_refused(wrong):
    with pytest.raises(ArgumentError):
        wrong()


def test_they_are_layers_of_flax_that_share_programs():
    assert type(snn.Linear(2, 3)) is nn.Dense and type(snn.Conv2d(1, 2, 3)) is nn.Conv
    assert snn.Linear(2, 3) == snn.Linear(2, 3) != snn.Linear(2, 4)
    assert hash(snn.Conv2d(1, 2, 3)) == hash(snn.Conv2d(1, 2, 3))
