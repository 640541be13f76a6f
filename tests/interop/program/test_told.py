"""A program without its neurons makes of a recording what the recorded run itself made."""

from __future__ import annotations

import jax
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
from torch import nn

from snnax import interop
from snnax.interop.program.nodes import NEURON
from snnax.interop.program.side import ProgramSide
from snnax.interop.program.told import INPUT, reads_states, told


class Mixed(nn.Module):
    """Two layers, of which the second reads the membranes of the first, and ``forward`` mixes those between steps."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 5)
        self.first, self.second = snn.Leaky(beta=0.9), snn.Synaptic(alpha=0.8, beta=0.7)

    def forward(self, x):
        mem, (syn, mem2) = self.first.init_leaky(), self.second.init_synaptic()
        out = []
        for step in x:
            spk, mem = self.first(2 * self.a(step), mem)
            spk2, syn, mem2 = self.second(self.b(spk) + 0.1 * mem, syn, mem2)
            mem = mem - mem.mean()
            syn = syn.roll(1, -1)
            out.append(spk2)
        return torch.stack(out)


@pytest.fixture
def ran():
    torch.manual_seed(1)
    net, x = Mixed().eval(), torch.rand(12, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    side = ProgramSide(model, variables)
    return side, x.numpy(), side.call(x.numpy(), {})


def test_what_enters_a_neuron_and_what_it_starts_from(ran):
    side, x, trace = ran
    given = {name: {**node.states, "spk": node.spk} for name, node in trace.nodes.items()}
    found = side.model.apply({**side.variables, "told": {"of": given}}, x)
    for name, node in trace.nodes.items():
        np.testing.assert_allclose(found[name][INPUT], node.input, rtol=1e-5, atol=1e-6)
        for state, start in node.before().items():
            np.testing.assert_allclose(found[name][state], start, rtol=1e-5, atol=1e-6)


def test_an_error_of_one_step_is_none_of_the_next(ran):
    side, x, trace = ran
    given = {name: {**node.states, "spk": node.spk} for name, node in trace.nodes.items()}
    moved = {**given, "first": {**given["first"], "mem": given["first"]["mem"].copy()}}
    moved["first"]["mem"][4, 0] += 1
    left, right = (
        side.model.apply({**side.variables, "told": {"of": of}}, x)["first"]["mem"] for of in (given, moved)
    )
    differ = np.flatnonzero((np.asarray(left) != np.asarray(right)).any((1, 2)))
    np.testing.assert_array_equal(differ, [5])


def test_no_neuron_is_left_and_everything_else_stays_in_its_place(ran):
    program = ran[0].model.program
    rest = told(program, program.neurons).program
    assert NEURON not in {node.op for node in rest.nodes()}
    before, after = ([node.op for node in which.nodes()] for which in (program, rest))
    assert [op if op != NEURON else "alias" for op in before] == after


def test_who_reads_states(ran):
    assert reads_states(ran[0].model.program) == {"second"}


def test_it_is_differentiated_by_nobody_and_jits(ran):
    side, x, trace = ran
    given = {name: {**node.states, "spk": node.spk} for name, node in trace.nodes.items()}
    variables = {**side.variables, "told": {"of": given}}
    plain, fast = side.model.apply(variables, x), jax.jit(side.model.apply)(variables, x)
    for name in given:
        np.testing.assert_allclose(plain[name]["mem"], fast[name]["mem"], rtol=1e-6, atol=1e-6)
