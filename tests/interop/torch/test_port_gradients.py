"""Where torch's gradients are not those of the operations that it runs: ports have torch's, or refuse to be trained."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from snntorch import surrogate
from torch import nn

from snnax import Graph, interop
from snnax.interop.program.nodes import STRAIGHT, SURROGATE


class Small(nn.Module):
    """A loop with something done to the current or the membrane of each step."""

    def __init__(self, change, spike=None):
        super().__init__()
        self.fc, self.gain, self.lif = (
            nn.Linear(6, 8),
            nn.Parameter(torch.rand(8) + 0.7),
            snntorch.Leaky(beta=0.9),
        )
        self.change, self.spike = change, spike

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.shape[0]):
            current, mem = self.change(self, self.fc(x[t]) * 2 * self.gain, mem)
            spk, mem = self.lif(current, mem)
            out.append(mem + spk)
        return torch.stack(out)


def clamped(net, current, mem):
    with torch.no_grad():
        current.clamp_(-0.5, 0.5)
    return current, mem


def rows(net, current, mem):
    with torch.no_grad():
        current[:, ::2] *= 3
        current[:, 0] = 1.0
    return current + 0.5, mem


def through_a_view(net, current, mem):
    part = current[:, 2:]
    with torch.no_grad():
        part.mul_(2).add_(1)
    return current + part.sum(1, keepdim=True), mem


def read_again(net, current, mem):
    part = current[:, 2:]
    with torch.no_grad():
        current.mul_(2)
        part.sum()
    return current + part.sum(1, keepdim=True), mem


def parameter(net, current, mem):
    with torch.no_grad():
        net.fc.bias.clamp_(-0.1, 0.1)
    return current, mem


def copied(net, current, mem):
    buffer = torch.zeros_like(current)
    with torch.no_grad():
        buffer.copy_(current)
    return current + buffer, mem


def detached(net, current, mem):
    if mem.numel():
        mem.detach_()
    return current, mem


def own_spikes(net, current, mem):
    return net.spike(current - 0.2) + 0.1 * current, mem


def silent_spikes(net, current, mem):
    with torch.no_grad():
        spk = net.spike(current - 0.2)
    return spk + 0.1 * current, mem


CHANGES = [clamped, read_again, rows, through_a_view, parameter, copied, detached, silent_spikes]
SPIKES = {
    "straight_through_estimator": (), "triangular": (0.7,), "fast_sigmoid": (5,), "atan": (3.0,), "heaviside": (),
    "sigmoid": (4,), "spike_rate_escape": (2, 3), "SFS": (4, 0.1),
}  # fmt: skip


def compared(net):
    torch.manual_seed(0)
    x = torch.rand(4, 3, 6)
    model, variables = interop.from_snntorch(net.eval(), x)
    report = interop.crossvalidate(net, (model, variables), x.double().numpy(), gradients=True)
    assert report.gradients and report.agree, str(report)
    return model.program


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_gradients_past_autograd(change):
    torch.manual_seed(1)
    compared(Small(change, surrogate.atan()))


@pytest.mark.parametrize("name", SPIKES)
def test_spike_functions_have_their_surrogates(name):
    torch.manual_seed(1)
    program = compared(Small(own_spikes, getattr(surrogate, name)(*SPIKES[name])))
    (node,) = (node for node in program.nodes() if node.op == SURROGATE)
    assert node.args[1] == name and [*node.args[2].values()] == [float(value) for value in SPIKES[name]]


def test_what_has_no_gradient_is_just_written():
    torch.manual_seed(1)
    straight = [sum(n.op == STRAIGHT for n in compared(Small(c)).nodes()) for c in (copied, clamped)]
    assert straight == [0, 1]


def test_whole_numbers_are_taken_as_they_are():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lif = nn.Embedding(10, 8), snntorch.Leaky(beta=0.9)

        def forward(self, tokens):
            mem, total = self.lif.init_leaky(), 0
            for t in range(tokens.shape[1]):
                spk, mem = self.lif(self.embedding(tokens[:, t]) * 2, mem)
                total = total + spk
            return total

    net, tokens = Tokens().eval(), torch.arange(12).reshape(3, 4) % 10
    model, variables = interop.from_snntorch(net, tokens)
    np.testing.assert_array_equal(model.apply(variables, tokens.numpy()[:2]), net(tokens[:2]).detach())


@pytest.mark.parametrize("kind", [lambda: snntorch.StateLeaky(0.9, 6), lambda: snntorch.LeakyParallel(6, 6)])
def test_the_batch_of_neurons_that_take_all_steps_is_their_second_axis(kind):
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = kind()

        def forward(self, x):
            found = self.lif(x)
            return (found[0] if isinstance(found, tuple) else found).mean(0)

    net = Whole().eval()
    model, variables = interop.from_snntorch(net, torch.rand(4, 3, 6))
    x = 3 * torch.rand(4, 5, 6)
    np.testing.assert_allclose(model.apply(variables, x.numpy()), net(x).detach(), rtol=1e-5, atol=1e-6)


class Attention(nn.Module):
    """The bias of its keys has no gradient: a softmax does not see it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.q, self.k, self.lif = nn.Linear(6, 6), nn.Linear(6, 6), snntorch.Leaky(beta=0.8)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.shape[0]):
            spk, mem = self.lif(x[t] * 3, mem)
            out.append(spk)
        spikes = torch.stack(out, 1)
        return torch.softmax(self.q(spikes) @ self.k(spikes).transpose(1, 2), -1) @ spikes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_zero_may_be_rounding(dtype):
    net, x = Attention().eval(), torch.rand(4, 3, 6)
    ported = interop.from_snntorch(net, x)
    report = interop.crossvalidate(net, ported, x.numpy().astype(dtype), gradients=True)
    assert report.agree and max(gradient.relative for gradient in report.gradients) < 1e-5, str(report)


