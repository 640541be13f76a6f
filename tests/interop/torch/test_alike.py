"""Weights go into a network that computes what the port does, and into no other with the same parameters."""

from __future__ import annotations

import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from torch import nn

from snnax import interop
from snnax.errors import ConversionError

T, B = 5, 2


class Step(nn.Module):
    """Two layers, a call of which is one step."""

    hidden = True

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 3), nn.Linear(3, 3)
        self.lif1, self.lif2 = (snntorch.Leaky(beta=0.9, init_hidden=self.hidden) for _ in range(2))

    def forward(self, x):
        return self.lif2(self.fc2(self.lif1(self.fc1(x))))


class OtherOrder(Step):
    def forward(self, x):
        return self.lif1(self.fc1(self.lif2(self.fc2(x))))


class WithSkip(Step):
    def forward(self, x):
        spk = self.lif1(self.fc1(x))
        return self.lif2(self.fc2(spk) + spk)


class Scaled(Step):
    def forward(self, x):
        return self.lif2(self.fc2(0.5 * self.lif1(self.fc1(x))))


class ResetsEachCall(Step):
    def forward(self, x):
        self.lif1.reset_mem()
        return super().forward(x)


class ReturnsAnother(Step):
    def forward(self, x):
        spk = self.lif1(self.fc1(x))
        self.lif2(self.fc2(spk))
        return spk


class Loop(Step):
    """The same in a loop over time."""

    hidden = False

    def steps(self, x):
        return range(x.shape[0])

    def frame(self, x, t, before):
        return x[t]

    def again(self, t, mem):
        return mem

    def ends(self, spikes):
        return torch.stack(spikes)

    def forward(self, x):
        mem1, mem2, spk, out = self.lif1.init_leaky(), self.lif2.init_leaky(), 0, []
        for t in self.steps(x):
            spk, mem1 = self.lif1(self.fc1(self.frame(x, t, spk)), self.again(t, mem1))
            spk, mem2 = self.lif2(self.fc2(spk), mem2)
            out.append(spk)
        return self.ends(out)


class OfOneLength(Loop):
    def steps(self, x):
        return range(20)


class OneFrame(OfOneLength):
    def frame(self, x, t, before):
        return x


class FedBack(Loop):
    def frame(self, x, t, before):
        return x[t] + before


class ResetsOnce(Loop):
    def again(self, t, mem):
        return self.lif1.init_leaky() if t == 3 else mem


class Total(Loop):
    def ends(self, spikes):
        return {"total": torch.stack(spikes).sum(0)}


class TotalFedBack(Total):
    frame = FedBack.frame


class TotalResetsOnce(Total):
    again = ResetsOnce.again


class Mean(Total):
    def ends(self, spikes):
        return {"total": torch.stack(spikes).mean(0)}


def ported(kind):
    torch.manual_seed(0)
    sample = torch.rand(B, 3) if kind is Step else torch.rand(T, B, 3)
    return interop.from_snntorch(kind().eval(), sample)


@pytest.mark.parametrize(
    ("source", "target"),
    [(Step, Step), (Step, Loop), (Step, OfOneLength), (Step, OneFrame), (Loop, Step), (Total, Total)],
)
def test_weights_go_into_what_computes_the_same(source, target):
    model, variables = ported(source)
    into = target()
    assert interop.to_snntorch(model, variables, into=into) is into and into.training
    assert torch.equal(into.fc1.weight, interop.to_snntorch(model, variables).fc1.weight)


@pytest.mark.parametrize(
    ("source", "target"),
    [(Step, kind) for kind in (OtherOrder, WithSkip, Scaled, ReturnsAnother)]
    + [(Total, kind) for kind in (TotalFedBack, TotalResetsOnce, Mean)],
)
def test_weights_do_not_go_into_what_computes_something_else(source, target):
    model, variables = ported(source)
    into = target()
    before = {key: value.clone() for key, value in into.state_dict().items()}
    with pytest.raises(ConversionError, match=r"into= computes something else .*load_state_dict"):
        interop.to_snntorch(model, variables, into=into)
    assert all(torch.equal(value, before[key]) for key, value in into.state_dict().items())


@pytest.mark.parametrize("target", [ResetsEachCall, FedBack, ResetsOnce, Total])
def test_weights_do_not_go_into_what_is_not_even_run_alike(target):
    with pytest.raises(ConversionError, match=r"into= cannot be run as the port is: .*load_state_dict"):
        interop.to_snntorch(*ported(Step), into=target())
