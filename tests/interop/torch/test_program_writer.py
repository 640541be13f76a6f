"""Programs as torch modules again: called as the network was, its neurons, its weights, its gradients."""

from __future__ import annotations

import jax
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from helpers.traced_nets import NETS, Noise, OneStep, OwnFeedback, RunningTotal, Statistics
from helpers.way_back import assert_is_the_network
from snntorch.functional.quant import state_quant

from snnax import interop
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.frameworks.snntorch import ADAPTER
from snnax.interop.program.module import PortedProgram
from snnax.interop.torch.call_side import CalledTorch

GRAPHS = ("FrameLoop", "TwoLoops", "Hidden", "Delta")


def ported(cls, batch=3):
    torch.manual_seed(0)
    net = cls().eval()
    return net, *interop.from_snntorch(net, NETS[cls](batch).numpy())


@pytest.mark.parametrize("cls", [cls for cls in NETS if cls.__name__ not in (*GRAPHS, "Noise", "Changed")])
def test_it_is_the_network(cls):
    net, model, variables = ported(cls)
    assert_is_the_network(net, interop.to_snntorch(model, variables), (NETS[cls](5),))


@pytest.mark.parametrize("cls", [OwnFeedback, OneStep, Statistics])
def test_it_is_ported_again(cls):
    _, model, variables = ported(cls)
    again, weights = interop.from_snntorch(interop.to_snntorch(model, variables), NETS[cls](3))
    assert isinstance(again, PortedProgram)
    x = NETS[cls](4).numpy()
    wanted, found = model.apply(variables, x), again.apply(weights, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, wanted)


class Remembers(torch.nn.Module):
    """One step of a network that is no graph, whose neuron keeps its state."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(6, 8)
        self.lif = snntorch.Leaky(beta=0.9, threshold=9.0, init_hidden=True, output=True)

    def forward(self, x):
        return {"mem": self.lif(self.fc(x).abs().cumsum(1))[1]}


def test_neurons_are_those_of_the_framework_and_remember():
    torch.manual_seed(0)
    net, x = Remembers().eval(), torch.rand(4, 6)
    made = interop.to_snntorch(*interop.from_snntorch(net, x))
    assert type(made.lif) is snntorch.Leaky and "Linear" not in type(made.fc).__name__
    snntorch.utils.reset(net)
    first = made(x)["mem"]
    torch.testing.assert_close(first, net(x)["mem"])
    second = made(x)["mem"]
    torch.testing.assert_close(second, net(x)["mem"])
    assert not torch.equal(second, first)
    snntorch.utils.reset(made)
    torch.testing.assert_close(made(x)["mem"], first)


def test_other_steps():
    net, model, variables = ported(RunningTotal)
    assert model.program.time
    x = torch.rand(9, 2, 6)
    torch.testing.assert_close(interop.to_snntorch(model, variables)(x), net(x))


def test_trained_weights_go_into_the_network_that_was_ported():
    net, model, variables = ported(RunningTotal)
    params = jax.tree.map(lambda value: value * 1.25, variables["params"])
    assert interop.to_snntorch(model, {**variables, "params": params}, into=net) is net
    for name, value in interop.to_state_dict(model, {**variables, "params": params}).items():
        np.testing.assert_array_equal(net.state_dict()[name].numpy(), value)
    other = torch.nn.Sequential(torch.nn.Linear(6, 2))
    with pytest.raises(ShapeError, match="into= is not the network"):
        interop.to_snntorch(model, variables, into=other)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("reset_mechanism", {"reset_mechanism": "zero"}),
        ("reset_delay", {"reset_delay": False}),
        ("inhibition", {"inhibition": True}),
        ("quantizer", {"state_quant": state_quant(num_bits=2)}),
    ],
)
@pytest.mark.parametrize("looped", [False, True], ids=["graph", "program"])
@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
def test_weights_do_not_go_into_neurons_that_compute_something_else(looped, name, option):
    def built(**options):
        layers = torch.nn.Sequential(
            torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True, **options)
        )
        return (Twice(layers) if looped else layers).eval()

    x, into = torch.ones(4, 3), built(**option)
    model, variables = interop.from_snntorch(built(), x)
    assert type(model).__name__ == ("PortedProgram" if looped else "Graph")
    before = {key: value.clone() for key, value in into.state_dict().items()}
    with pytest.raises(ConversionError, match=f"{name}=.* instead of .*leave into= out"):
        interop.to_snntorch(model, variables, into=into)
    assert all(torch.equal(value, before[key]) for key, value in into.state_dict().items())
    other = built(spike_grad=snntorch.surrogate.sigmoid(5), learn_beta=True)  # how it is trained is its own
    assert interop.to_snntorch(model, variables, into=other) is other


@pytest.mark.parametrize("looped", [False, True], ids=["graph", "program"])
def test_weights_do_not_go_into_a_part_of_a_larger_network(looped):
    layers = [torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True)]
    net, into = torch.nn.Sequential(*layers), torch.nn.Sequential(*layers, torch.nn.Linear(2, 2))
    net, into = (Twice(net), Twice(into)) if looped else (net, into)
    model, variables = interop.from_snntorch(net.eval(), torch.ones(4, 3))
    with pytest.raises(ShapeError, match=r"has \['(layers\.)?2.bias', '(layers\.)?2.weight'\] besides"):
        interop.to_snntorch(model, variables, into=into)


class Twice(torch.nn.Module):
    """No graph of layers."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        return torch.special.expit(self.layers(x)) * 2