class Frozen(nn.Module):
    """One step of two layers, of which the first is not trained, as after pretraining."""

    def __init__(self, still=True):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), snntorch.Leaky(beta=0.9, init_hidden=True)
        self.head, self.out = nn.Linear(8, 3), snntorch.Leaky(beta=0.9, init_hidden=True)
        self.fc.requires_grad_(not still)

    def forward(self, x):
        return self.out(self.head(self.lif(self.fc(3 * x))))


def test_a_layer_that_is_not_trained_is_not_trained_in_the_port():
    torch.manual_seed(0)
    net, x = Frozen().eval(), np.random.default_rng(0).uniform(0, 3, (5, 2, 6)).astype(np.float32)
    port = interop.from_snntorch(net, x[0])
    assert {*port[1]["params"]} == {"head"} and {*port[1]["buffers"]} >= {"fc"}
    report = interop.crossvalidate(net, port, x, gradients=True)
    assert report.agree and {g.name for g in report.gradients} == {"head.weight", "head.bias"}
    assert isinstance(interop.from_snntorch(Frozen(still=False).eval(), x[0])[0], Graph)
    net.requires_grad_(False)  # not trained at all: its gradients do not matter
    assert isinstance(interop.from_snntorch(net, x[0])[0], Graph)


def test_a_function_that_runs_without_gradients_trains_as_in_torch():
    class Partly(Frozen):
        def forward(self, x):
            with torch.no_grad():
                current = nn.functional.linear(3 * x, self.fc.weight, self.fc.bias)
            return self.out(self.head(self.lif(current)))

    torch.manual_seed(0)
    net, x = Partly(still=False).eval(), np.random.default_rng(0).uniform(0, 3, (5, 2, 6)).astype(np.float32)
    report = interop.crossvalidate(net, interop.from_snntorch(net, x[0]), x, gradients=True)
    assert report.agree, str(report)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_step_whose_layers_run_without_gradients_trains_as_in_torch(off):
    class Partly(Frozen):
        def forward(self, x):
            with off():
                spk = self.lif(self.fc(3 * x))
            return self.out(self.head(spk.clone()))

    torch.manual_seed(0)
    net, x = Partly(still=False).eval(), np.random.default_rng(0).uniform(0, 3, (5, 2, 6)).astype(np.float32)
    report = interop.crossvalidate(net, interop.from_snntorch(net, x[0]), x, gradients=True)
    assert report.agree, str(report)
