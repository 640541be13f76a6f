"""What is ported is what a call computes, whether hooks, parametrizations, ``forward`` or a new method change it."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
import torch.nn.functional as F
from helpers.torch_sides import snntorch_graph as graph_of
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import snnax
from snnax import interop
from snnax.errors import ConversionError

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")


# How a weight is computed, by the kind of layer ----------------------------------------------------------


class Sign(nn.Module):
    def forward(self, w):
        return w.sign() * 0.3


class Half(nn.Module):
    def forward(self, w):
        return w * 0.5


def by_hook(change: Callable[[nn.Module, str], None]) -> Callable[[nn.Module, str], Any]:
    def apply(layer: nn.Module, name: str) -> Any:
        return layer.register_forward_pre_hook(lambda module, args: change(module, name))

    return apply


def signed(module: nn.Module, name: str) -> None:
    tensor = getattr(module, name)
    tensor.data = tensor.data.sign() * 0.3


def recomputed(module: nn.Module, name: str) -> None:
    """The parameter moves aside, and each call computes the weight from it."""
    if name in module._parameters:
        module.register_parameter(f"raw_{name}", module._parameters.pop(name))
    setattr(module, name, module._parameters[f"raw_{name}"] * 0.5)


def masked(layer: nn.Module, name: str) -> Any:
    mask = torch.arange(getattr(layer, name).numel()).reshape(getattr(layer, name).shape) % 2
    return prune.custom_from_mask(layer, name, mask)


def stacked(layer: nn.Module, name: str) -> None:
    parametrize.register_parametrization(layer, name, Half())
    parametrize.register_parametrization(layer, name, Sign())


WAYS: dict[str, Callable[[nn.Module, str], Any]] = {
    "weight_norm hook": lambda m, n: nn.utils.weight_norm(m, n),
    "weight_norm": lambda m, n: parametrizations.weight_norm(m, n),
    "spectral_norm hook": lambda m, n: nn.utils.spectral_norm(m, n),
    "spectral_norm": lambda m, n: parametrizations.spectral_norm(m, n),
    "orthogonal": lambda m, n: parametrizations.orthogonal(m, n),
    "l1_unstructured": lambda m, n: prune.l1_unstructured(m, n, amount=0.5),
    "random_unstructured": lambda m, n: prune.random_unstructured(m, n, amount=0.4),
    "ln_structured": lambda m, n: prune.ln_structured(m, n, amount=0.5, n=2, dim=0),
    "custom_from_mask": masked,
    "global_unstructured": lambda m, n: prune.global_unstructured([(m, n)], prune.L1Unstructured, amount=0.3),
    "pruned twice": lambda m, n: [prune.l1_unstructured(m, n, amount=0.3), masked(m, n)],
    "own parametrization": lambda m, n: parametrize.register_parametrization(m, n, Sign()),
    "two parametrizations": stacked,
    "own pre-hook": by_hook(signed),
    "recomputing pre-hook": by_hook(recomputed),
}


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).eval()


def leaky(**options: Any) -> nn.Module:
    return snn.Leaky(beta=0.9, threshold=0.3, init_hidden=True, **options)


X, IMAGE, SERIES = torch.rand(3, 8), torch.rand(3, 2, 5, 5), torch.rand(3, 2, 9)
LAYERS: dict[str, tuple[Callable[[], nn.Module], torch.Tensor, str, str]] = {
    "Linear": (lambda: chain(nn.Linear(8, 6), leaky()), X, "0", "weight"),
    "Conv2d": (lambda: chain(nn.Conv2d(2, 4, 3), leaky()), IMAGE, "0", "weight"),
    "Conv1d": (lambda: chain(nn.Conv1d(2, 4, 3), leaky()), SERIES, "0", "weight"),
    "loop": (
        lambda: chain(snn.RLeaky(beta=0.9, linear_features=8, init_hidden=True)), X, "0.recurrent", "weight"
    ),
    "loop of RSynaptic": (
        lambda: chain(snn.RSynaptic(alpha=0.5, beta=0.9, conv2d_channels=2, kernel_size=3, init_hidden=True)),
        IMAGE, "0.recurrent", "weight",
    ),
    "SLSTM": (lambda: chain(snn.SLSTM(8, 8, init_hidden=True)), X, "0.lstm_cell", "weight_hh"),
    "SConv2dLSTM": (
        lambda: chain(snn.SConv2dLSTM(2, 2, 3, init_hidden=True)), IMAGE, "0.conv", "weight"
    ),
}  # fmt: skip
NUMBERS: dict[str, tuple[Callable[[], nn.Module], torch.Tensor, str, str]] = {
    "scale of a norm": (lambda: chain(nn.BatchNorm1d(8), leaky()), X, "0", "weight"),
    "bias of a norm": (lambda: chain(nn.BatchNorm2d(2), leaky()), IMAGE, "0", "bias"),
    "bias": (lambda: chain(nn.Linear(8, 6), leaky()), X, "0", "bias"),
    "beta": (lambda: chain(leaky(learn_beta=True)), X, "0", "beta"),
    "threshold": (lambda: chain(leaky(learn_threshold=True)), X, "0", "threshold"),
}
_ON_NUMBERS = ("own parametrization", "two parametrizations", "own pre-hook")
TABLE = [(way, layer) for layer in LAYERS for way in WAYS] + [(w, n) for n in NUMBERS for w in _ON_NUMBERS]
_FRESH = ("recomputing pre-hook",)  # has other parameters once it ran


def built(way: str, layer: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    make, _, path, name = {**LAYERS, **NUMBERS}[layer]
    net = make()
    WAYS[way](net.get_submodule(path), name)
    return net.eval()


def plain(way: str, layer: str, net: nn.Module) -> nn.Module:
    """The same network without hooks and parametrizations, with the weight as a run of ``net`` leaves it."""
    make, x, path, name = {**LAYERS, **NUMBERS}[layer]
    ran, bare = built(way, layer, 1), make().eval()
    ran.load_state_dict(net.state_dict())
    with torch.no_grad():
        ran(x)
        effective = getattr(ran.get_submodule(path), name).detach().clone()
        others = {k: v for k, v in ran.state_dict().items() if k in bare.state_dict()}
        bare.load_state_dict(others, strict=False)
        getattr(bare.get_submodule(path), name).copy_(effective)
    return bare


def arrays(graph: Any) -> dict[str, np.ndarray]:
    return {
        f"{name}.{key}": value
        for name, node in graph.nodes.items()
        for key, value in {**vars(node), **getattr(node, "arrays", {})}.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }


def contents(net: nn.Module) -> dict[str, Any]:
    """All that a user may look at in a module."""
    found: dict[str, Any] = {}
    for path, module in net.named_modules():
        for key, value in vars(module).items():
            entries = value if isinstance(value, dict) else {"": value}
            for inner, thing in entries.items():
                kept = thing.detach().clone() if isinstance(thing, torch.Tensor) else thing
                found[f"{path}:{key}:{inner}"] = (id(thing), kept)
    return found


def check_untouched(net: nn.Module, before: dict[str, Any]) -> None:
    after = contents(net)
    assert after.keys() == before.keys()
    for key, (identity, value) in before.items():
        assert after[key][0] == identity, key
        if isinstance(value, torch.Tensor):
            assert torch.equal(after[key][1], value), key


@pytest.mark.parametrize(("way", "layer"), TABLE)
def test_a_computed_weight_arrives_as_the_call_computes_it(way: str, layer: str):
    """Also after a checkpoint was loaded, when what the module holds is not what the call will compute."""
    x = {**LAYERS, **NUMBERS}[layer][1]
    trained, net = built(way, layer, 0), built(way, layer, 1)
    net.load_state_dict(trained.state_dict())
    before = contents(net)
    found, expected = arrays(graph_of(net, x)), arrays(graph_of(plain(way, layer, net), x))
    check_untouched(net, before)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, key)


@pytest.mark.parametrize("way", WAYS)
def test_the_port_fires_and_is_cross_validated(way: str):
    net = built(way, "Linear", 0)
    x = torch.rand(6, 3, 8, generator=torch.Generator().manual_seed(1))
    model, variables = interop.from_snntorch(net, x[0])
    report = interop.crossvalidate(net, (model, variables), x)
    assert report.agree and report.layers


# What forward changes ------------------------------------------------------------------------------------


class Looped(nn.Module):
    """``change(net, t, x)`` before each step of a loop over time."""

    calls = 0

    def __init__(self, change: Callable[[Any, int, torch.Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.change = change
        self.fc, self.norm, self.drop = nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout(0.2)
        self.lif = snn.Leaky(beta=0.9, threshold=0.2, learn_threshold=True)
        self.loop = snn.RLeaky(beta=0.8, linear_features=6)
        self.register_buffer("mask", (torch.rand(6, 8) < 0.5).float())
        self.register_buffer("count", torch.zeros(1))
        self.banks = [torch.randn(6, 8), torch.randn(6, 8)]
        self.pool = nn.AvgPool1d(2)
        self.gain, self.steps, self.kept = 2.0, 0, []
        self.marks, self.schedule = [], iter([2.0] * 40 + [1.0] * 40)

    def start(self) -> tuple[Any, ...]:
        return (self.lif.reset_mem(), *self.loop.reset_mem())

    def step(self, x, mem, spk2, mem2):
        current = self.norm(self.fc(x)) * self.gain
        spk, mem = self.lif(self.drop(current), mem)
        spk2, mem2 = self.loop(spk, spk2, mem2)
        return self.pool(spk2[:, None]).flatten(1), mem, spk2, mem2

    def forward(self, x):
        states, out = self.start(), []
        for t in range(len(x)):
            self.change(self, t, x[t])
            spk, *states = self.step(x[t], *states)
            out.append(spk)
        return torch.stack(out)


class Stepped(Looped):
    """The same, one step for each call, states handed on."""

    def forward(self, x, mem, spk2, mem2):
        self.change(self, sum(1 for _ in self.kept), x)
        return self.step(x, mem, spk2, mem2)


def assigned(path: str, value: Callable[[Any, int], Any]) -> Callable[[Any, int, Any], None]:
    """Sets an attribute of a module to ``value(net, t)``."""
    home, _, name = path.rpartition(".")
    return lambda n, t, x: setattr(n.get_submodule(home), name, value(n, t))


def in_place(path: str, change: Callable[[torch.Tensor, int], Any]) -> Callable[[Any, int, Any], None]:
    """Changes a tensor of a module by ``change(tensor, t)``."""
    home, _, name = path.rpartition(".")
    return lambda n, t, x: change(getattr(n.get_submodule(home), name).data, t)


def laundered(n, t, x):
    n.fc.weight = nn.Parameter(n.banks[0] * x.mean())


def counted(n, t, x):
    n.steps += 1
    n.lif.beta = torch.tensor(0.5 if n.steps > 40 else 0.9)


def counted_in_a_buffer(n, t, x):
    n.count += 1
    n.gain = 2.0 if n.count < 40 else 1.0


def counted_in_a_list(n, t, x):
    n.marks.append(None)
    n.gain = 2.0 if len(n.marks) < 40 else 1.0


def counted_in_the_class(n, t, x):
    type(n).calls += 1
    n.gain = 2.0 if type(n).calls % 1000 < 990 else 1.0


def counted_by_an_iterator(n, t, x):
    n.gain = next(n.schedule)


STEADY: dict[str, Callable[[Any, int, Any], Any]] = {
    "nothing": lambda n, t, x: None,
    "mask in place": lambda n, t, x: n.fc.weight.data.mul_(n.mask),
    "clamped threshold": in_place("lif.threshold", lambda d, t: d.clamp_(min=0.5)),
    "replaced by equal ones": assigned("fc.weight", lambda n, t: nn.Parameter(n.banks[0].clone())),
    "set to a constant": assigned("lif.beta", lambda n, t: torch.tensor(0.4)),
    "loop without diagonal": in_place("loop.recurrent.weight", lambda d, t: d.fill_diagonal_(0)),
    "factor": lambda n, t, x: setattr(n, "gain", 3.0),
    "kept outputs": lambda n, t, x: n.kept.append(x.sum()),
    "sum kept on the side": lambda n, t, x: setattr(n, "total", getattr(n, "total", 0) + x.sum()),
}
UNSTEADY: dict[str, tuple[Callable[[Any, int, Any], Any], str]] = {
    "other sign": (assigned("fc.weight", lambda n, t: nn.Parameter(n.fc.weight * -1)), "'fc'|weight"),
    "banks": (assigned("fc.weight", lambda n, t: nn.Parameter(n.banks[t % 2])), "'fc'|weight"),
    "plain tensor": (
        lambda n, t, x: (n.fc._parameters.pop("weight", None), vars(n.fc).update(weight=n.banks[t % 2])),
        "'fc'|weight",
    ),
    "decay in place": (in_place("fc.weight", lambda d, t: d.mul_(0.9)), "'fc'|weight"),
    "bias taken away": (assigned("fc.bias", lambda n, t: None if t % 2 else nn.Parameter(torch.ones(6))), "'fc'|bias"),
    "beta": (assigned("lif.beta", lambda n, t: torch.tensor(0.5 if t % 2 else 0.95)), "'lif'|beta"),
    "threshold": (in_place("lif.threshold", lambda d, t: d.add_(0.1)), "'lif'|threshold"),
    "graded spikes": (
        assigned("lif.graded_spikes_factor", lambda n, t: torch.tensor(1.0 + t % 2)), "'lif'|graded_spikes_factor"
    ),
    "switch of the neuron": (assigned("lif.inhibition", lambda n, t: bool(t % 2)), "'lif'|inhibition"),
    "loop": (in_place("loop.recurrent.weight", lambda d, t: d.mul_(-1)), "'loop'|weight"),
    "running mean": (in_place("norm.running_mean", lambda d, t: d.add_(0.1)), "'norm'|running_mean"),
    "eps": (assigned("norm.eps", lambda n, t: 1e-5 * (1 + t % 2)), "'norm'|eps"),
    "dropout": (assigned("drop.p", lambda n, t: 0.1 * (1 + t % 2)), "'drop'|changes its p"),
    "factor": (lambda n, t, x: setattr(n, "gain", n.gain * 0.9), "scale|1.8;gain|1.8"),
    "pooling": (assigned("pool.count_include_pad", lambda n, t: t % 2 == 0), "'pool'|count_include_pad"),
    "computed from the input": (laundered, "'fc'|weight"),
    "computed from a signal": (
        lambda n, t, x: setattr(n.lif, "graded_spikes_factor", 1.0 + x.mean()), "'lif'|graded_spikes_factor|signal"
    ),
    "counter": (counted, "'Looped'|steps"),
    "counter in a list": (counted_in_a_list, "'Looped'|marks.length"),
    "counter in the class": (counted_in_the_class, "'Looped'|calls"),
    "iterator": (counted_by_an_iterator, "'Looped'|schedule.rest"),
    "counter in a buffer": (counted_in_a_buffer, "'Looped'|count"),
}  # fmt: skip
SEQUENCE = (torch.rand(6, 3, 8, generator=torch.Generator().manual_seed(3)) < 0.5).float()


def run_of(kind: type, change: Any, train: bool = False) -> tuple[nn.Module, Any, tuple[torch.Tensor, ...]]:
    """A network, what from_snntorch takes, and its outputs."""
    net, ran = kind(change).eval(), kind(change).eval()
    with torch.no_grad():
        if kind is Looped:
            return net, SEQUENCE, (ran(SEQUENCE),)
        states, rows = ran.start(), []
        for x in SEQUENCE:
            spk, *states = ran(x, *states)
            rows.append((spk, *states))
    zeros = tuple(torch.zeros(3, 6) for _ in range(3))
    return net, (SEQUENCE[0], *zeros), tuple(map(torch.stack, zip(*rows, strict=True)))


@pytest.mark.parametrize("kind", [Looped, Stepped])
@pytest.mark.parametrize("name", STEADY)
def test_what_every_call_computes_is_ported(name: str, kind: type):
    net, sample, expected = run_of(kind, STEADY[name])
    before = contents(net)
    model, variables = interop.from_snntorch(net, sample)
    check_untouched(net, before)
    found, _ = snnax.unroll(model, variables, SEQUENCE.numpy())
    found = found if isinstance(found, tuple) else (found,)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", [Looped, Stepped])
@pytest.mark.parametrize("name", UNSTEADY)
def test_what_calls_compute_differently_is_refused_by_name(name: str, kind: type):
    change, words = UNSTEADY[name]

    def counting(n, t, x):
        change(n, t, x)
        n.kept.append(x)

    net = kind(counting).eval()
    zeros = () if kind is Looped else tuple(torch.zeros(3, 6) for _ in range(3))
    before = contents(net)
    with pytest.raises(ConversionError) as caught:
        graph_of(net, (SEQUENCE if kind is Looped else SEQUENCE[0], *zeros))
    check_untouched(net, before)
    message = str(caught.value).replace("'Stepped'", "'Looped'").replace("'loop.recurrent'", "'loop'")
    assert any(all(word in message for word in way.split("|")) for way in words.split(";")), message
    with pytest.raises(ConversionError):
        interop.crossvalidate(net, net, SEQUENCE)


# Methods that are replaced, and hooks --------------------------------------------------------------------


def two(net_of: Callable[[], nn.Module] = lambda: chain(nn.Linear(8, 6), leaky())) -> nn.Module:
    torch.manual_seed(0)
    return net_of()


def scaled(old: Any) -> Any:
    return lambda *args: old(*args) * 2


def bound(net: nn.Module, path: str, name: str, function: Any) -> None:
    module = net.get_submodule(path)
    setattr(module, name, types.MethodType(function, module))


class Doubled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2


class Named(snn.Leaky):
    """A subclass that computes what snnTorch's class does."""


