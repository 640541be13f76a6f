"""SpikingJelly's networks as its users write them: values, spikes and gradients are those of the installed library."""

from __future__ import annotations

import flax.linen as fnn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

pytest.importorskip("torch")
pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed: benchmarks/README.rst says how")

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, TrainingModeError
from snnax.interop.program.module import PortedProgram

KINDS = {
    "IF": lambda **options: neuron.IFNode(**options),
    "LIF": lambda **options: neuron.LIFNode(tau=1.7, **options),
    "LIF, input not decayed": lambda **options: neuron.LIFNode(tau=3.0, decay_input=False, **options),
    "PLIF": lambda **options: neuron.ParametricLIFNode(init_tau=1.5, **options),
    "PLIF, input not decayed": lambda **options: neuron.ParametricLIFNode(decay_input=False, **options),
    "QIF": lambda **options: neuron.QIFNode(**options),
    "EIF": lambda **options: neuron.EIFNode(**options),
    "own": lambda **options: Own(**options),
}


class Own(neuron.SimpleBaseNode):
    """A neuron as the tutorial lets users write one."""

    def neuronal_charge(self, x: torch.Tensor) -> None:
        """Half of the membrane stays."""
        self.v = self.v * 0.5 + x


def frames(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Inputs that make neurons fire."""
    return (2 * np.random.default_rng(0).random(shape)).astype(dtype)


def two_layers(kind: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    make, step_mode = KINDS[kind], options.pop("step_mode", "m")
    options = {"surrogate_function": surrogate.ATan(), "v_threshold": 0.25, **options}
    net = nn.Sequential(layer.Linear(5, 6), make(**options), layer.Linear(6, 4), make(**options))
    functional.set_step_mode(net, step_mode)
    return (net if step_mode == "m" else Looping(net)).eval()


class Looping(nn.Module):
    """A single-step network and its loop over time."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        return torch.stack([self.net(frame) for frame in x])


def called(net: nn.Module, x: np.ndarray) -> torch.Tensor:
    """One call from the reset state, and reset again."""
    functional.reset_net(net)
    out = net(torch.tensor(x))
    functional.reset_net(net)
    return out


def assert_is_torchs(net: nn.Module, x: np.ndarray) -> PortedProgram:
    """Values in both precisions, spikes in single, gradients in double, another batch."""
    model, variables = interop.from_spikingjelly(net, x)
    more = np.concatenate([x, x[:, :1] * 0.7], 1)
    ours, theirs = np.asarray(model.apply(variables, more)), called(net, more).detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert np.any(theirs)
    report = interop.crossvalidate(net, (model, variables), x.astype(np.float64), gradients=True)
    assert report.agree, report
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("v_reset", [0.0, None, -0.2])
def test_neurons_with_each_reset(kind, v_reset):
    assert_is_torchs(two_layers(kind, v_reset=v_reset), frames(6, 3, 5))


@pytest.mark.parametrize("kind", ["IF", "LIF", "own"])
def test_single_steps_in_a_loop(kind):
    assert_is_torchs(two_layers(kind, step_mode="s"), frames(6, 3, 5))


@pytest.mark.parametrize("v_reset", [0.0, None])
def test_a_neuron_fires_at_its_threshold(v_reset):
    net = neuron.IFNode(v_threshold=1.0, v_reset=v_reset, step_mode="m")
    x = np.full((6, 1, 1), 0.5, np.float32)
    model, variables = interop.from_spikingjelly(net, x)
    assert np.asarray(model.apply(variables, x)).ravel().tolist() == [0, 1, 0, 1, 0, 1]
    assert called(net, x).ravel().tolist() == [0, 1, 0, 1, 0, 1]


def gradients(net: nn.Module, x: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of a weighted sum of what a network returns: the port's and torch's, by name."""
    model, variables = interop.from_spikingjelly(net, x)
    theirs = called(net, x)
    weights = np.linspace(-1, 1, theirs.numel(), dtype=x.dtype).reshape(theirs.shape)
    net.zero_grad()
    (theirs * torch.tensor(weights)).sum().backward()
    grads = jax.grad(lambda p: (model.apply({**variables, "params": p}, x) * weights).sum())(
        variables["params"]
    )
    found = {name: np.asarray(value) for name, value in flatten_dict(grads, sep=".").items()}
    return found, {name: p.grad.numpy() for name, p in net.named_parameters()}


@pytest.mark.parametrize(
    "function",
    [surrogate.Sigmoid(alpha=3.0), surrogate.ATan(alpha=1.5), surrogate.SoftSign(), surrogate.SuperSpike(),
     surrogate.DeterministicPass()],
    ids=lambda function: type(function).__name__,
)  # fmt: skip
@pytest.mark.parametrize("detach_reset", [False, True])
def test_gradients_of_known_spike_functions(function, detach_reset):
    net = two_layers("LIF", surrogate_function=function, detach_reset=detach_reset, v_reset=None)
    ours, theirs = gradients(net, frames(6, 3, 5))
    assert ours.keys() == theirs.keys() and np.abs(theirs["0.weight"]).max() > 0
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_decay_of_a_parametric_neuron_is_trained():
    ours, theirs = gradients(two_layers("PLIF"), frames(6, 3, 5))
    assert theirs["1.w"] != 0
    np.testing.assert_allclose(ours["1.w"], theirs["1.w"], rtol=1e-4)


@pytest.mark.parametrize(
    "function",
    [surrogate.PiecewiseQuadratic(), surrogate.Erf(), surrogate.SoftSign(alpha=3.0), surrogate.SuperSpike(alpha=2.0),
     surrogate.LeakyKReLU()],
    ids=lambda function: type(function).__name__,
)  # fmt: skip
def test_other_spike_functions_run(function):
    net, x = two_layers("LIF", surrogate_function=function), frames(6, 3, 5)
    model, variables = interop.from_spikingjelly(net, x)
    np.testing.assert_array_equal(model.apply(variables, x), called(net, x).detach().numpy())


# --- Networks in its users' styles ----------------------------------------------------------------


class Rates(nn.Module):
    """Single-step layers, a loop inside ``forward``, and a rate that is summed up."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            layer.Flatten(),
            layer.Linear(8, 6, bias=False),
            neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A constant frame."""
        functional.reset_net(self)
        total = 0.0
        for _ in range(4):
            total = total + self.layer(x)
        return total / 4


class Convolutional(nn.Module):
    """Multi-step blocks of convolution, normalisation, neurons and pooling, and the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            layer.Conv2d(1, 3, 3, padding=1, bias=False), layer.BatchNorm2d(3), neuron.IFNode(v_threshold=0.3),
            layer.MaxPool2d(2, 2), layer.AvgPool2d(1), layer.Flatten(), layer.Dropout(0.5),
            layer.Linear(12, 4, bias=False), neuron.ParametricLIFNode(v_threshold=0.1),
        )  # fmt: skip
        functional.set_step_mode(self, "m")
        with torch.no_grad():
            self.blocks[1].running_var.fill_(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A constant image."""
        return self.blocks(x.unsqueeze(0).repeat(4, 1, 1, 1, 1)).mean(0)


class Residual(nn.Module):
    """A residual block of spikes, layers in containers, the last membrane read out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = layer.SeqToANNContainer(nn.Linear(5, 6), nn.BatchNorm1d(6))
        self.fire = neuron.LIFNode(v_threshold=0.2, step_mode="m")
        self.inner = layer.MultiStepContainer(nn.Linear(6, 6), neuron.IFNode(v_threshold=0.2))
        self.read = neuron.LIFNode(v_threshold=float(10), step_mode="m", store_v_seq=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        spk = self.fire(self.first(x))
        self.read(spk + self.inner(spk))
        return self.read.v_seq


class Recurrent(nn.Module):
    """Layers that feed what they emit back."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            layer.Linear(5, 6),
            layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.3), 6, 6),
            layer.ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), torch.add),
            layer.Linear(6, 4),
        )
        functional.set_step_mode(self, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        return functional.multi_step_forward(x, self.net[0]) if x.ndim < 3 else self.net(x)


@pytest.mark.parametrize("build", [Residual, Recurrent])
def test_networks_of_sequences(build):
    torch.manual_seed(1)
    assert_is_torchs(build().eval(), frames(6, 3, 5))


@pytest.mark.parametrize(("build", "shape"), [(Rates, (3, 2, 4)), (Convolutional, (3, 1, 4, 4))])
def test_networks_of_constant_frames(build, shape):
    torch.manual_seed(0)
    net, x = build().eval(), frames(*shape)
    model, variables = interop.from_spikingjelly(net, x)
    more = np.concatenate([x, x])
    np.testing.assert_allclose(
        model.apply(variables, more), called(net, more).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    assert called(net, x).sum() > 0
    report = interop.crossvalidate(net, (model, variables), x.astype(np.float64), gradients=True)
    assert report.agree, report


def test_the_network_stays_as_it_is_and_its_state_does_not_matter():
    net, x = two_layers("LIF"), frames(6, 3, 5)
    net(torch.tensor(x))  # not reset
    before, weights = net[1].v.clone(), {name: value.clone() for name, value in net.state_dict().items()}
    model, variables = interop.from_spikingjelly(net, x)
    assert torch.equal(net[1].v, before) and isinstance(net[1].surrogate_function, surrogate.ATan)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in weights.items())
    assert interop.crossvalidate(net, (model, variables), x).agree
    assert flatten_dict(variables["params"], sep=".").keys() == weights.keys()


def test_another_weight_is_found():
    net, x = two_layers("LIF"), frames(6, 3, 5)
    port = interop.from_spikingjelly(net, x)
    with torch.no_grad():
        net[0].weight[0] += 0.5
    assert not interop.crossvalidate(net, port, x.astype(np.float64)).agree


def test_one_step_in_each_call_is_refused_with_the_remedy():
    net = nn.Sequential(layer.Linear(5, 6), neuron.LIFNode())
    with pytest.raises(ConversionError, match="set_step_mode"):
        interop.from_spikingjelly(net.eval(), frames(3, 5))
    functional.set_step_mode(net, "m")
    model, variables = interop.from_spikingjelly(net, frames(4, 3, 5))
    assert jnp.shape(model.apply(variables, frames(4, 3, 5))) == (4, 3, 6)


def test_neurons_of_two_frameworks_are_refused():
    snntorch = pytest.importorskip("snntorch")
    net = nn.Sequential(
        layer.Linear(5, 6), neuron.LIFNode(step_mode="m"), snntorch.Leaky(0.5, init_hidden=True)
    )
    with pytest.raises(ConversionError, match="snnTorch and SpikingJelly"):
        interop.from_spikingjelly(net.eval(), frames(4, 3, 5))


def test_refusals_name_what_to_do():
    with pytest.raises(ConversionError, match="no SpikingJelly neuron"):
        interop.from_spikingjelly(nn.Linear(5, 4), frames(3, 5))
    net = nn.Sequential(layer.Linear(5, 6), layer.Dropout(0.5, step_mode="m"), neuron.LIFNode(step_mode="m"))
    with pytest.raises(TrainingModeError, match=r"net\.eval"):
        interop.from_spikingjelly(net.train(), frames(4, 3, 5))


# --- The way back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("v_reset", [0.0, None])
def test_a_program_goes_back_under_its_names(kind, v_reset):
    net = two_layers(kind, v_reset=v_reset)
    x = frames(6, 3, 5)
    model, variables = interop.from_spikingjelly(net, x)
    back = interop.to_spikingjelly(model, variables)
    again = [made(torch.tensor(x)) for made in (back, back)]
    wanted = called(net, x)
    for found in again:
        np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=1e-6, atol=1e-6)
    assert back.state_dict().keys() == net.state_dict().keys()
    wanted.sum().backward()
    again[0].sum().backward()
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(
            dict(back.named_parameters())[name].grad, parameter.grad, rtol=1e-4, atol=1e-6, err_msg=name
        )
    net.load_state_dict(back.state_dict())


def test_weights_go_into_the_network_itself():
    net, other = two_layers("LIF"), two_layers("LIF")
    x = frames(6, 3, 5)
    model, variables = interop.from_spikingjelly(net, x)
    other.load_state_dict({k: v + 1 for k, v in net.state_dict().items()})
    assert interop.to_spikingjelly(model, variables, into=other) is other
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key], value)


def test_a_program_fires_at_its_threshold_on_the_way_back():
    net = neuron.IFNode(v_threshold=1.0, step_mode="m")
    x = np.full((6, 1, 1), 0.5, np.float32)
    back = interop.to_spikingjelly(*interop.from_spikingjelly(net, x))
    assert back(torch.tensor(x)).ravel().tolist() == [0, 1, 0, 1, 0, 1]


ALIKE = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_a_network_of_snnax_spikes_the_same_above_its_threshold(beta):
    """Membranes that are exactly 1 among them, where the one fires and the other would not."""
    net = snn.Sequential([
        fnn.Dense(4), snn.Leaky(beta=beta, spike_grad=snn.surrogate.sigmoid(slope=4), **ALIKE),
        fnn.Dense(2), snn.Leaky(beta=beta, threshold=0.7, **ALIKE),
    ])  # fmt: skip
    x = np.random.default_rng(0).integers(0, 3, (12, 3, 5)).astype(np.float32) / 2
    variables = net.init(jax.random.key(0), x[0])
    kernel = jax.numpy.asarray(np.random.default_rng(1).integers(-1, 3, (5, 4)) / 2, np.float32)
    variables["params"]["layers_0"]["kernel"] = kernel
    back = interop.to_spikingjelly(net, variables, x[0])
    assert [type(m).__name__ for m in back] == ["Linear", "IFNode" if beta == 1 else "LIFNode"] * 2
    functional.reset_net(back)
    theirs = torch.stack([back(torch.tensor(frame)) for frame in x])
    ours, _ = snn.unroll(net, variables, x)
    np.testing.assert_array_equal(theirs.detach(), ours)
    assert 0 < theirs.sum() < theirs.numel()
    theirs.sum().backward()
    grads = jax.grad(lambda p: snn.unroll(net, {**variables, "params": p}, x)[0].sum())(variables["params"])
    np.testing.assert_allclose(back[0].weight.grad.T, grads["layers_0"]["kernel"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"reset_mechanism": "subtract"}, "subtracts the number at which it fires"),
        ({"reset_delay": True}, "in the step after the spike"),
        ({"learn_beta": True}, "learned"),
        ({"threshold": np.array([1.0, 2.0])}, "neuron to neuron"),
        ({"threshold": -1.0}, "not above 0"),
        ({"spike_grad": snn.surrogate.triangular()}, "no spike function"),
        ({"inhibition": True}, "inhibition"),
    ],
)
@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")
def test_what_spikingjelly_has_no_equal_of_is_refused_by_name(given, text):
    net = snn.Sequential([snn.Leaky(beta=0.5, **{**ALIKE, **given})])
    x = np.ones((1, 2), np.float32)
    with pytest.raises(ConversionError, match=text) as caught:
        interop.to_spikingjelly(net, net.init(jax.random.key(0), x), x)
    assert caught.value.node == "0"


@pytest.mark.parametrize("called", [False, True], ids=["before a call", "after one"])
def test_a_comparison_with_a_graph_says_what_to_do(called):
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    if called:
        net(torch.rand(2, 3))
    model = snn.Sequential([fnn.Dense(2), snn.Leaky(0.5, init_hidden=True)])
    x = np.ones((4, 2, 3), np.float32)
    with pytest.raises(ConversionError, match=r"LIFNode fires at its threshold.*from_spikingjelly"):
        interop.crossvalidate(net, (model, model.init(jax.random.key(0), x[0])), x)
