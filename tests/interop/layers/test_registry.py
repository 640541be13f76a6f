"""Laws of the registry of stateless layers."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.layers.entries import Layer, axes_of, entries_of, find
from snnax.interop.layers.registry import Built, Site, applied, build, builds, evaluates, key_of, sums, writes
from snnax.interop.nir.extension import Extension
from snnax.neurons import SpikingNeuron

RNG = np.random.default_rng(0)

OWN_WAY = {
    "DelayedDense": "several nodes, a Delay and a Linear for each lag: nir/exporting",
    "Slice": "a graph's Input nodes are its parts: nir/assembling",
}
NO_EVALUATION = {
    "BatchNormTT": "has another normalisation in each step",
    "Delay": "keeps its past: DelayLine",
    "State": "reads another node's state",
}


def whole(*shape: int) -> np.ndarray:
    """Whole numbers, so that products and sums of them are exact in any dtype."""
    return RNG.integers(-4, 5, shape)


def pool(name: str) -> nir.NIRNode:
    rank = int(name[-2])
    options = {"kernel_size": [3] * rank, "stride": [2] * rank, "padding": [1] * rank}
    native = getattr(nir, name, None)
    return Extension(name, {}, options) if native is None else native(*map(np.array, options.values()))


NORM = {"running_mean": whole(3), "running_var": 1 + whole(3) ** 2, "weight": whole(3), "bias": whole(3)}
TRANSPOSED = {
    "stride": [2, 1], "padding": [1, 0], "output_padding": [1, 0], "groups": 1, "dilation": [1, 2]
}  # fmt: skip
IMAGE, ROW = (3, 7, 8), (3, 9)
CASES = {
    "linear": (nir.Linear(whole(4, 3)), (3,)),
    "affine": (nir.Affine(whole(4, 3), whole(4)), (3,)),
    "conv2d": (nir.Conv2d(None, whole(4, 3, 3, 2), (2, 1), (1, 2), (1, 2), 1, whole(4)), IMAGE),
    "conv2d-groups": (nir.Conv2d(None, whole(6, 1, 2, 3), 1, "same", 1, 3, whole(6)), IMAGE),
    "conv1d": (nir.Conv1d(None, whole(4, 3, 3), 2, 1, 1, 1, whole(4)), ROW),
    "flatten": (nir.Flatten({"input": np.array(IMAGE)}, 0, -1), IMAGE),
    "reshape": (Extension("Reshape", {}, {"shape": [4, 42]}), IMAGE),
    "scale": (nir.Scale(whole(*IMAGE)), IMAGE),
    "threshold": (nir.Threshold(whole(3)), (3,)),
    "norm": (Extension("BatchNorm", NORM, {"eps": 1e-5, "momentum": 0.1}), IMAGE),
    "dropout": (Extension("Dropout", {}, {"p": 0.5}), (3,)),
    "transposed": (
        Extension("ConvTranspose2d", {"weight": whole(3, 2, 3, 2), "bias": whole(2)}, TRANSPOSED),
        (3, 4, 5),
    ),
    "AdaptiveAvgPool2d": (Extension("AdaptiveAvgPool2d", {}, {"output_size": [3, None]}, IMAGE), IMAGE),
    "relu": (Extension("ReLU"), IMAGE),
    **{n: (pool(n), ROW if "1d" in n else IMAGE) for n in ("AvgPool1d", "MaxPool1d", "SumPool1d")},
    **{n: (pool(n), IMAGE) for n in ("AvgPool2d", "MaxPool2d", "SumPool2d")},
}


ENTRIES = (
    nn.Dense(3),
    nn.Conv(3, (2,)),
    nn.BatchNorm(use_running_average=True),
    snn.BatchNormTT1d(4, 3, use_running_average=True),
    snn.BatchNormTT2d(4, 3, use_running_average=True),
    snn.ConvTranspose2d(4, 3, 2),
    snn.GradedSpikes(4, 1.0),
    snn.Scale(np.arange(4.0), learn_scale=True),
)
DIVIDES = ("AvgPool1d", "AvgPool2d", "AdaptiveAvgPool2d", "norm")


def typed(node: nir.NIRNode, dtype: type) -> nir.NIRNode:
    """The node with weights and the like in ``dtype``."""
    if isinstance(node, Extension):
        return Extension(node.op, {k: v.astype(dtype) for k, v in node.arrays.items()}, node.options)
    given = vars(node)
    found = {k: given[k].astype(dtype) for k in ("weight", "bias", "scale", "threshold") if k in given}
    twin = object.__new__(type(node))
    twin.__dict__.update({**given, **found})
    return twin


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(c, d) for c in CASES for d in (np.float32, np.float64, np.int64) if d != np.int64 or c not in DIVIDES],
)
def test_the_evaluation_is_the_layer(case, dtype):
    node, shape = CASES[case]
    x = whole(2, *shape).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        kind = np.float64 if dtype == np.float64 else np.float32
        node = typed(node, kind)
        made = build(node, Site(case, shape, None, 1e-4))
        expected = made.module.apply(made.variables, jnp.asarray(np.moveaxis(x, 1, -1).astype(kind)))
        assert expected.dtype == kind
    y = applied(case, evaluates.of(node)(case, typed(node, dtype), dtype), x)
    assert y.dtype == dtype and y.shape == (2, *made.shape_out)
    expected = np.asarray(expected)
    expected = np.moveaxis(expected, -1, 1) if expected.ndim > 2 else expected
    if case == "norm":
        np.testing.assert_allclose(y, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)
    elif "Avg" in case:
        np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps)
    else:
        np.testing.assert_array_equal(y, expected)


def test_every_evaluation_has_a_case():
    covered = {key_of(node) for node, _ in CASES.values()}
    assert covered == set(evaluates.entries)
    assert set(sums.entries) <= covered


def test_every_node_that_is_imported_is_evaluated_or_says_why_not():
    missing = set(builds.entries) - set(evaluates.entries)
    assert {k if isinstance(k, str) else k.__name__ for k in missing} == set(NO_EVALUATION)


def test_every_public_layer_is_in_the_registry_or_says_why_not():
    public = {c for n in snn.__all__ if isinstance(c := getattr(snn, n), type) and issubclass(c, nn.Module)}
    layers = {c for c in public if not issubclass(c, SpikingNeuron | snn.Sequential | snn.Graph | snn.Module)}
    layers.discard(snn.SpikingCell)
    assert {c.__name__ for c in layers if c not in writes.entries} == set(OWN_WAY)


def test_every_layer_that_is_written_tells_the_axes_of_its_samples():
    assert set(writes.entries) <= set(axes_of.entries)
    assert {type(module) for module in ENTRIES} == {c for c in writes.entries if c in entries_of.entries}


@pytest.mark.parametrize("module", ENTRIES, ids=lambda module: type(module).__name__)
def test_names_of_a_state_dict_lead_to_the_variables(module):
    """Each entry that flax keeps takes the value that it gives, and leaves the variables as they are."""
    image, row = "2d" in type(module).__name__, isinstance(module, nn.Conv)
    x = jnp.ones((2, 5, 5, 4) if image else (2, 5, 4) if row else (2, 4))
    variables = module.init(jax.random.key(0), x)
    variables = jax.tree.map(lambda a: a + jnp.arange(a.size).reshape(a.shape), variables)  # no two alike
    found = entries_of.of(module)(Layer((), "", module, x.ndim - 1), variables)
    assert len({entry.key for entry in found}) == len(found) > 0
    for entry in found:
        old = find(variables, entry.path)
        assert old is not None or entry.setting
        if old is not None:
            np.testing.assert_array_equal(entry.put(old, entry.value), old)


@pytest.mark.parametrize(("table", "key"), [(builds, nir.Affine), (builds, "Reshape"), (writes, nn.Dense)])
def test_a_second_function_for_one_key_is_refused(table, key):
    with pytest.raises(KeyError, match="already"):
        table(key)(lambda *_: None)


def test_a_parameter_with_fractions_is_not_computed_in_whole_numbers():
    with pytest.raises(TypeError, match="same_kind"):
        evaluates.of(nir.Linear(np.ones((2, 3))))("a", nir.Linear(np.full((2, 3), 0.5)), np.int64)


def test_what_nobody_registered_is_refused_by_name():
    with pytest.raises(ConversionError, match="cannot import the NIR node Nothing"):
        build(Extension("Nothing"), Site("a", (3,), None, 1e-4))


class Opposite(nn.Module):
    """A layer of a user's own."""

    time_independent = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``-x``."""
        return -x


def test_a_node_joins_by_what_it_registers(monkeypatch):
    """Built, written, simulated and judged: no other place knows of it."""
    key = "Opposite"
    monkeypatch.setitem(builds.entries, key, lambda node, site: Built(Opposite(), {}, site.shape_in))
    monkeypatch.setitem(
        writes.entries,
        Opposite,
        lambda _, __, site: Extension(key, shape_in=site.shape_in, shape_out=site.shape_out),
    )
    monkeypatch.setitem(evaluates.entries, key, lambda *_: np.negative)
    net = snn.Sequential([nn.Dense(5), Opposite(), snn.Leaky(beta=0.9, init_hidden=True)])
    x = np.random.default_rng(0).normal(0.5, 2, (30, 2, 4)).astype(np.float32)
    variables = {"params": net.init(jax.random.key(0), x[0])["params"]}
    graph = interop.to_nir(net, variables, x[0])
    report = interop.crossvalidate(graph, interop.from_nir(graph), x)
    assert report.agree and report.layers[0].spikes > 10 and not report.layers[0].unexplained
