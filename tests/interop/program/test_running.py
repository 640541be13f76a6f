"""A program in JAX computes what its operations say, whatever the schedule of its loops."""

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

from snnax.errors import ArgumentError, ConversionError
from snnax.interop.program.nodes import Call, Input, Leaf, Node, NoState, Program, Ref
from snnax.interop.program.running import batch_size, run


def leaves(program, x):
    return [jnp.asarray(x) if known.kind == "argument" else known.value for known in program.inputs]


def arrays(program, x):
    return [
        None if value is None else jnp.asarray(value, jnp.asarray(x).dtype) for value in leaves(program, x)
    ]


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("batch", [BATCH, 7])
def test_a_loop(feedback, batch):
    program, x = loop_program(feedback), sample(batch)
    ran = run(program, arrays(program, x))
    spk, total = expected(x, feedback)
    np.testing.assert_array_equal(ran.outputs["spk"], spk)
    np.testing.assert_allclose(ran.outputs["total"], total, rtol=1e-5, atol=1e-5)
    assert spk.any() and not spk.all()


@pytest.mark.parametrize("feedback", [False, True])
def test_double_precision(feedback):
    program, x = loop_program(feedback), sample(dtype=np.float64)
    with jax.enable_x64(True):
        ran = run(program, arrays(program, x))
        _, total = expected(x, feedback)
        assert ran.outputs["total"].dtype == np.float64
        np.testing.assert_allclose(ran.outputs["total"], total, rtol=1e-13)


@pytest.mark.parametrize("feedback", [False, True])
def test_what_neurons_do_is_recorded(feedback):
    program, x = loop_program(feedback), sample()
    known = run(program, arrays(program, x), record=True).recorded["lif"]
    spk, _ = expected(x, feedback)
    np.testing.assert_array_equal(known.spk, spk)
    assert known.input.shape == known.states["mem"].shape == (STEPS, BATCH, NEURONS)


@pytest.mark.parametrize("feedback", [False, True])
def test_forced_spikes_are_handed_on_and_own_ones_recorded(feedback):
    program, x = loop_program(feedback), sample()
    ran = run(program, arrays(program, x), record=True, forced={"lif": jnp.ones((STEPS, BATCH, NEURONS))})
    assert np.all(ran.outputs["spk"] == 1)
    own = np.asarray(ran.recorded["lif"].spk)
    assert not own.all()
    np.testing.assert_array_equal(own, np.asarray(ran.recorded["lif"].states["mem"]) > 1)


def test_gradients_are_those_of_small_differences():
    program, x = loop_program(True), sample(dtype=np.float64)
    with jax.enable_x64(True):
        given = arrays(program, x)
        # with the spikes dictated, the membranes are linear in the bias, but for resets, which a small shift moves not
        forced = {"lif": jnp.asarray(expected(x, True)[0])}

        def total(bias):
            return run(program, [*given[:2], bias, *given[3:]], forced=forced).outputs["total"].sum()

        slope = jax.grad(total)(given[2])
        for neuron in range(NEURONS):
            shift = jnp.zeros(NEURONS).at[neuron].set(1e-6)
            difference = (total(given[2] + shift) - total(given[2] - shift)) / 2e-6
            np.testing.assert_allclose(slope[neuron], difference, rtol=1e-6)
        assert np.all(slope > 1)


def test_a_step_goes_on_from_its_state():
    program, x = step_program(), sample()
    given = arrays(program, x[0])
    first = run(program, given)
    given = [*given[:-1], first.updates["lif.mem"]]
    given[0] = jnp.asarray(x[1])
    second = run(program, given)
    spk, _ = expected(x[:2], False)
    np.testing.assert_array_equal(np.stack([first.outputs, second.outputs]), spk)


def drawing():
    node = Node("rand_like", (Leaf(0),), {}, (result(4, 2),), line="net.py:3")
    return Program([Input("argument", "x", result(4, 2))], [node], Ref(0), ((Leaf(0),), {}))


def test_random_numbers_need_a_key_and_follow_it():
    x = [jnp.ones((4, 2))]
    with pytest.raises(ArgumentError, match=r"rand_like at net.py:3.*rngs"):
        run(drawing(), x)
    one, same, other = (run(drawing(), x, key=jax.random.key(seed)).outputs for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_an_unknown_operation_is_named_with_its_line():
    node = Node("no_such_thing", (Leaf(0),), {}, (result(4),), line="net.py:7")
    program = Program([Input("argument", "x", result(4))], [node], Ref(0))
    with pytest.raises(ConversionError, match=r"no_such_thing[\s\S]*net.py:7"):
        run(program, [jnp.ones(4)])


def test_no_gradient_under_no_grad():
    for gradient in (True, False):
        node = Node("mul.Tensor", (Leaf(0), 3.0), {}, (result(4),), gradient=gradient)
        program = Program([Input("argument", "x", result(4))], [node], Ref(0))
        slope = jax.grad(lambda x, p=program: run(p, [x]).outputs.sum())(jnp.ones(4))
        np.testing.assert_array_equal(slope, 3.0 * gradient)


def test_the_batch_is_read_off_the_arguments():
    assert batch_size(loop_program(True), [np.zeros((STEPS, 9, 3))]) == 9
    assert batch_size(drawing(), [np.zeros((4, 2))]) == 1
    assert NoState() == NoState()


def test_a_gradient_of_the_networks_own_is_refused():
    own = Call("net.Binary", "fc", 0)
    node = Node("sign", (Leaf(0),), {}, (result(4),), path="fc", function=own, line="net.py:9")
    program = Program([Input("argument", "x", result(4))], [node], Ref(0))
    np.testing.assert_array_equal(run(program, [jnp.ones(4)]).outputs, 1)
    with pytest.raises(ConversionError, match=r"net\.Binary defines a gradient of its own[\s\S]*net\.py:9"):
        jax.grad(lambda x: run(program, [x]).outputs.sum())(jnp.ones(4))
