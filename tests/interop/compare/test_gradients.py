"""Weight gradients of ported networks, against torch's autograd."""

from __future__ import annotations

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
snt = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

from snnax import interop  # noqa: E402


def _dense():
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), snt.Leaky(beta=torch.rand(8), learn_beta=True, init_hidden=True),
        nn.Linear(8, 6), snt.RLeaky(beta=0.8, linear_features=6, learn_threshold=True, init_hidden=True),
        nn.Linear(6, 3), snt.Synaptic(0.6, 0.9, learn_alpha=True, init_hidden=True, output=True),
    )  # fmt: skip


def _conv():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), snt.Leaky(beta=torch.rand(4, 1, 1), learn_beta=True, init_hidden=True),
        nn.Conv2d(4, 4, 3, padding="same", groups=2), nn.AvgPool2d(2),
        snt.RLeaky(beta=0.8, conv2d_channels=4, kernel_size=3, init_hidden=True), nn.Flatten(), nn.Linear(16, 3),
        snt.RLeaky(beta=0.9, V=torch.rand(3), all_to_all=False, init_hidden=True, output=True),
    )  # fmt: skip


class Explicit(nn.Module):
    """States handed through ``forward``."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 6), snt.Leaky(beta=0.9, learn_beta=True, learn_threshold=True)

    def forward(self, x):
        mem = self.lif.reset_mem()
        spikes = []
        for frame in x:
            spk, mem = self.lif(self.fc(frame), mem)
            spikes.append(spk)
        return torch.stack(spikes)


CASES = {"dense": (_dense, (5,)), "conv": (_conv, (2, 8, 8)), "explicit": (Explicit, (5,))}


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_torch(name):
    build, shape = CASES[name]
    torch.manual_seed(0)
    net = build().eval()
    x = np.random.default_rng(0).uniform(0, 3, (12, 3, *shape))
    for precision in (np.float32, np.float64):
        data = x.astype(precision)
        sample = data if name == "explicit" else data[0]
        report = interop.crossvalidate(net, interop.from_snntorch(net, sample), data, gradients=True)
        assert report.agree, str(report)
        assert {g.name for g in report.gradients} == {n for n, p in net.named_parameters() if p.requires_grad}


def test_a_wrong_surrogate_is_found_by_its_gradients():
    net = _dense().eval()
    x = np.random.default_rng(0).uniform(0, 3, (12, 3, 5)).astype(np.float32)
    model, variables = interop.from_snntorch(net, x[0])
    from snnax import surrogate

    nodes = {n: m.clone(spike_grad=surrogate.fast_sigmoid(25)) if n == "2" else m for n, m in model.nodes}
    report = interop.crossvalidate(net, (model.clone(nodes=nodes), variables), x, gradients=True)
    assert report.unexplained == 0 and not report.agree
    assert jax.tree.leaves(variables)


def test_gradients_are_those_of_a_run_from_the_reset_state():
    net = _dense().eval()
    x = np.random.default_rng(0).uniform(0, 3, (12, 3, 5)).astype(np.float32)
    port = interop.from_snntorch(net, x[0])
    net(torch.tensor(x[0]))  # leaves states of the batch that is compared
    assert interop.crossvalidate(net, port, x, gradients=True).agree
