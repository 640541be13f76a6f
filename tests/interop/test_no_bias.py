"""A layer without a bias has none on any road: no parameter of zeros appears that training would move."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import nir
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
from flax import nnx
from torch import nn

import snnax
from snnax import interop
from snnax.interop import from_norse, to_norse

X, IMAGE = torch.rand(3, 4), torch.rand(3, 2, 5, 5)


def without(layer: nn.Module, *paths: str) -> nn.Module:
    for path in paths:
        home, _, name = path.rpartition(".")
        setattr(layer.get_submodule(home), name, None)
    return layer


def leaky() -> nn.Module:
    return snn.Leaky(beta=0.9, threshold=0.3, init_hidden=True)


def loop(kind: Any = snn.RLeaky, **options: Any) -> nn.Module:
    decays = {"beta": 0.9} if kind is snn.RLeaky else {"alpha": 0.5, "beta": 0.9}
    sizes = {"linear_features": 4} if "kernel_size" not in options else {}
    return without(kind(**decays, **sizes, init_hidden=True, threshold=0.4, **options), "recurrent.bias")


CONV = {"conv2d_channels": 2, "kernel_size": (3, 5)}
NETWORKS: dict[str, tuple[Callable[[], list[nn.Module]], torch.Tensor]] = {
    "RLeaky": (lambda: [nn.Linear(4, 4, bias=False), loop()], X),
    "RLeaky, fixed": (lambda: [nn.Linear(4, 4, bias=False), loop(learn_recurrent=False)], X),
    "RLeaky, convolution": (lambda: [loop(**CONV)], IMAGE),
    "RSynaptic": (lambda: [loop(snn.RSynaptic)], X),
    "RSynaptic, convolution": (lambda: [loop(snn.RSynaptic, **CONV)], IMAGE),
    "RLeaky, to zero": (lambda: [loop(reset_mechanism="zero", reset_delay=False)], X),
    "SLSTM": (
        lambda: [without(snn.SLSTM(4, 4, init_hidden=True), "lstm_cell.bias_ih", "lstm_cell.bias_hh")], X
    ),
    "SConv2dLSTM": (lambda: [without(snn.SConv2dLSTM(2, 2, 3, init_hidden=True), "conv.bias")], IMAGE),
    "Linear": (lambda: [without(nn.Linear(4, 4), "bias"), leaky()], X),
    "Conv2d": (lambda: [without(nn.Conv2d(2, 3, 3), "bias"), leaky()], IMAGE),
    "BatchNorm1d": (lambda: [without(nn.BatchNorm1d(4), "bias"), leaky()], X),
    "BatchNorm2d": (lambda: [without(nn.BatchNorm2d(2), "bias"), leaky()], IMAGE),
}  # fmt: skip


def built(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(*NETWORKS[name][0]()).eval()


def has_bias(tree: Any) -> bool:
    return any(
        "bias" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_no_bias_stays_no_bias(name: str, tmp_path: Path):
    net, x = built(name), NETWORKS[name][1]
    names = [n for n, _ in net.named_parameters()]
    model, variables = interop.from_snntorch(net, x)
    assert not has_bias(variables)

    graph = interop.to_nir(model, variables, x.numpy())
    again, others = interop.from_nir(graph)
    assert not has_bias(others)
    interop.write_nir(tmp_path / "net.nir", graph, extensions=True)
    read, stored = interop.from_nir(tmp_path / "net.nir")
    assert not has_bias(stored)
    fresh = model.init(jax.random.key(0), x.numpy())
    assert jax.tree.map(np.shape, dict(fresh["params"])) == jax.tree.map(np.shape, dict(variables["params"]))

    for m, v in ((model, variables), (again, others), (read, stored)):
        assert [n for n, _ in interop.to_snntorch(m, v).named_parameters()] == names
    bridge = snnax.nnx.Network(model, x.numpy(), variables=variables)
    assert not has_bias(nnx.to_pure_dict(nnx.state(bridge)))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_way_back_loads_into_the_network_that_was_ported(name: str, tmp_path: Path):
    net, x, other = built(name), NETWORKS[name][1], built(name, seed=1)
    with torch.no_grad():
        other(x)  # its states have shapes now
    model, variables = interop.from_snntorch(net, x)
    state = interop.to_state_dict(model, variables, x.numpy())
    other.load_state_dict({k: torch.tensor(np.array(v)) for k, v in state.items()})
    for key, value in net.named_parameters():
        assert torch.equal(other.get_parameter(key), value)
    interop.save_safetensors(tmp_path / "net.safetensors", model, variables, x.numpy())
    loaded = interop.load_safetensors(tmp_path / "net.safetensors", model, variables, x.numpy())
    assert not has_bias(loaded)
    into = built(name, seed=2)
    assert interop.to_snntorch(model, variables, into=into) is into
    for key, value in net.named_parameters():
        assert torch.equal(into.get_parameter(key), value)


@pytest.mark.parametrize("name", ["RLeaky", "RSynaptic, convolution", "RLeaky, fixed"])
def test_written_sources_have_no_bias(name: str, tmp_path: Path):
    net, x = built(name), NETWORKS[name][1]
    model, variables = interop.from_snntorch(net, x)
    interop.write_source(tmp_path / "net.py", model, variables)
    assert "recurrent_bias=False" in (tmp_path / "net.py").read_text()
    assert not has_bias(runpy.run_path(str(tmp_path / "net.py"))["build"]()[1])


@pytest.mark.parametrize("bias", [False, True], ids=["without", "with"])
def test_norse_and_back(bias: bool):
    """Also a bias that is zero, which is one to be trained."""
    net = built("RLeaky, to zero")
    if bias:
        net[0].recurrent.bias = nn.Parameter(torch.zeros(4))
    model, variables = interop.from_snntorch(net, X)
    back = from_norse(to_norse(model, variables, X.numpy(), surrogate="super"), X)
    assert has_bias(back[1]) == has_bias(variables) == bias


@pytest.mark.parametrize("name", ["RLeaky", "RSynaptic, convolution"])
def test_the_port_computes_the_same(name: str):
    net, x = built(name), NETWORKS[name][1]
    frames = torch.rand(6, *x.shape, generator=torch.Generator().manual_seed(0)) * 2
    assert interop.crossvalidate(net, interop.from_snntorch(net, x), frames).agree


def test_a_linear_node_on_a_loop_has_no_bias():
    one = np.ones(4)
    neuron = nir.LIF(tau=1e-3 * one, r=10 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)
    nodes = {
        "input": nir.Input(np.array([4])),
        "n": neuron,
        "rec": nir.Linear(0.1 * np.ones((4, 4))),
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "n"), ("n", "rec"), ("rec", "n"), ("n", "output")]
    model, variables = interop.from_nir(nir.NIRGraph(nodes, edges), dt=1e-4)
    assert "recurrent" in variables["params"]["n"] and not has_bias(variables)
    assert isinstance(interop.to_nir(model, variables).nodes["n.w_rec"], nir.Linear)
