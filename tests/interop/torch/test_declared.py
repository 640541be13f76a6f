"""The lines of the user's classes that make a module, change an attribute, return or draw."""

import random

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from snnax.interop.torch import declared


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)  # makes inner.fc
        self.register_buffer("rate", torch.zeros(2))

    def forward(self, x):
        self.rate.add_(1)  # changes rate
        return self.fc(x) * np.random.rand()  # draws


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.ReLU())  # makes layers.1
        self.inner = Inner()
        self.calls, self.seen, self.table = 0, [], {}

    def forward(self, x):
        self.calls += 1  # changes calls
        self.seen.append(x)  # changes seen
        self.table["x"] = x  # changes table
        self.inner.fc.weight.data.mul_(0.9)  # changes inner.fc.weight
        if len(self.seen) > 9:
            return x
        return self.inner(self.layers(x))  # returns


def written(line):
    return line.text.rpartition("# ")[2]


@pytest.mark.parametrize("path", ["inner.fc", "layers.1"])
def test_where_a_module_is_made(path):
    assert written(declared.line_of_module(Outer(), path)) == f"makes {path}"


@pytest.mark.parametrize("name", ["calls", "seen", "table"])
def test_where_an_attribute_is_changed(name):
    assert written(declared.line_of_change(Outer(), "", name)) == f"changes {name}"


def test_where_what_a_module_holds_is_changed():
    assert written(declared.line_of_change(Outer(), "inner", "rate")) == "changes rate"
    assert written(declared.line_of_change(Outer(), "inner.fc", "weight")) == "changes inner.fc.weight"


def test_where_forward_returns_and_draws():
    assert written(declared.line_of_return(Outer())) == "returns"
    assert written(declared.line_of_draws(Outer())) == "draws"
    assert declared.line_of_draws(nn.Linear(2, 2)) == ""


def test_where_a_function_begins():
    line = declared.line_of_function(written)
    assert line.text == "def written(line):"
    assert declared.line_of_function(random.random) == ""


def test_what_is_written_nowhere_has_no_line():
    space = {"nn": nn}
    exec("class Made(nn.Module):\n    def forward(self, x):\n        self.a = x\n        return x", space)
    net = nn.Sequential(space["Made"](), nn.Linear(2, 2))
    assert declared.line_of_module(net, "1") == "" and declared.line_of_change(net, "0", "a") == ""
    assert declared.line_of_module(net, "no.such") == "" and declared.line_of_change(net, "no", "a") == ""
