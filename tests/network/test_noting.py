"""What modules of the user's own do is recorded as what neurons do."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import zoo

import snnax as snn
from snnax.errors import ArgumentError

X = jnp.asarray(np.random.default_rng(0).uniform(0, 2, (8, 2, 4)), jnp.float32)


def by_hand(name, x):
    """Input, output and states of each step, by calls of the module itself."""
    module, hidden, rows = zoo.ZOO[name](), None, []
    for x_t in x:
        given = {} if hidden is None else {"hidden": hidden}
        y, updates = module.apply(given, x_t, mutable=["hidden"])
        hidden = updates["hidden"]
        rows.append({"input": x_t, "out": y, **hidden})
    return jax.tree.map(lambda *v: np.stack(v), *rows)


@pytest.mark.parametrize("name", ["AdaptiveThreshold", "Resonator"])
@pytest.mark.parametrize("chunk", [1, 4])
def test_a_plain_module_is_recorded_as_it_runs_alone(name, chunk):
    net = snn.Sequential([nn.Dense(4), zoo.ZOO[name](), nn.Dense(3), snn.Leaky(0.5, init_hidden=True)])
    variables = net.init(jax.random.key(0), X[0])
    plain = {"params": variables["params"]}
    y, _, recorded = snn.unroll(net, plain, X, record=True, chunk=chunk)
    assert sorted(recorded) == ["layers_1", "layers_3"]
    np.testing.assert_array_equal(recorded["layers_3"]["spk"], y)
    dense = jax.vmap(lambda x: nn.Dense(4).apply({"params": variables["params"]["layers_0"]}, x))(X)
    expected = by_hand(name, dense)
    assert recorded["layers_1"].keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(recorded["layers_1"][key], value, rtol=1e-5, atol=1e-6)


def test_names_select_it_and_nothing_is_recorded_unasked():
    net = snn.Sequential([zoo.ZOO["AdaptiveThreshold"](), snn.Leaky(0.5, init_hidden=True)])
    _, updates = snn.unroll(net, {}, X)
    assert "record" not in updates
    _, _, recorded = snn.unroll(net, {}, X, record=["layers_0"])
    assert sorted(recorded["layers_0"]) == ["input", "level", "mem", "out"]
    with pytest.raises(ArgumentError, match=r"the neurons are \['layers_0', 'layers_1'\]"):
        snn.unroll(net, {}, X, record=["layers_2"])
