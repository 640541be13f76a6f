"""Chunks of steps: the results of a loop do not depend on how many steps run at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.written_programs import (
    BATCH,
    NEURONS,
    STEPS,
    expected,
    loop_program,
    result,
    sample,
    step_program,
)

from snnax.interop.program import looping
from snnax.interop.program.nodes import Carry, Handed, Kept, Leaf, Local, Loop, Node, PerStep, Ref, Sequence
from snnax.interop.program.repeating import repeated
from snnax.interop.program.running import run

SIZES = [1, 2, 4, STEPS]


@pytest.fixture(params=SIZES)
def size(request, monkeypatch):
    monkeypatch.setattr(looping, "fast_size", lambda *_: request.param)
    return request.param


def leaves(program, x):
    return [jnp.asarray(x) if known.kind == "argument" else known.value for known in program.inputs]


@pytest.mark.parametrize("feedback", [False, True])
def test_outputs_and_recordings(size, feedback):
    program, x = loop_program(feedback), sample()
    ran = run(program, leaves(program, x), record=True)
    spk, total = expected(x, feedback)
    np.testing.assert_array_equal(ran.outputs["spk"], spk)
    np.testing.assert_allclose(ran.outputs["total"], total, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ran.recorded["lif"].spk, spk)
    assert ran.recorded["lif"].states["mem"].shape == (STEPS, BATCH, NEURONS)


@pytest.mark.parametrize("feedback", [False, True])
def test_forced_spikes(size, feedback):
    program, x = loop_program(feedback), sample()
    forced = jnp.asarray(np.random.default_rng(3).random((STEPS, BATCH, NEURONS)) < 0.5, jnp.float32)
    ran = run(program, leaves(program, x), record=True, forced={"lif": forced})
    np.testing.assert_array_equal(ran.outputs["spk"], forced)
    whole = np.asarray(ran.recorded["lif"].spk)
    assert 0 < whole.mean() < 1 and not np.array_equal(whole, forced)


@pytest.mark.parametrize("feedback", [False, True])
def test_gradients(size, feedback):
    program, x = loop_program(feedback), sample()
    given = leaves(program, x)

    def loss(weight):
        ran = run(program, [given[0], weight, *given[2:]])
        return jnp.sum(ran.outputs["total"] ** 2) + jnp.sum(ran.outputs["spk"])

    found = jax.grad(loss)(jnp.asarray(given[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looping, "fast_size", lambda *_: STEPS)
        np.testing.assert_allclose(found, jax.grad(loss)(jnp.asarray(given[1])), rtol=1e-4, atol=1e-4)
    assert np.abs(found).max() > 0.1


def test_states_go_on(size):
    program, x = repeated(step_program(), STEPS), sample()
    given = [jnp.asarray(x) if k.kind == "argument" else k.value for k in program.inputs]
    ran = run(program, given)
    np.testing.assert_array_equal(ran.outputs, expected(x, False)[0])
    again = run(program, [*given[:-1], ran.updates["lif.mem"]])
    once = expected(np.concatenate([x, x]), False)[0]
    np.testing.assert_array_equal(again.outputs, once[STEPS:])


def test_delays_numbers_and_what_is_the_same(size):
    """``y[t] = (t + 1) relu(x[t]) + x[t - 2] + 2``."""
    step = result(3)
    body = [
        Node("relu", (Sequence(0),), {}, (step,)),
        Node("mul.Tensor", (Local(0), Sequence(1)), {}, (step,)),
        Node("add.Tensor", (Leaf(1), Leaf(1)), {}, (step,)),
        Node("add.Tensor", (Local(1), Local(2)), {}, (step,)),
        Node("add.Tensor", (Local(3), Carry(1)), {}, (step,)),
    ]
    carries = [Handed(0, Sequence(0), step), Handed(0, Carry(0), step)]
    kept = [
        Kept(Local(4), True, result(STEPS, 3)),
        Kept(Local(2), True, result(STEPS, 3)),
        Kept(Carry(1), False, step),
    ]
    loop = Loop(STEPS, body, carries, [Leaf(0), PerStep(tuple(range(1, STEPS + 1)))], kept)
    program = loop_program(False)
    program.items, program.batch = [loop], []
    program.outputs, program.updates = (Ref(0, 0), Ref(0, 1), Ref(0, 2)), {}
    x = np.random.default_rng(0).normal(size=(STEPS, 3)).astype(np.float32)
    late = np.concatenate([np.zeros((2, 3), np.float32), x[:-2]])
    y, fixed, last = run(program, [jnp.asarray(x), jnp.ones(3), *[None] * 4]).outputs
    numbers = np.arange(1, STEPS + 1, dtype=np.float32)[:, None]
    np.testing.assert_allclose(y, numbers * np.maximum(x, 0) + late + 2, rtol=1e-6)
    np.testing.assert_array_equal(fixed, np.full((STEPS, 3), 2))
    np.testing.assert_array_equal(last, late[-1])
