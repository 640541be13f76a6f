"""Whole numbers in the user's code, at which a rule on the number of the step may begin."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from torch import nn

from snnax.interop.torch.rules import numbers_beyond

EDGE, UNUSED = 310, 320


def helper(t, late=330):
    return t > late and t < 340


def closed(edge):
    return lambda t: t > edge


class Counting(nn.Module):
    """Names a number in each way."""

    def __init__(self):
        super().__init__()
        self.warm, self.other, self.size = 350, 360, 370
        self.late = closed(380)
        self.layer = nn.Linear(390, 2)

    @staticmethod
    def rule(t):
        return t == 400

    def forward(self, x):
        steps = [t for t in range(min(len(x), 410)) if t != EDGE]
        steps.sort(key=lambda t: t > 430)
        return [x[t] for t in steps if helper(t) or self.rule(t) or t < self.warm or self.late(t)], x[:420]


def test_numbers_that_the_code_names_are_found_and_no_others():
    found = numbers_beyond(Counting(), 305, 5)
    assert found == [310, 330, 340, 350, 380, 400, 410, 420, 430]
    assert numbers_beyond(nn.Sequential(Counting()), 400, 0) == [410, 420, 430]
    assert numbers_beyond(Counting(), 305, 30) == [310, 330]
    assert numbers_beyond(nn.Linear(1000, 2000), 3, 5) == []
