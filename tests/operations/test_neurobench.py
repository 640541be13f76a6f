"""The counts of ``synops`` beside NeuroBench's: its definitions in torch, and its own harness where that is installed.

The harness is installed by ``pip install --no-deps neurobench==2.3.0``. Without it the tests that need it are skipped,
and the definitions, written out here with hooks, are what counts are held to.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("snntorch")

import snntorch
import torch
from snntorch import utils
from torch import nn

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError

T, B = 6, 3
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Steps(nn.Module):
    """One step in ``forward``: convolution, pooling, and a neuron that feeds back."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.lif = snntorch.Leaky(beta=0.5, threshold=0.5, init_hidden=True)
        self.pool = nn.AvgPool2d(2)
        self.flat = nn.Flatten()
        self.fc = nn.Linear(12, 5)
        self.back = snntorch.RLeaky(beta=0.5, threshold=0.1, linear_features=5, init_hidden=True, output=True)

    def forward(self, x):
        return self.back(self.fc(self.flat(self.pool(self.lif(self.conv(x))))))


class Whole(nn.Module):
    """What is before and after the loop, a layer that is used twice, and one whose input is the same in all steps."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(4, 6)
        self.steady = nn.Linear(6, 8)
        self.shared = nn.Linear(8, 8)
        self.one = snntorch.Leaky(beta=0.5, threshold=0.1)
        self.two = snntorch.Leaky(beta=0.75, threshold=0.1)
        self.leave = nn.Linear(8, 2)

    def forward(self, x):
        mem1, mem2, kept = self.one.init_leaky(), self.two.init_leaky(), []
        frame = self.enter(x).relu()
        for _ in range(T):
            spk, mem1 = self.one(self.steady(frame), mem1)
            spk, mem2 = self.two(self.shared(self.shared(spk)), mem2)
            kept.append(spk)
        return self.leave(torch.stack(kept).sum(0))


def counted(net, run):
    """NeuroBench's definitions: ``(dense, MACs, ACs)`` by layer, of all calls that ``run`` makes, in float64."""
    found = {}

    def hook(name, layer, x):
        weight = layer.weight.double()
        x = x[0].detach().double()

        def times(x, weight):
            twin = copy.deepcopy(layer).double()
            twin.weight.data, twin.bias = weight, None
            return int(nn.Module.__call__(twin, x).sum().item())

        binary = bool(((x == 0) | (x.abs() == 1)).all())
        with torch.no_grad():
            dense = times(torch.ones_like(x), torch.ones_like(weight))
            effective = times((x != 0).double(), (weight != 0).double())
        old = found.get(name, (0, 0, 0))
        found[name] = (old[0] + dense, old[1] + effective * (not binary), old[2] + effective * binary)

    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, LAYERS)}
    bare = {name: copy.deepcopy(layer) for name, layer in layers.items()}
    hooks = [
        layer.register_forward_pre_hook(lambda _, x, name=name: hook(name, bare[name], x))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        run()
    for each in hooks:
        each.remove()
    return {name.replace(".", "/"): counts for name, counts in found.items()}


def rows(found):
    return {layer.name: (layer.dense, layer.macs, layer.acs) for layer in found.layers}


def some(kind, *shape):
    rng = np.random.default_rng(0)
    x = rng.random(shape) * (rng.random(shape) < 0.5)
    return torch.tensor(x if kind == "real" else (x > 0.3), dtype=torch.float32)


def steps(kind):
    """A network of steps on real numbers or spikes; a step of zeros is one of accumulates, of which none are done."""
    torch.manual_seed(0)
    net = Steps().eval()
    with torch.no_grad():
        net.conv.weight[net.conv.weight.abs() < 0.1] = 0
        net.fc.weight[:, ::3] = 0
        net.fc.bias += 0.3
    x = some(kind, T, B, 2, 8, 8)
    x[2] = 0

    def run():
        utils.reset(net)
        for now in x:
            net(now)

    model, variables = interop.from_snntorch(net, np.zeros((B, 2, 8, 8), np.float32))
    return net, x.transpose(0, 1), run, snn.utils.synops(model, variables, x.numpy())


def whole():
    torch.manual_seed(1)
    net, x = Whole().eval(), some("real", B, 4)
    model, variables = interop.from_snntorch(net, x.numpy())
    return net, x, lambda: net(x), snn.utils.synops(model, variables, x.numpy())


CASES = {"steps, real": lambda: steps("real"), "steps, spikes": lambda: steps("spikes"), "whole": whole}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]()


