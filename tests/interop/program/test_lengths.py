"""Two programs of other lengths say what follows the number of steps; what does not is named."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.written_programs import BATCH, INPUTS, expected, inputs_of, leaky, loop_program, result, sample

from snnax.errors import ArgumentError
from snnax.interop.program.lengths import Fixed, Mixed, difference, longer, template
from snnax.interop.program.nodes import Affine, Carry, Handed, Leaf, Local, Loop, Node, PerStep, Program, Ref
from snnax.interop.program.running import run

B = Affine(1, 0)


def program(steps, *, batch=B, extra=(), sequence=()):
    """The loop of ``loop_program`` over so many steps, with more operations after it and numbers in it."""
    made = loop_program(False)
    (loop,) = made.loops
    whole = Loop(steps, loop.body, loop.carries, [Leaf(0), *sequence], loop.kept)
    inputs = inputs_of()
    shape = tuple(batch if size == B else size for size in (steps, B, INPUTS))
    inputs[0] = type(inputs[0])("argument", "x", result(*shape))
    items = [whole, *extra]
    return Program(
        inputs,
        items,
        made.outputs,
        made.arguments,
        {},
        [(Leaf(0), 1)],
        BATCH,
        {"lif": leaky()},
        time=[(Leaf(0), 0)],
    )


def free(make):
    """The program that ``make`` gives for 6 and 8 steps, for any number of them."""
    first, second = make(6), make(8)
    first.template = template(first, second, (6, 8))
    return first


def number(tree, steps):
    """The only argument of the operation after the loop, for so many steps."""
    made = free(lambda t: program(t, extra=[Node("f", (tree(t),), {}, (result(2),))]))
    return longer(made, steps).items[1].args[0]


@pytest.mark.parametrize("steps", [1, 2, 6, 30])
def test_a_loop_of_any_length(steps):
    x = np.tile(sample(), (5, 1, 1))[:steps]
    made = longer(free(program), steps)
    ran = run(made, [jnp.asarray(x), *[entry.value for entry in made.inputs[1:]]])
    spk, total = expected(x, False)
    np.testing.assert_array_equal(ran.outputs["spk"], spk)
    np.testing.assert_allclose(ran.outputs["total"], total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("tree", "wanted"),
    [
        (lambda t: 3, 3),
        (lambda t: t, 11),
        (lambda t: 2 * t - 1, 21),
        (lambda t: float(t), 11.0),
        (lambda t: 1 / t, 1 / 11),
        (lambda t: 3 / t, 3 / 11),
        (lambda t: -t, -11),
        (lambda t: [t, {"a": (t, "mean")}], [11, {"a": (11, "mean")}]),
        (lambda t: Affine(t, 0), Affine(11, 0)),
        (lambda t: Affine(2, t), Affine(2, 11)),
        (lambda t: PerStep(tuple(range(t))), PerStep(tuple(range(11)))),
        (lambda t: PerStep(tuple(range(t - 1, -1, -1))), PerStep(tuple(range(10, -1, -1)))),
        (lambda t: PerStep((0, 1, 0)), PerStep((0, 1, 0))),
    ],
)
def test_numbers_that_follow(tree, wanted):
    found = number(tree, 11)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (lambda t: t // 2, "f gets 3 for 6 steps and 4 for 8"),
        (lambda t: 0.9**t, "f gets 0.53"),
        (lambda t: t > 6, "f gets False for 6 steps and True for 8"),
        (lambda t: "mean" if t > 6 else "sum", "f gets 'sum' for 6 steps and 'mean' for 8"),
        (lambda t: [1] * t, "f takes 6 inputs for 6 steps, 8 for 8"),
        (lambda t: Leaf(t), "f gets Leaf"),
        (lambda t: PerStep(tuple(i % 2 for i in range(t))), "f gets"),
        (lambda t: PerStep(tuple(i / t for i in range(t))), "f gets"),
        (lambda t: None if t > 6 else 1, "f gets 1 for 6 steps and None for 8"),
    ],
)
def test_what_does_not_follow_is_named(tree, words):
    with pytest.raises(Fixed, match="f") as caught:
        number(tree, 11)
    assert words in caught.value.text


def test_other_operations_are_named():
    for second in ([], [Node("g", (1,), {}, (result(2),), line="net.py:3")]):
        with pytest.raises(Fixed):
            template(program(6, extra=[Node("f", (1,), {}, (result(2),))]), program(8, extra=second), (6, 8))


def test_a_number_that_follows_the_batch_too_needs_more_samples():
    flat = [Node("view", (Ref(0), [Affine(6, 0)]), {}, (result(2),))]
    once = [Node("view", (Ref(0), [8 * BATCH]), {}, (result(2),))]
    with pytest.raises(Mixed):
        template(program(6, extra=flat), program(8, batch=BATCH, extra=once), (6, 8))
    same = [Node("view", (Ref(0), [BATCH]), {}, (result(2),))]
    alike = [Node("view", (Ref(0), [B]), {}, (result(2),))]
    found = template(program(6, extra=alike), program(8, extra=same), (6, 8))
    assert found.items[1].args[1] == [B]


@pytest.mark.parametrize(
    ("tree", "steps", "words"),
    [
        (lambda t: t - 2, 1, "at least 2"),
        (lambda t: 9 - t, 10, "at most 9"),
        (lambda t: 2 * t - 3, 1, "at least 2"),
    ],
)
def test_numbers_that_would_count_from_the_end_are_refused(tree, steps, words):
    with pytest.raises(ArgumentError, match=f"{steps} time steps, and is known for {words}"):
        number(tree, steps)
    assert number(tree, 3) == tree(3)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (lambda t: t, None),
        (lambda t: 2 * t - 1, None),
        (lambda t: 3 / t, None),
        (lambda t: PerStep(tuple(range(t))), None),
        (lambda t: t * t, "f gets a number that does not follow it in a line"),
        (lambda t: Affine(t * t, 0), "f gets a number that does not follow it in a line"),
        (lambda t: min(t, 10), "f gets 6 for 6 steps and 10 for 13"),
        (lambda t: t // 10, "f gets 0 for 6 steps and 1 for 13"),
    ],
)
def test_a_third_length_tells_a_line_from_what_is_none(tree, words):
    node = Node("f", (1,), {}, (result(2),), line="net.py:7")
    first, second, third = (program(t, extra=[replace(node, args=(tree(t),))]) for t in (6, 8, 13))
    made = template(first, second, (6, 8))
    try:
        found = difference(made, template(first, third, (6, 13)))
    except Fixed as error:
        found = error
    assert words is None if found is None else (found.text, found.line) == (words, "net.py:7")


def test_what_else_differs_is_seen():
    made = template(program(6), program(8), (6, 8))
    assert difference(made, made) is None
    assert difference(made, replace(made, outputs=3)) is not None


def test_fewer_steps_than_are_known():
    made = free(program)
    made.least = 4
    assert longer(made, 4).loops[0].steps == 4
    with pytest.raises(ArgumentError, match="3 time steps, and is known for at least 4"):
        longer(made, 3)


def test_a_loop_needs_a_step():
    with pytest.raises(ArgumentError, match="at least 2"):
        longer(free(lambda t: program(t - 1)), 1)


def test_handed_values_and_calls_stay():
    body = [Node("add.Tensor", (Carry(0), 1), {}, (result(2),))]

    def make(steps):
        loop = Loop(steps, body, [Handed(float(steps), Local(0), result(steps, 2))])
        return Program([], [loop], None)

    made = free(make)
    (loop,) = longer(made, 9).loops
    assert loop.carries[0].init == 9.0 and loop.carries[0].result == result(9, 2)
    assert loop.body == body
