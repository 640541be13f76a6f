"""``forward`` changes states between two steps: rounding there is no difference, and a difference is no rounding."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
from torch import Tensor, nn

from snnax import interop

Between = Callable[[Tensor, float], Tensor]


class Changed(nn.Module):
    """A layer whose membranes are changed between two steps, by a rule with a number in it."""

    def __init__(self, rule: Between, neuron: nn.Module | None = None):
        super().__init__()
        self.fc, self.rule, self.by = nn.Linear(6, 24), rule, 1.0
        self.lif, self.unused = neuron or snn.Leaky(beta=0.9), nn.Linear(3, 3)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in x:
            spk, mem = self.lif(3 * self.fc(step), mem)
            mem = self.rule(mem, self.by)
            out.append(spk)
        return torch.stack(out)


RULES: dict[str, Between] = {
    "mean": lambda mem, by: mem - by * mem.mean(),
    "roll": lambda mem, by: by * mem.roll(1, -1),
    "grow": lambda mem, by: mem * (1.2 * by),
    "clamp": lambda mem, by: mem.clamp(-0.3 * by, 0.8 * by),
    "lateral": lambda mem, by: mem - 0.05 * by * (mem.sum(-1, keepdim=True) - mem),
}
NEURONS = {
    "mean": lambda: snn.Leaky(beta=0.9, reset_mechanism="zero"),
    "roll": lambda: snn.Leaky(beta=0.9, reset_delay=False),
}


@pytest.mark.parametrize("rule", RULES)
def test_rounding_is_no_difference_and_a_ten_thousandth_is_one(rule):
    torch.manual_seed(0)
    net, x = Changed(RULES[rule], NEURONS.get(rule, lambda: None)()).eval(), torch.rand(40, 8, 6)
    port = interop.from_snntorch(net, x)
    for given in (x, x.double()):
        net.by = 1.0
        report = interop.crossvalidate(net, port, given)
        assert report.agree, str(report)
        net.by = 1.0001
        report = interop.crossvalidate(net, port, given)
        (layer,) = (layer for layer in report.layers if layer.unexplained)
        assert layer.name == "lif" and layer.first.step == 1
        assert layer.causes[0].kind == "between steps" and "at test_telling.py:" in layer.causes[0].text


def test_a_change_that_one_side_does_not_make_is_found():
    torch.manual_seed(0)
    net, x = Changed(lambda mem, by: mem if by == 1 else mem * by).eval(), torch.rand(30, 4, 6)
    net.by = 1.0001
    port = interop.from_snntorch(net, x)
    net.by = 1.0
    report = interop.crossvalidate(net, port, x)
    assert report.layers[0].causes[0].kind == "between steps" and report.layers[0].first.step == 1


def test_a_fault_of_the_neuron_itself_is_still_its_own():
    torch.manual_seed(0)
    net, x = Changed(RULES["mean"]).eval(), torch.rand(60, 8, 6)
    port = interop.from_snntorch(net, x)
    with torch.no_grad():
        net.lif.beta.fill_(0.8999)
    for given in (x, x.double()):
        report = interop.crossvalidate(net, port, given)
        assert report.first.name == "lif" and report.layers[0].causes[0].kind != "between steps"


class Flips(nn.Module):
    """Membranes that grow between steps enlarge one rounding to another spike, of which the next layer reads."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 24), nn.Linear(24, 24)
        self.first, self.second, self.by = snn.Leaky(beta=0.9), snn.Leaky(beta=0.8), 1.0

    def forward(self, x):
        mem, mem2, out = self.first.init_leaky(), self.second.init_leaky(), []
        for step in x:
            spk, mem = self.first(3 * self.a(step), mem)
            spk, mem2 = self.second(3 * self.b(spk) + 0.2 * self.by * mem, mem2)
            mem, mem2 = (mem * 1.4).clamp(min=-1), mem2 - 0.5 * mem2.mean(1, keepdim=True)
            out.append(spk)
        return torch.stack(out), mem2


def test_flips_and_all_that_follows_from_them_are_explained():
    torch.manual_seed(3)
    net, x = Flips().eval(), torch.rand(80, 8, 6)
    port = interop.from_snntorch(net, x)
    model, variables = port
    nudged = jax.tree.map(
        lambda v: np.nextafter(v, np.float32(np.inf)), variables["params"]
    )  # on any processor
    report = interop.crossvalidate(net, (model, {**variables, "params": nudged}), x)
    assert report.agree, str(report)
    assert sum(layer.end_to_end.spike_mismatches for layer in report.layers[:2]) > 0
    net.by = 1.0001
    report = interop.crossvalidate(net, port, x)
    assert report.first.name == "second" and report.first.first.step == 0


class EveryThird(Changed):
    """Three calls are one step of its loop; the last steps are a loop of their own."""

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t, step in enumerate(x):
            spk, mem = self.lif(3 * self.fc(step), mem)
            if t % 3 == 2:
                mem = self.rule(mem, self.by)
            out.append(spk)
        return torch.stack(out)


def test_steps_that_are_not_alike():
    torch.manual_seed(0)
    net, x = EveryThird(lambda mem, by: 0.5 * by * mem).eval(), torch.rand(20, 4, 6)
    port = interop.from_snntorch(net, x)
    assert interop.crossvalidate(net, port, x).agree
    net.by = 1.0001
    report = interop.crossvalidate(net, port, x)
    assert report.first.name == "lif" and report.first.first.step == 1
