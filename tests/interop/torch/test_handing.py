"""Networks of one step in each call whose neurons have a step of their own: their states go on from call to call."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from helpers.port_zoo_hand import Slow, Steep, Triangle
from snntorch import surrogate
from torch import nn

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError

SPIKES = {
    "a function": Steep.apply,
    "with a number": lambda x: Triangle.apply(x, 1.0),
    "operations": lambda x: (x > 0).to(x) + torch.sigmoid(4 * x) - torch.sigmoid(4 * x).detach(),
    "custom surrogate": surrogate.custom_surrogate(
        lambda x, gradient, spikes: gradient * torch.exp(-x.abs())
    ),
}


class Louder(snntorch.Leaky):
    """Its ``forward`` does something before."""

    def forward(self, x):
        return super().forward(x * 1.5)


def chain(neuron):
    torch.manual_seed(0)
    last = snntorch.Leaky(beta=0.8, init_hidden=True, output=True)
    return nn.Sequential(nn.Linear(6, 8), neuron, nn.Linear(8, 3), last).eval()


def sample(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


NEURONS = {
    **{
        name: lambda f=f: snntorch.Leaky(beta=0.9, init_hidden=True, spike_grad=f)
        for name, f in SPIKES.items()
    },
    "derived": lambda: Slow(beta=0.8, threshold=0.3, init_hidden=True, learn_beta=True),
    "own forward": lambda: Louder(beta=0.9, init_hidden=True),
}


@pytest.mark.parametrize("kind", NEURONS)
def test_it_is_torchs_network(kind):
    net = chain(NEURONS[kind]())
    model, variables = interop.from_snntorch(net, sample(3, 6))
    report = interop.crossvalidate(net, (model, variables), sample(4, 5, 6).double().numpy(), gradients=True)
    assert report.agree, str(report)
    assert {pair.name for pair in report.gradients} == {name for name, _ in net.named_parameters()}


def test_states_are_handed_on():
    model, variables = interop.from_snntorch(chain(NEURONS["derived"]()), sample(3, 6))
    x = sample(8, 5, 6).numpy()
    whole, _ = snn.unroll(model, variables, x)
    first, updates = snn.unroll(model, variables, x[:3])
    rest, _ = snn.unroll(model, {**variables, **updates}, x[3:])
    assert updates["hidden"]["1"]["mem"].shape == (5, 8)
    np.testing.assert_allclose(np.concatenate([first[0], rest[0]]), whole[0])
    with pytest.raises(ConversionError, match=r"'1': it hands on its mem .*load_state_dict"):
        interop.to_snntorch(model, variables)


def test_a_start_that_is_not_zero_is_refused():
    class Charged(snntorch.Leaky):
        def forward(self, x):
            if not self.mem.numel():
                self.mem = torch.ones_like(x)
            return super().forward(x)

    with pytest.raises(
        ConversionError, match="its first call computes something else than one that starts from zeros"
    ):
        interop.from_snntorch(chain(Charged(beta=0.9, init_hidden=True)), sample(3, 6))
