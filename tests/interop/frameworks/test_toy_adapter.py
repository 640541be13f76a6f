"""Adding a framework is one adapter: that of a neuron of this test's own, with which networks port and come back."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import flax.linen as fnn
import jax
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.frameworks import LABELS
from snnax.interop.frameworks.adapter import Adapter
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.arrays import array
from snnax.interop.torch.graph_reader import from_torch
from snnax.interop.torch.side import torch_side
from snnax.interop.torch.writing import to_torch


class Home(nn.Module):
    """A home-made neuron: it leaks, fires above its threshold, and subtracts that in the next step."""

    def __init__(self, beta: float, threshold: float) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.as_tensor(beta))
        self.register_buffer("threshold", torch.as_tensor(threshold))
        self.mem = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One step on ``[B, N]``."""
        mem = torch.zeros_like(x) if self.mem is None else self.mem
        reset = (mem - self.threshold > 0).float()
        self.mem = self.beta * mem + x - reset * self.threshold
        return (self.mem - self.threshold > 0).float()


class HomeMade(Adapter):
    """All that snnax has to know of it."""

    label = "home-made"

    def is_neuron(self, module: Any) -> bool:
        """There is one class of neurons."""
        return isinstance(module, Home)

    def states(self, module: Any) -> tuple[str, ...]:
        """The attribute in which it is kept."""
        return ("mem",) if self.is_neuron(module) else ()

    def spec_of(self, name: str, module: Any, used: bool) -> NeuronSpec:
        """It computes what Leaky does."""
        values = {"beta": array(module.beta), "threshold": array(module.threshold)}
        values["graded_spikes_factor"] = np.ones(())
        return NeuronSpec("Leaky", values, ("beta",), {"reset_mechanism": "subtract", "reset_delay": True})

    def build(self, name: str, spec: NeuronSpec, wide: bool) -> nn.Module:
        """Only that."""
        if spec.kind != "Leaky" or spec.reset_mechanism != "subtract":
            raise ConversionError(name, f"no home-made neuron computes this {spec.kind}", "Use Leaky.")
        return Home(spec.values["beta"], spec.values["threshold"])


ADAPTER = HomeMade()


class Looping(nn.Module):
    """A network with its loop over time and a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.lif1 = nn.Linear(5, 4), Home(0.9, 0.5)
        self.second, self.lif2 = nn.Linear(4, 4), Home(0.7, 0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        rows = []
        for t in range(x.size(0)):
            hidden = self.lif1(self.first(x[t]))
            rows.append(self.lif2(self.second(hidden) + hidden))
        return torch.stack(rows)


def _chain() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), Home(0.9, 0.5), nn.Linear(4, 3), Home(0.8, 0.3))


@pytest.mark.parametrize("build", [_chain, Looping])
def test_a_home_made_framework_ports_runs_is_proved_and_comes_back(build: Any):
    torch.manual_seed(0)
    net, x = build(), np.random.default_rng(0).random((12, 3, 5), np.float32)
    net(torch.tensor(x if build is Looping else x[0]))  # leaves states behind, from which nothing may start
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model, variables = from_torch(net, x if build is Looping else x[0], ADAPTER)
    side = torch_side(net, x, ADAPTER)
    report = interop.crossvalidate(side, (model, variables), x, gradients=False)
    assert report.agree and len(report.layers) == 2, report
    assert all(trace.spk.sum() for trace in side.run(x).nodes.values())
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    back = to_torch(model, variables, x[0], ADAPTER)
    assert back.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in back.state_dict().items())
    assert interop.crossvalidate(torch_side(back, x, ADAPTER), side, x).agree


def test_a_neuron_that_computes_something_else_is_found():
    torch.manual_seed(0)
    net, x = _chain(), np.random.default_rng(0).random((12, 3, 5), np.float32)
    model, variables = from_torch(net, x[0], ADAPTER)
    net[1].threshold += 0.2
    report = interop.crossvalidate(torch_side(net, x, ADAPTER), (model, variables), x)
    assert not report.agree
    assert next((layer.name, layer.status) for layer in report.layers) == ("1", "unexplained")


@pytest.mark.parametrize("package", LABELS)
def test_the_frameworks_go_the_same_way(package: str):
    pytest.importorskip(package)
    adapter = import_module(f"snnax.interop.frameworks.{package}").ADAPTER
    if (type(adapter).build, type(adapter).network) == (Adapter.build, Adapter.network):
        pytest.skip(f"networks of {adapter.label} are only read")
    if package == "spikingjelly":
        pytest.skip(f"networks of {adapter.label} are programs of all steps: test_spikingjelly")
    model = snn.Sequential(
        [fnn.Dense(3), snn.Leaky(beta=0.9, reset_mechanism="zero", reset_delay=False, init_hidden=True)]
    )
    x = np.random.default_rng(0).random((6, 3, 5), np.float32)
    variables = model.init(jax.random.key(0), x[0])
    net = to_torch(model, variables, x[0], adapter)
    assert interop.crossvalidate(net, from_torch(net, x[0], adapter), x).agree


def test_a_framework_may_be_read_only():
    class ReadOnly(HomeMade):
        build = Adapter.build

    model, variables = from_torch(_chain(), torch.ones(1, 5), ADAPTER)
    with pytest.raises(ConversionError, match="does not build neurons of home-made"):
        to_torch(model, variables, np.ones((1, 5), np.float32), ReadOnly())


def test_errors_are_in_its_words():
    with pytest.raises(ConversionError, match="no home-made neuron"):
        from_torch(nn.Linear(5, 4), torch.ones(1, 5), ADAPTER)