class Fires(snn.Leaky):
    def fire(self, mem):
        return super().fire(mem * 2)


class Resets(snn.Leaky):
    def _base_sub(self, input_):
        return super()._base_sub(input_ * 2)


def in_class(net: nn.Module) -> nn.Module:
    class Patched(snn.Leaky):
        pass

    Patched.mem_reset = lambda self, mem: mem * 0
    net[1] = Patched(beta=0.9, threshold=0.3, init_hidden=True)
    return net


def another(net: nn.Module) -> None:
    net[1].state_function = leaky(reset_mechanism="zero").state_function


def clamped(module, args, out) -> None:
    module.mem.clamp_(0, 1)


def shrunk(module, args, out) -> None:
    module.weight.data.mul_(0.9)


def forgot(module, args, out) -> None:
    module.reset_mem()


def halved(net) -> None:
    net[0].weight.data.mul_(0.5)


# ``None``: the port computes what the network does; otherwise the words of the refusal.
PATCHES: dict[str, tuple[Callable[[nn.Module], Any], str | None]] = {
    "forward, scaled": (lambda n: setattr(n[0], "forward", scaled(n[0].forward)), None),
    "forward, bound": (lambda n: bound(n, "0", "forward", lambda m, x: F.linear(x, m.weight) * 0.5), None),
    "forward, by a closure": (
        lambda n: setattr(n[0], "forward", lambda x, fc=n[0]: F.linear(x, fc.weight, fc.bias) * 3), None
    ),
    "forward of the network": (lambda n: bound(n, "", "forward", lambda m, x: m[1](m[0](x) * 2)), None),
    "subclass of Linear": (lambda n: n.__setitem__(0, Doubled(8, 6)), None),
    "binarised weights": (
        lambda n: bound(n, "0", "forward", lambda m, x: F.linear(x, m.weight.sign())), "'0'|weight|linear"
    ),
    "forward of the neuron": (lambda n: setattr(n[1], "forward", scaled(n[1].forward)), "'1'|forward was replaced"),
    "fire": (lambda n: setattr(n[1], "fire", lambda mem: (mem > 0.7).float()), "'1'|fire was replaced"),
    "fire, bound": (lambda n: bound(n, "1", "fire", lambda m, mem: (mem > 0.7).float()), "'1'|fire was replaced"),
    "mem_reset": (lambda n: setattr(n[1], "mem_reset", lambda mem: 0 * mem), "'1'|mem_reset was replaced"),
    "reset_mem": (lambda n: setattr(n[1], "reset_mem", lambda: None), "'1'|reset_mem was replaced"),
    "state function": (
        lambda n: setattr(n[1], "state_function", lambda x: n[1].mem * 0.5 + x), "'1'|state_function was replaced"
    ),
    "state function of another": (another, "'1'|state_function was replaced"),
    "base state function": (
        lambda n: setattr(n[1], "_base_state_function", lambda x: n[1].mem + x), "'1'|_base_state_function"
    ),
    "spike_grad": (lambda n: setattr(n[1], "spike_grad", lambda x: (x > 0.2).float()), "'1'|spike_grad"),
    "spike_grad without surrogate": (
        lambda n: (setattr(n[1], "surrogate_disable", True), setattr(n[1], "spike_grad", lambda x: (x > 0.2).float())),
        "'1'|spike_grad was replaced",
    ),
    "subclass, fire": (
        lambda n: n.__setitem__(1, Fires(beta=0.9, init_hidden=True)), "'1'|Fires overrides fire"
    ),
    "subclass, update": (
        lambda n: n.__setitem__(1, Resets(beta=0.9, init_hidden=True)), "'1'|Resets overrides _base_sub"
    ),
    "subclass, patched": (in_class, "'1'|Patched overrides mem_reset"),
    "hook that observes": (lambda n: n[1].register_forward_hook(lambda m, a, out: None), None),
    "hook on the output": (lambda n: n[0].register_forward_hook(lambda m, a, out: out * 2), None),
    "hook in place": (lambda n: n[0].register_forward_hook(lambda m, a, out: out.mul_(2)), None),
    "hook on the input": (lambda n: n[0].register_forward_pre_hook(lambda m, a: (a[0] * 2,)), None),
    "hook on the spikes": (lambda n: n[1].register_forward_hook(lambda m, a, out: out * 0.5), None),
    "hook on the network": (lambda n: n.register_forward_pre_hook(lambda m, a: (a[0] * 0.5,)), None),
    "hook of a kind unknown": (
        lambda n: n[0].register_forward_hook(lambda m, a, out: out.clamp(0, 1)), "clamp|test_held.py:"
    ),
    "hook with a constant": (
        lambda n: n[0].register_forward_hook(lambda m, a, out: torch.ones_like(out)), "not computed from the sample"
    ),
    "hook on the state": (
        lambda n: n[1].register_forward_hook(clamped), "'1'|hidden mem is not kept|clamp"
    ),
    "hook that resets": (
        lambda n: n[1].register_forward_hook(forgot), "'1'|hidden mem is not kept"
    ),
    "hook on the weights": (
        lambda n: n[0].register_forward_hook(shrunk), "'0'|weight"
    ),
    "gradient hook": (
        lambda n: n[0].register_full_backward_hook(lambda m, i, o: (i[0] * 2,)), "'0'|backward hook|handle.remove()"
    ),
    "gradient hook of a weight": (lambda n: n[0].weight.register_hook(lambda g: g * 2), "'0'|gradient of weight"),
    "spectral norm in training": (
        lambda n: (nn.utils.spectral_norm(n[0]), n.train()), "'0'|weight|net.eval()"
    ),
    "hook that names the network": (
        lambda n: n[0].register_forward_pre_hook(lambda m, a: halved(n)),
        "'0'|changed weight of the network itself",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PATCHES)
def test_replaced_methods_and_hooks(name: str):
    patch, words = PATCHES[name]
    net, ran = two(), two()
    for each in (net, ran):
        torch.manual_seed(1)
        patch(each.eval() if "training" not in name else each)
    x = (torch.rand(6, 3, 8, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    before = contents(net)
    if words is not None:
        with pytest.raises(ConversionError) as caught:
            graph_of(net, x[0])
        check_untouched(net, before)
        assert all(word in str(caught.value) for word in words.split("|")), str(caught.value)
        with contextlib.suppress(ConversionError):
            interop.crossvalidate(net, net, x)
        check_untouched(net, before)
        return
    model, variables = interop.from_snntorch(net, x[0])
    assert interop.crossvalidate(net, (model, variables), x).agree
    check_untouched(net, before)
    with torch.no_grad():
        expected = torch.stack([ran(frame) for frame in x]).numpy()
    assert expected.any()
    np.testing.assert_array_equal(np.asarray(snnax.unroll(model, variables, x.numpy())[0]), expected)
