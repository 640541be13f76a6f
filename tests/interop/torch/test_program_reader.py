"""Networks that are no graph of layers in one loop: ported, called, compared with torch, their weights taken back."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from helpers.traced_nets import NETS, Noise, OwnFeedback, RunningTotal, Statistics
from torch import nn

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.program.module import PortedProgram
from snnax.network.containers import Graph

PROGRAMS = [cls for cls in NETS if cls.__name__ not in ("FrameLoop", "TwoLoops", "Hidden", "Noise", "Delta")]


@functools.cache  # porting one takes a second, and no test changes what it gets
def ported(cls):
    torch.manual_seed(0)
    net = cls().eval()
    return net, *interop.from_snntorch(net, NETS[cls](3).numpy())


def plain(returned):
    return [
        np.asarray(leaf.detach() if isinstance(leaf, torch.Tensor) else leaf)
        for leaf in jax.tree.leaves(returned)
    ]


@pytest.mark.parametrize("cls", PROGRAMS)
def test_it_computes_what_the_network_does(cls):
    net, model, variables = ported(cls)
    assert isinstance(model, PortedProgram)
    x = NETS[cls](5)
    report = interop.crossvalidate(net, (model, variables), x.numpy())
    assert report.agree, str(report)
    wanted, (found, _) = net(x), snn.unroll(model, variables, x.numpy(), mutable=model.carried)
    assert jax.tree.structure(found) == jax.tree.structure(
        jax.tree.map(lambda leaf: 0, wanted, is_leaf=lambda leaf: isinstance(leaf, torch.Tensor))
    )
    for ours, theirs in zip(plain(found), plain(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [cls for cls in PROGRAMS if cls.__name__ != "Changed"])
def test_gradients_in_double_precision(cls):
    net, model, variables = ported(cls)
    x = NETS[cls](2).double().numpy()
    report = interop.crossvalidate(net, (model, variables), x, gradients=True)
    assert report.agree, str(report)
    assert report.gradients


@pytest.mark.parametrize("cls", PROGRAMS)
def test_the_state_dict_is_torchs(cls):
    net, model, variables = ported(cls)
    state = interop.to_state_dict(model, variables)
    assert set(state) == set(net.state_dict())
    torch.manual_seed(1)
    other = cls().eval()
    other.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    loaded = interop.from_state_dict(model, variables, other.state_dict())
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, variables))


def test_what_is_a_graph_of_layers_stays_one():
    net = nn.Sequential(nn.Linear(6, 4), snntorch.Leaky(beta=0.9, init_hidden=True))
    model, _ = interop.from_snntorch(net, np.ones((3, 6), np.float32))
    assert isinstance(model, Graph)


def test_a_fault_of_the_port_is_found():
    net, model, variables = ported(OwnFeedback)
    params = jax.tree.map(lambda value: value * 1.5, variables["params"])
    report = interop.crossvalidate(
        net, (model, {**variables, "params": params}), NETS[OwnFeedback](4).numpy()
    )
    assert not report.agree and report.unexplained


def test_statistics_are_live_values():
    _, model, variables = ported(Statistics)
    small, large = (
        jax.tree.leaves(snn.unroll(model, variables, scale * NETS[Statistics](3).numpy())[0])
        for scale in (0.1, 9)
    )
    assert any(np.ndim(a) == 0 and a < b for a, b in zip(small, large, strict=True))


def test_random_numbers_take_a_key():
    _, model, variables = ported(Noise)
    x = NETS[Noise](3).numpy()
    one, same, other = (
        snn.unroll(model, variables, x, rngs={"draws": jax.random.key(seed)})[0] for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    with pytest.raises(ArgumentError, match=r"draws random numbers .*rngs"):
        snn.unroll(model, variables, x)


class Sign(torch.autograd.Function):
    """A gradient of the user's own that depends on a number which Python reads."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient if gradient.sum() > 0 else 2 * gradient


