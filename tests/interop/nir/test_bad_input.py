"""Bad input: each a clear error that names the module and the remedy, and nothing half-done."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snt = pytest.importorskip("snntorch")

from helpers.torch_sides import snntorch_graph  # noqa: E402
from torch import nn  # noqa: E402

import snnax as snn  # noqa: E402
from snnax import interop  # noqa: E402
from snnax.errors import (  # noqa: E402
    ArgumentError,
    ConversionError,
    ShapeError,
    SnnaxError,
    StateError,
    TrainingModeError,
)

SAMPLE = np.ones((2, 3), np.float32)


def _net(*middle, last=None):
    return nn.Sequential(nn.Linear(3, 4), *middle, last or snt.Leaky(beta=0.9, init_hidden=True)).eval()


def _nan():
    net = _net()
    with torch.no_grad():
        net[0].weight[1, 2] = float("nan")
    return net


class Custom(nn.Module):
    def forward(self, x):
        return x.clamp(0, 1)


class OwnLeaky(snt.Leaky):
    def forward(self, x, mem=None):
        return super().forward(2 * x, mem)


def _relabelled():
    lif = snt.Leaky(beta=0.9, init_hidden=True)
    lif.reset_mechanism = "zero"
    return _net(last=lif)


REFUSED = {
    "unsupported module": (lambda: _net(nn.ReLU()), ConversionError, "'1'", "ReLU"),
    "unsupported operation": (lambda: _net(Custom()), ConversionError, "clamp", "outside the network"),
    "transposed convolution": (lambda: _net(nn.ConvTranspose1d(4, 4, 1)), SnnaxError, "1", "ConvTranspose1d"),
    "nan weights": (_nan, ConversionError, "'0'", "weight"),
    "training mode": (lambda: _net(nn.Dropout(0.5)).train(), TrainingModeError, "'1'", "eval()"),
    "training batch norm": (lambda: _net(nn.BatchNorm1d(4)).train(), TrainingModeError, "'1'", "eval()"),
    "no neuron": (lambda: nn.Sequential(nn.Linear(3, 4)).eval(), ConversionError, "neuron", "snntorch"),
    "neuron of the user's": (lambda: _net(last=OwnLeaky(0.9, init_hidden=True)), ConversionError, "'1'", "OwnLeaky"),
    "other neuron": (
        lambda: _net(last=snt.SLSTM(4, 3, init_hidden=True)), ConversionError, "'1'", "from_state_dict",
    ),
    "reset label changed": (_relabelled, ConversionError, "'1'", "construction"),
    "ceil mode": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.MaxPool1d(2, ceil_mode=True), nn.Flatten(), nn.Linear(2, 4),
                              snt.Leaky(0.9, init_hidden=True)).eval(),
        ConversionError, "'1'", "ceil_mode",
    ),
    "own surrogate": (
        lambda: _net(last=snt.Leaky(0.9, init_hidden=True, spike_grad=lambda x: (x > 0).float())),
        ConversionError, "'1'", "spike_grad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_module_and_remedy(case):
    build, kind, name, remedy = REFUSED[case]
    net = build()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(kind) as caught:
        snntorch_graph(net, SAMPLE)
    assert name in str(caught.value) and remedy in str(caught.value)
    assert isinstance(caught.value, SnnaxError)
    assert all(torch.equal(v, before[k]) or torch.isnan(v).any() for k, v in net.state_dict().items())


def test_wrong_sample_shape_names_the_layer():
    with pytest.raises(ShapeError, match=r"'0'"):
        interop.from_snntorch(_net(), np.ones((2, 7), np.float32))


def test_batch_size_change_needs_a_reset():
    model, variables = interop.from_snntorch(_net(), SAMPLE)
    _, updates = snn.unroll(model, variables, np.ones((5, 2, 3), np.float32))
    with pytest.raises(StateError, match="hidden"):
        snn.unroll(model, {**variables, **updates}, np.ones((5, 4, 3), np.float32))
    snn.unroll(model, variables, np.ones((5, 4, 3), np.float32))


def test_sides_that_are_no_networks():
    x = np.ones((3, 2, 3), np.float32)
    model, variables = interop.from_snntorch(_net(), SAMPLE)
    with pytest.raises(ArgumentError, match=r"\(model, variables\)"):
        interop.crossvalidate(model, (model, variables), x)
    with pytest.raises(ArgumentError, match="NaN"):
        interop.crossvalidate(_net(), (model, variables), np.full((3, 2, 3), np.nan))
    with pytest.raises(ShapeError, match="num_steps"):
        interop.crossvalidate(_net(), (model, variables), np.ones((2, 3), np.float32))


def test_models_that_are_no_containers():
    with pytest.raises(ArgumentError, match="Sequential"):
        interop.to_nir(snn.Leaky(0.9), {}, SAMPLE)
    net = snn.Sequential([snn.Leaky(0.9, init_hidden=True)])
    with pytest.raises(ArgumentError, match="sample"):
        interop.to_nir(net, {})


def test_weights_go_into_another_network_wholly_or_not_at_all():
    model, variables = interop.from_snntorch(_net(), SAMPLE)
    other = nn.Sequential(nn.Linear(3, 5), snt.Leaky(beta=0.9, init_hidden=True))
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(ShapeError, match="into="):
        interop.to_snntorch(model, variables, into=other)
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


MISSING = """
import sys
for name in ("torch", "snntorch", "norse", "nirtorch"):
    sys.modules[name] = None
from snnax import interop
from snnax.errors import MissingDependencyError
for call in (lambda: interop.from_snntorch(None, None), lambda: interop.to_snntorch(None, None)):
    try:
        call()
    except MissingDependencyError as error:
        print(error)
"""


def test_missing_torch_says_which_extra_brings_it():
    out = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=True).stdout
    assert out.count("[torch]") == 2 and "torch" in out
