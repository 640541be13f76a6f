"""Layers of flax.nnx in a network: the numbers of NNX to the last bit, by the linen layer that computes them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(1.0, 1.0, (5, 2, 6, 6, 3)).astype(np.float32)


def rngs():
    return nnx.Rngs(0)


def drawn(layer):
    """With a bias and a scale that are not those of a new layer."""
    for name in ("bias", "scale"):
        if getattr(layer, name, None) is not None:
            value = getattr(layer, name)
            value[...] = value[...] + jnp.arange(value.shape[0]) / 8
    return layer


LAYERS = {
    "Linear": lambda: nnx.Linear(3, 4, rngs=rngs()),
    "Linear, no bias": lambda: nnx.Linear(3, 4, use_bias=False, dtype=jnp.bfloat16, rngs=rngs()),
    "Conv": lambda: nnx.Conv(3, 4, (3, 2), strides=2, padding=1, rngs=rngs()),
    "Conv, groups": lambda: nnx.Conv(
        3, 6, (2, 2), padding="VALID", kernel_dilation=2, feature_group_count=3, use_bias=False, rngs=rngs()
    ),
    "LayerNorm": lambda: nnx.LayerNorm(3, epsilon=1e-3, rngs=rngs()),
    "LayerNorm, bare": lambda: nnx.LayerNorm(3, use_scale=False, use_bias=False, rngs=rngs()),
    "Dropout, evaluating": lambda: nnx.Dropout(0.5, deterministic=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_numbers_are_those_of_nnx(name):
    layer = drawn(LAYERS[name]())
    net = snn.Sequential([layer])
    variables = net.init(jax.random.key(7), X[0])
    found, expected = net.apply(variables, X[0]), layer(X[0])
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(expected, np.float32))
    held = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
    assert set(variables.get("params", {}).get("layers_0", {})) == set(held)


def test_dropout_draws():
    net = snn.Sequential([nnx.Dropout(0.5, rngs=rngs())])
    y = net.apply({}, X[0], rngs={"dropout": jax.random.key(0)})
    assert 0.3 < float((y == 0).mean()) < 0.7


def test_it_is_a_layer_as_any_other(tmp_path):
    """Trained weights come from ``variables``; converters take it; one layer at two places shares its weights."""
    linear, square = nnx.Linear(3, 3, rngs=rngs()), nnx.Linear(3, 3, rngs=nnx.Rngs(1))
    net = snn.Sequential([linear, snn.Leaky(0.9, init_hidden=True), square, square])
    assert net == snn.Sequential([linear, snn.Leaky(0.9, init_hidden=True), square, square])
    assert hash(net) == hash(net.clone())
    x = X[:, :, 0, 0]
    variables = net.init(jax.random.key(0), x[0])
    assert set(variables["params"]) == {"layers_0", "layers_2"}
    found, _ = snn.unroll(net, variables, x)
    half = {**variables, "params": jax.tree.map(lambda v: v / 2, variables["params"])}
    assert not np.array_equal(snn.unroll(net, half, x)[0], found)
    single = snn.Sequential(net.layers[:3])
    kept = {**variables, "hidden": {}}
    again, loaded = interop.from_nir(interop.to_nir(single, kept, x[0]))
    np.testing.assert_allclose(
        snn.unroll(again, loaded, x)[0], snn.unroll(single, kept, x)[0], rtol=1e-6, atol=1e-6
    )
    interop.write_source(tmp_path / "net.py", single, kept)
    assert "nn.Dense(3)" in (tmp_path / "net.py").read_text()
    assert isinstance(snn.Sequential(linear)[0], nn.Dense)
    edges = [("input", "fc"), ("fc", "output")]
    np.testing.assert_array_equal(
        snn.Graph({"fc": linear}, edges).init_with_output(jax.random.key(0), x[0])[0], linear(x[0])
    )


def test_what_linen_has_no_equal_of_is_refused():
    for layer, said in (
        (nnx.BatchNorm(3, rngs=rngs()), r"nnx.BatchNorm cannot be a layer here; .*nnx.bridge.to_linen\(nnx.BatchNorm"),
        (snn.nnx.Leaky(0.9, init_hidden=True), r"nnx.Leaky cannot be a layer here; .*neurons are snnax.Leaky"),
        (nnx.Linear(3, 3, preferred_element_type=jnp.float32, rngs=rngs()), r"preferred_element_type=.*leave"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=said):
            snn.Sequential([layer])
    with pytest.raises(ShapeError, match=r"nnx.Linear has weights of shape \(4, 3\).*needs \(3, 3\)"):
        snn.Sequential([nnx.Linear(4, 3, rngs=rngs())]).init(jax.random.key(0), X[0])
    with pytest.raises(ArgumentError, match="weights that are traced, by jit or grad"):
        jax.jit(lambda key: snn.Sequential([nnx.Linear(4, 3, rngs=nnx.Rngs(key))]).init(key, X[0]))(
            jax.random.key(0)
        )


def test_others_go_through_flaxs_bridge():
    norm = nnx.bridge.to_linen(nnx.GroupNorm, 3, num_groups=3)
    net = snn.Sequential([norm, snn.Leaky(0.9, init_hidden=True)])
    variables = net.init(jax.random.key(0), X[0])
    assert snn.unroll(net, variables, X)[0].shape == X.shape
