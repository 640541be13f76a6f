"""What a mask chooses is computed in whole arrays, with torch's values and gradients, or stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("snntorch")

import torch
from helpers.programs import node, program
from torch import nn

from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.program.masks import unmasked
from snnax.interop.program.nodes import Leaf, Ref, Result

X = Leaf(0)
BOOL = Result((2, 3), np.dtype(bool))


def mask(op="gt.Scalar"):
    return replace(node(op, X, 0), results=(BOOL,))


def choice(where):
    return node("index.Tensor", X, [Ref(where)], shape=(2,))


def ops(*nodes):
    return [item.op for item in unmasked(program(nodes)).items]


class Masked(nn.Module):
    """A layer, and something done where its result is so."""

    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.change = nn.Linear(6, 4), change

    def forward(self, x):
        return self.change(self.fc(x))


def soft_reset(mem):
    mem = mem.clone()
    mem[mem > 0.1] -= 0.6
    mem[mem < -0.2] *= 0.5
    return mem


def relaxed(mem):
    mem = mem * 1
    mem[mem > 0] = torch.log(mem[mem > 0]) / 3 + mem.sum()
    return mem


def totals(mem):
    return mem[mem > 0].mean(), mem[mem < 0.1].sum(), torch.sqrt(mem[mem > 0.2]).sum()


@pytest.mark.parametrize("change", [soft_reset, relaxed, totals], ids=lambda change: change.__name__)
def test_it_is_what_torch_computes(change):
    net = Masked(change).eval()
    ported = interop.from_snntorch(net, torch.randn(3, 6))
    report = interop.crossvalidate(net, ported, torch.randn(5, 6).double().numpy(), gradients=True)
    assert report.agree, str(report)


@pytest.mark.parametrize(
    "change",
    [lambda mem: mem[mem > 0], lambda mem: mem[mem > 0].cumsum(0).sum()],
    ids=["returned", "in order"],
)
def test_what_needs_the_choice_itself_is_refused(change):
    with pytest.raises(ConversionError, match=r"what a mask of shape \(3, 4\) chooses"):
        interop.from_snntorch(Masked(change).eval(), torch.randn(3, 6))


BACK = node("index_put", X, [Ref(3)], Ref(2))
RELU = node("relu", Ref(1), shape=(2,))


def test_a_mask_that_is_computed_twice_is_one():
    assert ops(mask(), choice(0), RELU, mask(), BACK)[-1] == "where.self"


def test_another_mask_takes_other_numbers():
    assert ops(mask(), choice(0), RELU, mask("lt.Scalar"), BACK)[-1] == "index_put"