def test_counts_are_those_of_the_definitions(case):
    net, _, run, found = case
    expected = counted(net, run)
    assert rows(found) == expected
    assert all(0 < sum(each[1:]) < each[0] for each in expected.values())
    assert found.acs > 0 and found.samples == B and not found.left_out


def test_a_layer_is_counted_as_often_as_it_is_called():
    """Once before the loop, in each step though its input is the same in all, and twice in each."""
    _, _, _, found = whole()
    assert {layer.name: layer.dense // B for layer in found.layers} == {
        "enter": 24, "steady": 48 * T, "shared": 2 * 64 * T, "leave": 16
    }  # fmt: skip
    assert {n.name for n in found.neurons} == {"one", "two"}


class Sequence(nn.Module):
    """A layer of a sequence, and one of a frame that is the same in each step."""

    def __init__(self):
        super().__init__()
        self.fc, self.steady = nn.Linear(4, 3), nn.Linear(4, 3)
        self.lif = snntorch.Leaky(beta=0.5)

    def forward(self, x, frame):
        mem, kept = self.lif.init_leaky(), []
        for now in x:
            spk, mem = self.lif(self.fc(now) + self.steady(frame), mem)
            kept.append(spk)
        return torch.stack(kept)


def test_a_program_is_counted_for_other_numbers_of_steps():
    net, frame = Sequence(), some("real", B, 4)
    model, variables = interop.from_snntorch(net, (np.ones((T, B, 4), np.float32), frame.numpy()))
    x = some("real", T + 3, B, 4)
    x[2] = (x[2] > 0).float()  # accumulates in this step alone
    found = snn.utils.synops(model, variables, (x.numpy(), frame.numpy()))
    assert rows(found) == counted(net, lambda: net(x, frame))
    assert found.layers[0].dense == 12 * B * (T + 3) == found.layers[1].dense
    assert found.acs > 0 and found.macs > 0


class Odd(nn.Module):
    """One step, which is no graph of layers."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 3), snntorch.Leaky(beta=0.5, threshold=0.1, init_hidden=True)
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.sigmoid(self.lif(self.fc(x))).flip(1))


def test_a_frame_that_is_shown_in_each_step_of_a_program():
    net, frame = Odd(), some("real", B, 4)
    model, variables = interop.from_snntorch(net, frame.numpy())

    def run():
        utils.reset(net)
        for _ in range(T):
            net(frame)

    found = snn.utils.synops(model, variables, frame.numpy(), num_steps=T)
    assert rows(found) == counted(net, run) and found.samples == B
    assert found.layers[0].dense == 12 * B * T
    with pytest.raises(ArgumentError, match=r"synops\(x='no array'\)"):
        snn.utils.synops(model, variables, "no array", num_steps=T)


def test_the_harness_counts_the_same(case):
    """Skipped where it is not installed: ``pip install --no-deps neurobench==2.3.0``."""
    pytest.importorskip("neurobench", reason="NeuroBench's harness is not installed")
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import SNNTorchModel, TorchModel

    net, x, _, found = case
    model = TorchModel(net) if isinstance(net, Whole) else SNNTorchModel(net)
    model.add_activation_module(snntorch.SpikingNeuron)
    model.register_hooks()
    with torch.no_grad():
        model(x)
        counts = SynapticOperations()(model, None, (x,))
        sparsity = ActivationSparsity()(model, None, (x,))
    model.cleanup_hooks()
    assert counts == found.per_sample
    assert sparsity == pytest.approx(found.activation_sparsity)
