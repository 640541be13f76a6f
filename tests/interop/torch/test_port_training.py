"""Ported networks train as torch's do: 20 steps of Adam from the same weights lead to the same weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("snntorch")

import torch
from helpers.port_zoo import ZOO, built, ported
from helpers.port_zoo_hand import Adapting
from helpers.port_zoo_kinds import SpikingLSTM
from helpers.port_zoo_strangers import AdaptiveRecurrent, LearntDelays

from snnax import interop
from snnax.interop.frameworks.snntorch import ADAPTER
from snnax.interop.program.side import in_precision, weights_like
from snnax.interop.torch.call_side import CalledTorch

STEPS, RATE = 20, 0.01


@pytest.mark.parametrize(
    "cls", [AdaptiveRecurrent, LearntDelays, SpikingLSTM, Adapting], ids=lambda cls: cls.__name__
)
def test_it_trains_as_torchs_network(cls):
    model, variables = ported(cls)
    net, x = built(cls).double(), ZOO[cls](5).double().numpy()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer, side = torch.optim.Adam(net.parameters(), RATE), CalledTorch(net, model.program, ADAPTER)
    for _ in range(STEPS):
        gradients = side.gradients((x,))
        for name, parameter in net.named_parameters():
            parameter.grad = torch.from_numpy(gradients[name])
        optimizer.step()
    found = interop.to_state_dict(model, trained(model, variables, x))
    for name, wanted in net.state_dict().items():
        np.testing.assert_allclose(found[name], wanted.numpy(), rtol=1e-6, atol=1e-8, err_msg=name)
    assert any((value != before[name]).any() for name, value in net.state_dict().items())


def trained(model, variables, x):
    """The variables after as many steps on the weighted sum of what the network returns."""
    with jax.enable_x64(True):
        variables = in_precision(variables, np.float64)
        optimizer, params = optax.adam(RATE), variables["params"]

        def loss(params):
            returned = jax.tree.leaves(model.apply({**variables, "params": params}, jnp.asarray(x)))
            return sum(jnp.sum(y * weights_like(y)) for y in returned)

        @jax.jit
        def step(params, state):
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return optax.apply_updates(params, updates), state

        state = optimizer.init(params)
        for _ in range(STEPS):
            params, state = step(params, state)
        return {**variables, "params": params}
