"""Two runs of one program, compared neuron by neuron."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.written_programs import loop_program, sample

from snnax import interop
from snnax.errors import ArgumentError
from snnax.interop.program.module import Held, PortedProgram, variables_of
from snnax.interop.program.nodes import Node
from snnax.interop.program.side import ProgramSide, compare_calls, outputs_of, spec_of


def sides(feedback=True, **edits):
    program = loop_program(feedback)
    held = Held(program)
    model, variables = PortedProgram(held), variables_of(held)
    edited = {**variables, "params": {**variables["params"], **edits}}
    return program, (model, variables), (model, edited)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_runs_agree(dtype):
    _, a, b = sides()
    report = interop.crossvalidate(a, b, sample(dtype=dtype), gradients=True)
    assert report.agree and report.dtype == np.dtype(dtype).name
    assert report.layers[0].name == "lif"
    assert {pair.name for pair in report.gradients} == {"back", "fc.weight", "fc.bias"}


def test_another_weight_is_found():
    program, a, _ = sides()
    params = {**a[1]["params"], "back": np.asarray(a[1]["params"]["back"]) + 0.5}
    report = interop.crossvalidate(a, (a[0], {**a[1], "params": params}), sample())
    assert not report.agree
    assert report.layers[0].unexplained
    assert program.neurons.keys() == {"lif"}


def test_another_head_is_found_in_what_is_returned():
    program, a, _ = sides(feedback=False)
    other = loop_program(False)
    other.items[0].body[5] = Node("sub.Tensor", *_rest(other.items[0].body[5]))
    b = PortedProgram(Held(other)), a[1]
    report = compare_calls(ProgramSide(*a, "a"), ProgramSide(*b, "b"), program, sample())
    assert not report.agree
    assert not report.layers[0].unexplained


def _rest(node):
    return node.args, node.kwargs, node.results


def test_a_spec_that_the_program_computes_is_not_told():
    program = loop_program(False)
    assert spec_of(program, "lif").kind == "Leaky"
    (loop,) = program.loops
    x, states, parameters = loop.body[4].args
    loop.body[4] = Node("neuron", (x, states, {**parameters, "beta": x}), {}, loop.body[4].results, "lif")
    assert spec_of(program, "lif") is None and spec_of(program, "other") is None


def test_outputs_have_axes_of_time_and_batch():
    found = outputs_of({"a": np.float32(1), "b": [np.ones(3), np.ones((2, 3, 4), bool)]})
    assert [array.shape for array in found] == [(1, 1), (1, 3), (2, 3, 4)]
    assert all(array.dtype.kind == "f" for array in found)


def test_a_program_is_compared_with_its_own_kind():
    _, a, _ = sides()
    with pytest.raises(ArgumentError, match="expected the torch network that it was ported from"):
        interop.crossvalidate(a, "net.nir", sample())
