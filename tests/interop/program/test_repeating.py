"""A program of one step as a loop over steps."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.written_programs import BATCH, NEURONS, STEPS, expected, loop_program, sample, step_program

from snnax.errors import ConversionError
from snnax.interop.program.nodes import Loop
from snnax.interop.program.repeating import is_step, repeated
from snnax.interop.program.running import run


def given(program, x, mem=None):
    arrays = {"x": x, "lif.mem": mem}
    found = [arrays.get(known.name, known.value) for known in program.inputs]
    return [None if value is None else jnp.asarray(value) for value in found]


def test_what_a_step_is():
    assert is_step(step_program()) and not is_step(loop_program(True))


def test_steps_in_a_loop_are_steps_one_after_the_other():
    x = sample(7)
    program = repeated(step_program(), STEPS)
    ran = run(program, given(program, x))
    np.testing.assert_array_equal(ran.outputs, expected(x, False)[0])
    assert ran.updates["lif.mem"].shape == (7, NEURONS)


def test_it_starts_from_a_state():
    x = sample()
    half = repeated(step_program(), STEPS // 2)
    first = run(half, given(half, x[: STEPS // 2]))
    second = run(half, given(half, x[STEPS // 2 :], first.updates["lif.mem"]))
    np.testing.assert_array_equal(np.concatenate([first.outputs, second.outputs]), expected(x, False)[0])


def test_a_loop_inside_of_a_step_is_refused():
    program = step_program()
    program.items.append(Loop(2, []))
    with pytest.raises(ConversionError, match="a loop inside"):
        repeated(program, 3)
    assert program.size == BATCH