def test_double_precision():
    net, model, variables = ported(OwnFeedback)
    made = interop.to_snntorch(model, variables, dtype=torch.float64)
    assert all(p.dtype == torch.float64 for p in made.parameters())
    x = NETS[OwnFeedback](2).double()
    wanted = CalledTorch(net, model.program, ADAPTER).call(x.numpy(), {}).outputs
    for ours, theirs in zip(jax.tree.leaves(made(x)), wanted, strict=True):
        np.testing.assert_allclose(ours.detach(), theirs, rtol=1e-9, atol=1e-12)


def test_random_networks_draw():
    _, model, variables = ported(Noise)
    made, x = interop.to_snntorch(model, variables), NETS[Noise](4)
    torch.manual_seed(3)
    first, second = made(x), made(x)
    torch.manual_seed(3)
    assert torch.equal(made(x), first) and not torch.equal(second, first)


class Sign(torch.autograd.Function):
    """A gradient of the user's own."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Doubt(torch.autograd.Function):
    """A gradient that depends on what Python reads of it."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient if gradient.sum() > 0 else 2 * gradient


class Own(RunningTotal):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return super().forward(self.function.apply(self.fc(x) - 0.5)[..., :6])


def test_gradients_of_ones_own_are_taken_along():
    torch.manual_seed(0)
    net, x = Own(Sign).eval(), torch.rand(5, 3, 6)
    made = interop.to_snntorch(*interop.from_snntorch(net, x))
    x = torch.rand(5, 4, 6)
    found, wanted = jax.tree.leaves(made(x)), jax.tree.leaves(net(x))
    torch.testing.assert_close(found, wanted)
    for leaf in (found[0], wanted[0]):
        leaf.square().sum().backward()
    assert net.fc.weight.grad.any()
    torch.testing.assert_close(made.fc.weight.grad, net.fc.weight.grad)


def test_gradients_that_are_not_known_are_refused():
    torch.manual_seed(0)
    net, x = Own(Doubt).eval(), torch.rand(5, 3, 6)
    made = interop.to_snntorch(*interop.from_snntorch(net, x))
    found, wanted = jax.tree.leaves(made(x)), jax.tree.leaves(net(x))
    torch.testing.assert_close(found, wanted)
    with pytest.raises(ConversionError, match="defines a gradient of its own"):
        found[0].sum().backward()


class Clamped(RunningTotal):
    def forward(self, x):
        self.fc.weight.data.clamp_(-0.2, 0.2)
        return super().forward(x)


def test_gradients_past_autograd_are_refused():
    torch.manual_seed(0)
    net, x = Clamped().eval(), torch.rand(5, 3, 6)
    made = interop.to_snntorch(*interop.from_snntorch(net, x))
    found = jax.tree.leaves(made(x))
    torch.testing.assert_close(found, jax.tree.leaves(net(x)))
    assert made.fc.weight.abs().max() <= 0.2  # the call writes it, as the network's does
    with pytest.raises(ConversionError, match="gradients are not those"):
        found[0].sum().backward()


def test_other_calls_are_refused():
    _, model, variables = ported(RunningTotal)
    made = interop.to_snntorch(model, variables)
    with pytest.raises(ShapeError, match="traced with"):
        made(torch.rand(5, 3, 7))
    with pytest.raises(ArgumentError, match="traced with"):
        made(torch.rand(5, 3, 6), 2)
    with pytest.raises(ConversionError, match="not among the variables"):
        interop.to_snntorch(model, {})
