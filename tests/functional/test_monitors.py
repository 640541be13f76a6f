"""What replaces snnTorch's monitors records what they record."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
import snnax.functional as SF

T, B = 6, 3


@pytest.fixture(scope="module")
def pair():
    """The same two-layer network in both, and an input."""
    snntorch = pytest.importorskip("snntorch")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 8),
        snntorch.Leaky(beta=0.5, init_hidden=True),
        torch.nn.Linear(8, 4),
        snntorch.Leaky(beta=0.5, init_hidden=True),
    )
    layers = [
        nn.Dense(8),
        snn.Leaky(beta=0.5, init_hidden=True),
        nn.Dense(4),
        snn.Leaky(beta=0.5, init_hidden=True),
    ]
    params = {
        f"layers_{i}": {
            "kernel": jnp.asarray(net[i].weight.detach().numpy().T),
            "bias": jnp.asarray(net[i].bias.detach().numpy()),
        }
        for i in (0, 2)
    }
    x = np.random.default_rng(0).uniform(0, 3, (T, B, 5)).astype(np.float32)
    return snn.Sequential(layers), {"params": params}, x, net


def watched(pair, monitor):
    """snnTorch's records of its first neuron, the loss of a run being differentiated."""
    import snntorch
    import torch
    from snntorch import functional, utils

    *_, x, net = pair
    if monitor == "AttributeMonitor":
        seen = functional.AttributeMonitor("mem", False, net, snntorch.Leaky)
    else:
        seen = getattr(functional, monitor)(net, snntorch.Leaky)
    utils.reset(net)
    spk = torch.stack([net(torch.tensor(step)) for step in x])
    functional.ce_count_loss()(spk, torch.tensor([0, 1, 2])).backward()
    seen.remove_hooks()
    records = [r[0] if isinstance(r, tuple) else r for r in seen["1"]]
    return np.stack([r.detach().numpy() for r in records])


@pytest.mark.parametrize(
    ("monitor", "key"), [("OutputMonitor", "spk"), ("InputMonitor", "input"), ("AttributeMonitor", "mem")]
)
def test_a_record_is_what_a_monitor_records(pair, monitor, key):
    net, variables, x, _ = pair
    _, _, record = snn.unroll(net, variables, x, record=["layers_1"])
    expected = watched(pair, monitor)
    assert expected.any()
    np.testing.assert_allclose(record["layers_1"][key], expected, rtol=1e-5, atol=1e-6)


def loss(spk):
    return SF.ce_count_loss()(spk, jnp.array([0, 1, 2]))


def test_a_gradient_by_forced_spikes_is_that_of_the_output(pair):
    net, variables, x, _ = pair
    spk = snn.unroll(net, variables, x, record=True)[2]["layers_1"]["spk"]
    slope = jax.grad(lambda s: loss(snn.unroll(net, variables, x, force={"layers_1": s})[0]))(spk)
    expected = watched(pair, "GradOutputMonitor")[::-1]
    assert expected.any()
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_a_gradient_of_the_rest_of_the_network_is_that_of_the_input(pair):
    net, variables, x, _ = pair
    current = snn.unroll(net, variables, x, record=True)[2]["layers_1"]["input"]
    rest = snn.Sequential(net.layers[1:])
    params = {"params": {"layers_1": variables["params"]["layers_2"]}}
    slope = jax.grad(lambda c: loss(snn.unroll(rest, params, c)[0]))(current)
    expected = watched(pair, "GradInputMonitor")[::-1]
    assert expected.any()
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)
