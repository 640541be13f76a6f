"""Rounded weights on their way: NIR has the rounded ones, our own round trips and torch those that are trained too."""

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError, NIRFileError

KEY = jax.random.key(0)
CASES = [(4, False), (3, True), (1, False), (1, True)]


def network(bits, per_channel, **flatten):
    return snn.Sequential(
        [
            snn.quantized(nn.Conv(3, (3, 3), padding="VALID", use_bias=False), bits, per_channel),
            snn.Leaky(0.9, threshold=0.3, init_hidden=True, reset_mechanism="zero", reset_delay=False),
            snn.Flatten(**flatten),
            snn.quantized(nn.Dense(4), bits, per_channel),
            snn.Leaky(0.8, init_hidden=True, output=True, reset_mechanism="zero", reset_delay=False),
        ]
    )


def frames():
    return np.random.default_rng(0).normal(size=(6, 2, 5, 5, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def built():
    found = {}
    for case in CASES:
        net = network(*case)
        found[case] = net, net.init(KEY, frames()[0])
    return found


def used(net, variables, place):
    stored = snn.integer_weights(net.layers[place], variables["params"][f"layers_{place}"])
    return stored.values * stored.scale


@pytest.mark.parametrize("case", CASES)
def test_nir_has_the_weights_that_the_network_computes_with(case, built, tmp_path):
    """Columns behind a Flatten in the order H, W, C are put into C, H, W, those that are trained as well."""
    net, variables = built[case]
    graph = interop.to_nir(net, variables, frames()[0])
    np.testing.assert_array_equal(graph.nodes["0"].weight, used(net, variables, 0).transpose(3, 2, 0, 1))
    dense = used(net, variables, 3).reshape(3, 3, 3, 4).transpose(3, 2, 0, 1).reshape(4, 27)
    np.testing.assert_array_equal(graph.nodes["3"].weight, dense)
    said = interop.losses(graph)["3"]
    assert f"rounded to {case[0]} bit" in said and "float weights that are trained are not kept" in said

    interop.write_nir(tmp_path / "net.nir", graph)
    model, read = interop.from_nir(tmp_path / "net.nir")
    assert model.members()["0"].promote_dtype == net.layers[0].promote_dtype
    np.testing.assert_array_equal(read["params"]["0"]["kernel"], variables["params"]["layers_0"]["kernel"])
    again = interop.to_nir(model, read)
    for name in ("0", "3"):
        np.testing.assert_array_equal(again.nodes[name].weight, graph.nodes[name].weight)


def test_an_edited_weight_counts_and_is_not_rounded(built):
    net, variables = built[4, False]
    graph = interop.to_nir(net, variables, frames()[0])
    graph.nodes["3"].weight = graph.nodes["3"].weight * np.float32(1.5)
    model, read = interop.from_nir(graph)
    np.testing.assert_array_equal(read["params"]["3"]["kernel"].T, graph.nodes["3"].weight)
    assert model.members()["3"].promote_dtype is nn.Dense(4).promote_dtype
    assert "3" not in interop.losses(graph)


def test_the_portable_profile_has_them_and_needs_nothing_else(built):
    net, variables = built[4, False]
    graph = interop.to_nir(net, variables, frames()[0])
    alone = snn.Sequential(net.layers[3:])
    given = {"params": {f"layers_{n - 3}": v for n, v in enumerate((variables["params"]["layers_3"],), 3)}}
    bare = interop.to_nir(alone, given, np.zeros((1, 27), np.float32), profile="portable")
    assert not bare.nodes["0"].metadata
    # the gain of the neuron is in them: levels stay as many
    assert len(np.unique(np.abs(bare.nodes["0"].weight))) == len(np.unique(np.abs(graph.nodes["3"].weight)))


@pytest.mark.parametrize("case", CASES)
def test_torch_rounds_and_trains_alike(case, built):
    net, variables = built[case]
    x = frames()
    there = interop.to_snntorch(net, variables, x[0])
    assert next(iter(there.state_dict())) == "0.weight" and {"3.weight", "3.bias"} <= set(there.state_dict())
    kernel = variables["params"]["layers_0"]["kernel"]
    np.testing.assert_array_equal(there.state_dict()["0.weight"], np.asarray(kernel).transpose(3, 2, 0, 1))
    rounded = there[0].rounded().detach().numpy()
    np.testing.assert_array_equal(rounded, used(net, variables, 0).transpose(3, 2, 0, 1))
    images = x.transpose(0, 1, 4, 2, 3)
    back, held = interop.from_snntorch(there, images[0])
    assert back.members()["3"].promote_dtype == net.layers[3].promote_dtype
    np.testing.assert_array_equal(held["params"]["0"]["kernel"], kernel)
    report = interop.crossvalidate(there, (back, held), images, gradients=True)
    assert report.agree and not report.unexplained
    assert report.gradients


def test_torch_rounds_in_double_precision_too():
    net = snn.Sequential([snn.quantized(nn.Dense(4), 4), snn.Leaky(0.8, init_hidden=True)])
    variables = net.init(KEY, np.ones((1, 3), np.float32))
    there = interop.to_snntorch(net, variables, np.ones((1, 3)), dtype=torch.float64)
    rounded = there[0].rounded().detach().numpy()
    assert rounded.dtype == np.float64
    np.testing.assert_allclose(rounded.T, used(net, variables, 0), rtol=1e-6)


class Rounds(torch.autograd.Function):
    """Four bits, straight through, as people write it."""

    @staticmethod
    def forward(ctx, weight):
        scale = weight.abs().max() / 7
        return torch.round(weight / scale) * scale

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def detached(weight):
    binary = torch.where(weight < 0, -1.0, 1.0) * weight.abs().mean()
    return weight + (binary - weight).detach()


WAYS = {
    "a function of one's own": Rounds.apply,
    "detach": detached,
    "torch, per tensor": lambda weight: torch.fake_quantize_per_tensor_affine(weight, 0.05, 0, -7, 7),
    "torch, per channel": lambda weight: torch.fake_quantize_per_channel_affine(
        weight, weight.detach().abs().amax(1) / 7, torch.zeros(len(weight), dtype=torch.int32), 0, -7, 7
    ),
}


class Own(torch.nn.Module):
    """A network that rounds its weights itself."""

    def __init__(self, way):
        import snntorch

        super().__init__()
        self.way = way
        self.fc = torch.nn.Linear(5, 4)
        self.lif = snntorch.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif(F.linear(x[step], self.way(self.fc.weight), self.fc.bias), mem)
            out.append(mem + spk)
        return torch.stack(out)


@pytest.mark.parametrize("way", WAYS)
def test_torch_networks_that_round_their_weights_are_ported(way):
    torch.manual_seed(0)
    net, x = Own(WAYS[way]), np.random.default_rng(0).normal(size=(5, 2, 5)).astype(np.float32)
    model, variables = interop.from_snntorch(net, x)
    report = interop.crossvalidate(net, (model, variables), x, gradients=True)
    assert report.agree and not report.unexplained
    np.testing.assert_array_equal(variables["params"]["fc"]["weight"], net.fc.weight.detach())
    graph = interop.to_nir(model, variables, leave_out=("before", "after"))
    (weight,) = (n.weight for n in graph.nodes.values() if isinstance(n, nir.Affine))
    levels = np.unique(np.abs(weight), axis=None if way != "torch, per channel" else 0)
    assert len(levels) <= 8
    np.testing.assert_allclose(weight, WAYS[way](net.fc.weight).detach(), rtol=3e-7)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("most", [4095, 32767])
def test_a_program_rounds_to_the_levels_that_torch_rounds_to(per_channel, most):
    """With many bits some weights are near enough to the middle of two levels that ``w * (1 / s)`` rounds otherwise."""

    def levels(weight):
        size = weight.abs().amax(1, keepdim=True) if per_channel else weight.abs().max()
        return torch.round(weight / (size / most))

    net = Own(levels)
    net.fc = torch.nn.Linear(300, 64)
    torch.manual_seed(0)
    torch.nn.init.normal_(net.fc.weight)
    x = np.eye(300, dtype=np.float32)[None, :2]
    net.forward = lambda x: levels(net.fc.weight) * x.sum()
    model, variables = interop.from_snntorch(net, x)
    found, _ = snn.unroll(model, variables, x)
    np.testing.assert_array_equal(found, levels(net.fc.weight).detach() * 2)


def test_source_says_how_they_are_rounded(built, tmp_path):
    net, variables = built[3, True]
    interop.write_source(tmp_path / "net.py", net, variables)
    text = (tmp_path / "net.py").read_text()
    assert "snn.quantized(nn.Dense(4), bits=3, per_channel=True)" in text


def test_weights_that_are_changed_in_another_way_are_refused():
    net = snn.Sequential(
        [nn.Dense(4, promote_dtype=lambda *arrays, dtype: arrays), snn.Leaky(0.8, init_hidden=True)]
    )
    variables = net.init(KEY, np.ones((1, 3), np.float32))
    with pytest.raises(ConversionError, match=r"promote_dtype=.* may change its weights"):
        interop.to_nir(net, variables, np.ones((1, 3)))


def test_a_file_may_say_nonsense(built):
    net, variables = built[4, False]
    graph = interop.to_nir(net, variables, frames()[0])
    graph.nodes["3"].metadata["snnax"] = '{"version": 1, "rounded": {"bits": 40, "per_channel": true}}'
    with pytest.raises(NIRFileError, match=r"'rounded' is .*how many bits, 1 to 16"):
        interop.from_nir(graph)


class Injected:
    """As the descriptions that Brevitas makes its layers of: an unknown name is an error of its own kind."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise LookupError(name)


def test_a_network_may_hold_what_answers_unknown_names_with_errors_of_its_own():
    torch.manual_seed(0)
    net, x = Own(Rounds.apply), np.random.default_rng(0).normal(size=(5, 2, 5)).astype(np.float32)
    net.description = Injected()
    model, variables = interop.from_snntorch(net, x)
    found, _ = snn.unroll(model, variables, x)
    np.testing.assert_allclose(found, net(torch.tensor(x)).detach(), rtol=1e-5, atol=1e-6)
