"""A law: a call or a conversion that passes weights without the fixed arrays that belong to them is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError

N = 4
ARRAY = np.full(N, 0.75, np.float32)
X = jnp.ones((2, 3))
KEPT = {"init_hidden": True}

FIXED: dict[str, Callable[[], nn.Module]] = {
    "Leaky": lambda: snn.Leaky(ARRAY, **KEPT),
    "a threshold": lambda: snn.Leaky(0.5, threshold=ARRAY, **KEPT),
    "Synaptic": lambda: snn.Synaptic(ARRAY, 0.5, **KEPT),
    "Lapicque": lambda: snn.Lapicque(ARRAY, **KEPT),
    "RLeaky, dense": lambda: snn.RLeaky(0.5, linear_features=N, learn_recurrent=False, **KEPT),
    "RLeaky, V": lambda: snn.RLeaky(0.5, V=ARRAY, all_to_all=False, learn_recurrent=False, **KEPT),
    "LIF": lambda: snn.LIF(1e-3 * ARRAY, **KEPT),
    "StateLeaky": lambda: snn.StateLeaky(ARRAY, N, **KEPT),
    "LeakyParallel": lambda: snn.LeakyParallel(N, N, beta=ARRAY, learn_beta=False, **KEPT),
    "Scale": lambda: snn.Scale(ARRAY),
}


def network(name: str) -> tuple[nn.Module, Any]:
    net = snn.Sequential([nn.Dense(N), snn.Sequential([FIXED[name](), nn.Dense(N)])])
    return net, net.init(jax.random.key(0), X)


def trained(net: nn.Module, variables: Any) -> Any:
    state = snn.training.TrainState.create(net, variables, optax.sgd(0.1))
    return snn.training.make_train_step(lambda y, _: y.mean(), num_steps=2)(state, X, X)


def in_rnn(net: nn.Module, variables: Any) -> Any:
    rnn = nn.RNN(snn.SpikingCell(net), time_major=True)  # hands on 'params' alone
    return rnn.apply({c: {"cell": {"net": tree}} for c, tree in variables.items()}, X[None])


WAYS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "apply": lambda net, v: net.apply(v, X, mutable=["hidden"]),
    "apply, all mutable": lambda net, v: net.apply(v, X, mutable=True),
    "unroll": lambda net, v: snn.unroll(net, v, X, num_steps=2),
    "training": trained,
    "nnx": lambda net, v: snn.nnx.Network(net, X, variables=v),
    "RNN": in_rnn,
    "to_nir": lambda net, v: interop.to_nir(net, v, X),
    "to_state_dict": lambda net, v: interop.to_state_dict(net, v, X),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FIXED)
def test_fixed_arrays_are_not_left_out(name, way):
    net, variables = network(name)
    assert jax.tree.leaves(variables["buffers"])
    for left in ({"params": variables["params"]}, {c: v for c, v in variables.items() if c != "buffers"}):
        with pytest.raises(ArgumentError, match=r"\{\*\*variables, 'params': params\}|variable_broadcast"):
            WAYS[way](net, left)


@pytest.mark.parametrize("name", FIXED)
def test_with_them_other_weights_are_taken(name):
    net, variables = network(name)
    params = jax.tree.map(lambda v: 2 * v, variables["params"])
    y, _ = snn.unroll(net, {**variables, "params": params}, X, num_steps=2)
    assert np.isfinite(np.asarray(y)).all()


def test_loaded_values_count_and_those_of_the_constructor_do_not():
    net, variables = network("Leaky")
    variables["buffers"]["layers_1"]["layers_0"]["beta"] = jnp.zeros(N)
    mem = snn.unroll(net, variables, X, num_steps=3)[1]["hidden"]["layers_1"]["layers_0"]["mem"]
    driven = X @ variables["params"]["layers_0"]["kernel"]
    spent = (snn.unroll(net, variables, X, num_steps=2)[1]["hidden"]["layers_1"]["layers_0"]["mem"] > 1) * 1.0
    np.testing.assert_allclose(mem, driven - spent, rtol=1e-6)
