"""SpikeCounter hands on what it gets and counts it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, StateError

X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (9, 2, 4)), jnp.float32)


@pytest.mark.parametrize("chunk", [1, 4])
def test_it_counts_what_passes_and_goes_on_counting(chunk):
    net = snn.Sequential([snn.SpikeCounter(), nn.Dense(3), snn.Leaky(0.5, init_hidden=True)])
    plain = snn.Sequential([nn.Dense(3), snn.Leaky(0.5, init_hidden=True)])
    variables = net.init(jax.random.key(0), X[0])
    assert not variables["hidden"]["layers_0"]["count"].any()
    params = variables["params"]
    y, updates = snn.unroll(net, {"params": params}, X, chunk=chunk)
    np.testing.assert_array_equal(y, snn.unroll(plain, {"params": {"layers_0": params["layers_1"]}}, X)[0])
    np.testing.assert_array_equal(updates["hidden"]["layers_0"]["count"], X.sum(0))
    _, updates = snn.unroll(net, {"params": params, **updates}, X, chunk=chunk)
    np.testing.assert_array_equal(updates["hidden"]["layers_0"]["count"], 2 * X.sum(0))


def test_what_it_cannot_keep_is_refused():
    with pytest.raises(StateError, match="'hidden' is not mutable"):
        snn.SpikeCounter().apply({}, X[0])
    held = {"hidden": {"count": jnp.zeros((3, 4))}}
    with pytest.raises(StateError, match=r"shape \(3, 4\), the input \(2, 4\).*start anew"):
        snn.SpikeCounter().apply(held, X[0], mutable=["hidden"])
    net = snn.Sequential([nn.Dense(3), snn.Leaky(0.5, init_hidden=True), snn.SpikeCounter()])
    with pytest.raises(ConversionError, match=r"SpikeCounter has no NIR form.*Leave it out"):
        interop.to_nir(net, net.init(jax.random.key(0), X[0]), X[0])