def test_own_gradients_are_refused():
    class Own(RunningTotal):
        def forward(self, x):
            return super().forward(Sign.apply(self.fc(x) - 0.5)[..., :6])

    torch.manual_seed(0)
    net, x = Own().eval(), torch.rand(5, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    with pytest.raises(ConversionError, match="defines a gradient of its own"):
        interop.crossvalidate(net, (model, variables), x.numpy(), gradients=True)


def test_folding_needs_a_graph():
    net = RunningTotal().eval()
    with pytest.raises(ConversionError):
        interop.from_snntorch(net, NETS[RunningTotal](3).numpy(), batchnorm="fold")


class Fft(nn.Module):
    """An operation that is not known."""

    def __init__(self):
        super().__init__()
        self.lif = snntorch.Leaky(beta=0.9)

    def forward(self, x):
        mem = self.lif.init_leaky()
        for frame in x:
            _, mem = self.lif(torch.special.bessel_j0(frame) + torch.special.bessel_y0(frame + 1), mem)
        return mem


def test_unknown_operations_are_named_all_at_once():
    with pytest.raises(ConversionError, match=r"special_bessel_j0[\s\S]*special_bessel_y0") as caught:
        interop.from_snntorch(Fft(), np.ones((4, 2, 3), np.float32))
    assert "test_program_reader.py:" in str(caught.value)


def test_several_arguments():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(3, 4), snntorch.Leaky(beta=0.9)

        def forward(self, x, gain, more):
            mem = self.lif.init_leaky()
            for frame in x:
                spk, mem = self.lif(self.fc(frame) * gain + more["bias"], mem)
            return {"mem": mem.sum(1), "spk": spk}

    net = Two().eval()
    given = (torch.rand(4, 2, 3), torch.rand(2, 4), {"bias": torch.rand(4)})
    model, variables = interop.from_snntorch(net, given)
    arguments = tuple(jax.tree.map(lambda t: t.numpy(), part) for part in given)
    found = model.apply(variables, *arguments)
    np.testing.assert_allclose(found["mem"], net(*given)["mem"].detach(), rtol=1e-5)
    assert interop.crossvalidate(net, (model, variables), arguments).agree


class GeluStep(nn.Module):
    """One step per call, with an operation that no layer has."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(6, 8), nn.LayerNorm(8)
        self.lif1 = snntorch.Leaky(beta=0.9, init_hidden=True)
        self.lif2 = snntorch.Synaptic(alpha=0.7, beta=0.8, init_hidden=True, output=True)

    def forward(self, x):
        return self.lif2(self.lif1(nn.functional.gelu(self.norm(self.fc(x))) * 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_is_compared_over_time(dtype):
    torch.manual_seed(0)
    net = GeluStep().eval()
    x = torch.rand(7, 4, 6).numpy().astype(dtype)
    model, variables = interop.from_snntorch(net, x[0].astype(np.float32))
    assert isinstance(model, PortedProgram)
    report = interop.crossvalidate(net, (model, variables), x, gradients=True)
    assert report.agree, str(report)
    assert [layer.name for layer in report.layers[:2]] == ["lif1", "lif2"]
    broken = jax.tree.map(lambda value: value * 1.3, variables)
    assert not interop.crossvalidate(net, (model, broken), x).agree


def test_a_function_that_names_the_network_reads_its_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), snntorch.Leaky(beta=0.9, threshold=0.3, init_hidden=True))
    layer = net[0]
    layer.forward = lambda x: nn.functional.linear(x, 2 * layer.weight, layer.bias)
    x = torch.rand(5, 3, 6).numpy()
    model, variables = interop.from_snntorch(net.eval(), x[0])
    assert isinstance(model, PortedProgram)
    slopes = jax.grad(lambda p: snn.unroll(model, {**variables, "params": p}, x)[0].sum())(
        variables["params"]
    )
    assert all(np.abs(slope).max() > 0 for slope in jax.tree.leaves(slopes))
    assert interop.crossvalidate(net, (model, variables), x).agree


def test_what_torch_fails_on_is_said_by_who_knows_it():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snntorch.RSynaptic(0.9, 0.8, linear_features=4, reset_delay=False)

        def forward(self, x):
            spk, syn, mem = self.lif.init_rsynaptic()
            for frame in x:
                spk, syn, mem = self.lif(frame, spk, syn, mem)
            return mem

    with pytest.raises(ConversionError, match=r"snnTorch 1\.0\.0 cannot run RSynaptic"):
        interop.from_snntorch(Fails().eval(), np.ones((3, 2, 4), np.float32))


class Shared(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.lif = snntorch.Leaky(beta=0.9)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for frame in x:
            spk, mem = self.lif(self.second(self.first(frame)), mem)
            total = total + spk
        return total


def test_a_shared_weight_is_trained_under_all_its_names():
    model, variables = interop.from_snntorch(Shared(), np.ones((4, 2, 3), np.float32))
    trained = {**variables, "params": jax.tree.map(lambda leaf: leaf + 1, variables["params"])}
    found = interop.to_state_dict(model, trained)
    np.testing.assert_array_equal(found["first.weight"], found["second.weight"])
    back = interop.to_snntorch(model, trained)
    assert back.first.weight is back.second.weight
    net = Shared()
    net.load_state_dict(back.state_dict())
    np.testing.assert_array_equal(net.first.weight.detach(), trained["params"]["first"]["weight"])


class Hooked(Shared):
    """It changes the gradient of its current, always or if there is one."""

    def __init__(self, asking):
        super().__init__()
        self.asking = asking

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for frame in x:
            current = self.first(frame)
            if not self.asking or current.requires_grad:
                current.register_hook(lambda gradient: 2 * gradient)
            spk, mem = self.lif(current, mem)
            total = total + spk
        return total


@pytest.mark.parametrize(
    ("asking", "words"), [(False, "hangs a hook"), (True, "asks whether a tensor has a gradient")]
)
def test_what_is_another_thing_in_training_is_refused(asking, words):
    with pytest.raises(ConversionError, match=words) as caught:
        interop.from_snntorch(Hooked(asking), np.ones((4, 2, 3), np.float32))
    assert "test_program_reader.py" in str(caught.value)


def test_neurons_of_another_framework_are_for_its_own_function():
    norse = pytest.importorskip("norse.torch")
    net = norse.SequentialState(nn.Linear(3, 2), norse.LIFCell())
    with pytest.raises(
        ConversionError, match=r"those of Norse, and none .* of snnTorch.* interop.from_norse"
    ):
        interop.from_snntorch(net, torch.ones(1, 3))


def test_attention_of_the_library_may_ask_for_gradients():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.lif = nn.MultiheadAttention(4, 2, batch_first=True), snntorch.Leaky(beta=0.9)

        def forward(self, x):
            mem, total = self.lif.init_leaky(), 0
            seen, _ = self.attention(x, x, x)
            for step in range(seen.shape[1]):
                spk, mem = self.lif(seen[:, step], mem)
                total = total + spk
            return total

    model, _ = interop.from_snntorch(Attends().eval(), np.ones((2, 5, 4), np.float32))
    assert isinstance(model, PortedProgram)


def test_forced_spikes_are_those_of_a_neuron():
    _, model, variables = ported(PROGRAMS[0])
    x = NETS[PROGRAMS[0]](3).numpy()
    _, _, recorded = snn.unroll(model, variables, x, record=True)
    name, spikes = next((name, known["spk"]) for name, known in recorded.items())
    snn.unroll(model, variables, x, force={name: spikes})
    with pytest.raises(ArgumentError, match="names no neuron; the neurons are"):
        snn.unroll(model, variables, x, force={"nobody": spikes})
    with pytest.raises(ShapeError, match="all steps of the neuron's spikes"):
        snn.unroll(model, variables, x, force={name: spikes[:-1]})
