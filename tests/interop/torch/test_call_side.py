"""A torch network that is called once, recorded neuron by neuron."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("snntorch")

import torch
from helpers.traced_nets import NETS, OwnFeedback, Recurrent

from snnax.interop.frameworks.snntorch import ADAPTER
from snnax.interop.torch.call_side import CalledTorch
from snnax.interop.torch.programs import trace_program


def side(cls):
    torch.manual_seed(0)
    net = cls().eval()
    return net, CalledTorch(net, trace_program(net, (NETS[cls](3),)), ADAPTER)


@pytest.mark.parametrize("cls", [OwnFeedback, Recurrent])
def test_each_neuron_is_recorded_over_its_steps(cls):
    net, called = side(cls)
    trace = called.call(NETS[cls](4).numpy(), {})
    assert set(trace.nodes) <= {name for name, _ in net.named_modules()}
    for node in trace.nodes.values():
        assert node.spk.shape[1] == 4 and node.input.shape[0] == node.spk.shape[0]
        assert {"mem"} <= set(node.states)


def test_dictated_spikes_are_handed_on():
    _, called = side(OwnFeedback)
    x = NETS[OwnFeedback](4).numpy()
    free = called.call(x, {})
    (name,) = free.nodes
    forced = called.call(x, {name: np.ones_like(free.nodes[name].spk)})
    assert not np.array_equal(forced.nodes[name].input, free.nodes[name].input)
    assert not forced.nodes[name].spk.all()


def test_the_users_network_stays_as_it_is():
    net, called = side(OwnFeedback)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    called.call(NETS[OwnFeedback](4).numpy(), {})
    gradients = called.gradients(NETS[OwnFeedback](4).numpy())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert set(gradients) <= {name for name, _ in net.named_parameters()}
    assert all(np.abs(value).max() > 0 for value in gradients.values())
