"""What ``unroll`` is asked about chunks and memory reaches the loops of a program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import snntorch
import torch

import snnax as snn
from snnax.interop import from_snntorch
from snnax.interop.program.module import PortedProgram
from snnax.network import keeping
from snnax.network.keeping import Plan, chosen

T, B = 60, 4


class Normalized(torch.nn.Module):
    """A loop that is no graph: it reads a mean over all steps, and returns a sum over them."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(8, 64)
        self.norm = torch.nn.LayerNorm(64)
        self.lif = snntorch.Leaky(beta=0.9, learn_beta=True)
        self.out = torch.nn.Linear(64, 3)
        self.last = snntorch.RLeaky(beta=0.8, linear_features=3)

    def forward(self, x):
        mem, (spk, after) = self.lif.init_leaky(), self.last.init_rleaky()
        total, mean = 0, x.mean(0)
        for step in range(x.shape[0]):
            hidden, mem = self.lif(self.norm(self.fc(x[step] + mean)), mem)
            spk, after = self.last(self.out(hidden), spk, after)
            total = total + after + spk
        return total


@pytest.fixture(scope="module")
def ported():
    torch.manual_seed(0)
    x = torch.rand(T, B, 8)
    net, variables = from_snntorch(Normalized(), x)
    assert isinstance(net, PortedProgram)
    return net, variables, jnp.asarray(x.numpy())


def trained(ported, **options):
    """Outputs and gradient, and the bytes that the compiler plans for them."""
    net, variables, x = ported

    def loss(params):
        y, _ = snn.unroll(net, {**variables, "params": params}, x, **{"chunk": 6, **options})
        return (y**2).sum(), y

    step = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(variables["params"]).compile()
    (_, y), slopes = step(variables["params"])
    return y, slopes, step.memory_analysis().temp_size_in_bytes


@pytest.fixture(scope="module")
def usual(ported):
    return trained(ported)


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"remat": True}, 0.95),
        ({"memory": 1}, 0.95),
        ({"memory": 1, "chunk": "auto"}, 0.95),
        ({"chunk": 4}, 0.99),
        ({"residuals": jnp.bfloat16}, 0.99),
    ],
    ids=str,
)
def test_less_memory_and_the_same_result(ported, usual, options, most):
    y, slopes, taken = trained(ported, **options)
    assert taken < most * usual[2]
    np.testing.assert_allclose(y, usual[0], rtol=1e-5)
    tolerance = 0.02 if "residuals" in options else 1e-5
    for ours, others in zip(jax.tree.leaves(slopes), jax.tree.leaves(usual[1]), strict=True):
        np.testing.assert_allclose(ours, others, atol=tolerance * np.abs(others).max())


def test_nothing_is_computed_again_if_that_is_asked_for(ported, usual):
    assert trained(ported, remat=False)[2] > usual[2]


def test_enough_memory_changes_nothing(ported, usual):
    assert trained(ported, memory=2.5 * usual[2])[2] == usual[2]
    assert trained(ported, memory=0.5 * usual[2])[2] < usual[2]


def test_what_gradients_of_parameters_need_is_counted(ported, monkeypatch):
    """They are no arguments of a chunk; of a layer normalization they keep all that entered it."""
    found = []

    def noted(account, *args):
        found.append(account.bytes_of(Plan(None, 6)))
        return chosen(account, *args)

    monkeypatch.setattr(keeping, "chosen", noted)
    assert 0.9 * trained(ported, remat=False, memory=1)[2] < found[0]
