"""Files that snnTorch's own exporter writes: read, run, and equal to the network that they came from.

NIR knows reset to zero only, so these are networks with that reset; see the reference of each neuron.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snt = pytest.importorskip("snntorch")

import nir  # noqa: E402
from torch import nn  # noqa: E402

from snnax import interop  # noqa: E402


def _full(value, *shape):
    return torch.full(shape, value)


def _given(beta, *shape):
    return {"beta": _full(beta, *shape), "threshold": _full(1.0, *shape), "init_hidden": True}


def _dense():
    return nn.Sequential(
        nn.Linear(5, 6), snt.Leaky(**_given(0.9, 6), reset_mechanism="zero", reset_delay=False),
        nn.Linear(6, 3), snt.Synaptic(alpha=_full(0.5, 3), **_given(0.8, 3), reset_mechanism="zero", reset_delay=False),
    )  # fmt: skip


def _conv():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), snt.Leaky(**_given(0.9, 3, 6, 6), reset_mechanism="zero", reset_delay=False),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4),
        snt.Leaky(**_given(0.8, 4), reset_mechanism="zero", reset_delay=False),
    )  # fmt: skip


def _recurrent():
    return nn.Sequential(
        nn.Linear(5, 4),
        snt.RLeaky(**_given(0.9, 4), linear_features=4, reset_mechanism="zero", reset_delay=False),
        nn.Linear(4, 3), snt.Leaky(**_given(0.8, 3), reset_mechanism="zero", reset_delay=False),
    )  # fmt: skip


CASES = {"dense": (_dense, (5,)), "conv": (_conv, (2, 6, 6)), "recurrent": (_recurrent, (5,))}


@pytest.mark.parametrize("name", CASES)
def test_file_of_snntorch_runs_as_its_network(name, tmp_path):
    build, shape = CASES[name]
    torch.manual_seed(3)
    net = build().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    x = np.random.default_rng(0).uniform(0, 3, (30, 3, *shape)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from snntorch.export_nir import export_to_nir

        graph = export_to_nir(net, torch.from_numpy(x[0, :1]), ignore_dims=[0])
    path = tmp_path / "net.nir"
    nir.write(path, graph)
    for module in net.modules():
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    report = interop.crossvalidate(net, path, x)
    assert report.agree, str(report)
    assert sum(layer.end_to_end.spike_mismatches for layer in report.layers) == 0
