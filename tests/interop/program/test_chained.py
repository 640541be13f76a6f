"""A neuron that goes on from something else than its own last call left is known for it, and what it started from."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
from torch import nn

from snnax import interop
from snnax.interop.program.chained import chained, line_of
from snnax.interop.program.side import ProgramSide


class Twice(nn.Module):
    """One neuron, two layers: in each step it gets the current of the one, then that of the other."""

    def __init__(self, between: float = 1.0):
        super().__init__()
        self.a, self.b, self.between = nn.Linear(6, 6), nn.Linear(6, 6), between
        self.lif = snn.Leaky(beta=0.83)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in x:
            spk, mem = self.lif(2 * self.a(step), mem)
            mem = mem if self.between == 1.0 else mem * self.between
            spk, mem = self.lif(2 * self.b(spk), mem)
            out.append(spk)
        return torch.stack(out)


@pytest.fixture
def ported():
    torch.manual_seed(0)
    net, x = Twice().eval(), torch.rand(40, 8, 6)
    return net, interop.from_snntorch(net, x), x


def test_each_call_starts_from_the_other(ported):
    _, (model, variables), x = ported
    trace = ProgramSide(model, variables).call(x.numpy(), {})
    first, second = trace.nodes["lif"], trace.nodes["lif#2"]
    np.testing.assert_array_equal(second.before()["mem"], first.states["mem"])
    np.testing.assert_array_equal(first.before()["mem"][1:], second.states["mem"][:-1])
    assert not first.before()["mem"][0].any()
    assert chained(model.program) == {"lif", "lif#2"}


def test_rounding_is_no_difference_and_a_difference_is_no_rounding(ported):
    net, port, x = ported
    assert interop.crossvalidate(net, port, x).agree
    assert interop.crossvalidate(net, port, x.double()).agree
    with torch.no_grad():
        net.lif.beta.fill_(0.8299)
    report = interop.crossvalidate(net, port, x)
    assert not report.agree and report.first.name == "lif"


def test_a_state_that_is_changed_on_the_way_is_what_was_made_of_it():
    net, x = Twice(0.5).eval(), torch.rand(20, 2, 6)
    model, variables = interop.from_snntorch(net, x)
    trace = ProgramSide(model, variables).call(x.numpy(), {})
    np.testing.assert_array_equal(
        trace.nodes["lif#2"].before()["mem"], trace.nodes["lif"].states["mem"] * 0.5
    )
    assert line_of(model.program, "lif#2").startswith("test_chained.py:")


def test_a_neuron_that_goes_on_from_itself_records_no_starts():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(6, 6), snn.Leaky(beta=0.83)

        def forward(self, x):
            mem, total = self.lif.init_leaky(), 0
            for step in x:
                spk, mem = self.lif(2 * self.fc(step), mem)
                total = total + spk * spk.mean()
            return total

    x = torch.rand(20, 2, 6)
    model, variables = interop.from_snntorch(Own().eval(), x)
    assert not chained(model.program)
    assert ProgramSide(model, variables).call(x.numpy(), {}).nodes["lif"].starts == {}
