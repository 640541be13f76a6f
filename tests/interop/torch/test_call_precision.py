"""In which precision a called network is judged, and what is said where it cannot be called."""

from __future__ import annotations

import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from torch import nn

from snnax import interop
from snnax.errors import ArgumentError


class Halves(nn.Module):
    """Its products are computed in bfloat16."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 5)
        self.first, self.second = snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.8)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mem, mem2, out = self.first.init_leaky(), self.second.init_leaky(), []
            for step in x:
                spk, mem = self.first(3 * self.a(step), mem)
                spk, mem2 = self.second(2 * self.b(spk), mem2)
                out.append(spk)
            return torch.stack(out), mem2, self.b(self.a(x[-1]).relu())


@pytest.fixture(scope="module")
def halves():
    torch.manual_seed(0)
    net, x = Halves().eval(), torch.rand(20, 4, 6)
    return net, interop.from_snntorch(net, x), x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_in_half_precision_is_no_difference(halves, dtype):
    net, port, x = halves
    report = interop.crossvalidate(net, port, x.to(dtype))
    assert report.agree, str(report)


@pytest.mark.parametrize(("name", "by"), [("a", 1.2), ("b", 0.8)])
def test_what_is_more_than_that_is_one(halves, name, by):
    net, (model, variables), x = halves
    params = {k: dict(v) for k, v in variables["params"].items()}
    params[name]["weight"] = params[name]["weight"] * by
    report = interop.crossvalidate(net, (model, {**variables, "params": params}), x)
    assert report.first.name == {"a": "first", "b": "second"}[name] and report.layers[0].spikes


class Numbers(nn.Module):
    """Numbers of single precision that ``forward`` makes, or that lie in attributes."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 6), snntorch.Leaky(beta=0.9)
        self.scale, self.shifts = torch.rand(6, 6), [torch.rand(6)]

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in x:
            current = self.fc(step @ self.scale) * torch.tensor(0.7) + torch.tensor(
                [0.1, 0.2, 0.3, 0.1, 0.7, 0.3]
            )
            spk, mem = self.lif(current + 0.1 * self.shifts[0], mem)
            mem = mem * torch.full((6,), 0.9) + torch.as_tensor(0.01, dtype=torch.float32)
            out.append(spk * torch.arange(0, 0.6, 0.1) + torch.linspace(0.1, 0.7, 6))
        return torch.stack(out)


def test_numbers_are_the_same_in_double_precision():
    torch.manual_seed(0)
    net, x = Numbers().eval(), torch.rand(12, 3, 6)
    port = interop.from_snntorch(net, x)
    for given in (x, x.double()):
        report = interop.crossvalidate(net, port, given)
        assert report.agree, str(report)
    assert torch.get_default_dtype() == torch.float32


def test_a_network_that_cannot_be_called_is_said_to_be_another():
    torch.manual_seed(0)
    net, x = Numbers().eval(), torch.rand(12, 3, 6)
    port = interop.from_snntorch(net, x)
    other = nn.Sequential(nn.Linear(5, 3), snntorch.Leaky(beta=0.9, init_hidden=True)).eval()
    with pytest.raises(
        ArgumentError, match=r"(?s)Sequential was given float32\[12, 3, 6\].*crossvalidate\(net, "
    ):
        interop.crossvalidate(other, port, x)
    with pytest.raises(ArgumentError, match="cannot be multiplied"):
        interop.crossvalidate(other, port, x, gradients=True)
    counts = torch.randint(0, 2, (12, 3, 6))
    assert interop.crossvalidate(net, port, counts).agree
