"""Steps are made alike: weights, records that grow, slices of one entry."""

from helpers.programs import argument, node, parameter, program

from snnax.interop.program.nodes import Leaf, Ref
from snnax.interop.program.regular import joined, single_entries, weights_first

X = Leaf(0)


def ops(program):
    return [item.op for item in program.items]


def test_a_record_that_grows_is_joined_once():
    steps = [node("exp", X), node("neg", X), node("cat", [Ref(0), Ref(1)], 0, shape=(4, 3)), node("abs", X),
             node("cat", [Ref(2), Ref(3)], 0, shape=(6, 3))]  # fmt: skip
    found = joined(program(steps))
    assert ops(found) == ["exp", "neg", "abs", "cat"]
    assert found.items[-1].args == ([Ref(0), Ref(1), Ref(2)], 0)


def test_a_record_along_another_axis_stays():
    steps = [node("cat", [X, X], 0, shape=(4, 3)), node("cat", [Ref(0), Ref(0)], 1, shape=(4, 6))]
    assert ops(joined(program(steps))) == ["cat", "cat"]


def test_slices_of_one_entry_are_that_entry():
    steps = [
        node("slice.Tensor", X, 1, 2, 3, shape=(2, 1)),
        node("slice_scatter", X, Ref(0), 1, 0, 1),
        node("neg", Ref(1)),
    ]
    found = single_entries(program(steps))
    assert ops(found) == ["select.int", "unsqueeze", "select.int", "select_scatter", "neg"]
    assert [item.args for item in found.items] == [
        (X, 1, 2), (Ref(0), 1), (Ref(1), 1, 0), (X, Ref(2), 1, 0), (Ref(3),)
    ]  # fmt: skip
    assert found.items[0].results[0].shape == (2,) and found.outputs == Ref(4)


def test_longer_slices_stay():
    steps = [node("slice.Tensor", X, 1, 1, 3, shape=(2, 2)), node("slice.Tensor", X, 1, 2, 9, shape=(2, 1))]
    assert ops(single_entries(program(steps))) == ["slice.Tensor", "slice.Tensor"]


def test_what_each_step_computes_from_weights_is_computed_once():
    inputs = [argument(2, 3), parameter(2, 3)]
    weight = node("exp", Leaf(1))
    steps = [
        node("mul.Tensor", X, X),
        weight,
        node("mul.Tensor", Ref(0), Ref(1)),
        weight,
        node("mul.Tensor", Ref(2), Ref(3)),
    ]
    found = weights_first(program(steps, inputs=inputs))
    assert ops(found) == ["exp", "mul.Tensor", "mul.Tensor", "mul.Tensor"]
    assert [n.args for n in found.items[1:]] == [(X, X), (Ref(1), Ref(0)), (Ref(2), Ref(0))]
    assert found.outputs == Ref(3)


def test_what_the_first_step_computes_from_zeros_stays_in_it():
    inputs = [argument(2, 3), parameter(2, 3)]
    decayed = node("mul.Tensor", Leaf(1), Ref(1))
    steps = [node("neg", X), node("zeros", [2, 3]), decayed, decayed, node("add.Tensor", Ref(2), Ref(3))]
    assert ops(weights_first(program(steps, inputs=inputs))) == [
        "zeros",
        "neg",
        "mul.Tensor",
        "mul.Tensor",
        "add.Tensor",
    ]
