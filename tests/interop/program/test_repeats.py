"""Tandem repeats in a sequence of operations."""

import numpy as np
from helpers.programs import node, parameter

from snnax.interop.program.nodes import NEURON, Leaf, Ref
from snnax.interop.program.repeats import Repeat, repeats, tokens


def test_a_loop_is_found_with_what_is_left_of_it():
    token = np.array([9, *[1, 2, 3] * 4, 1, 7])
    found = repeats(token, np.flatnonzero(token == 2))
    assert found[0] == Repeat(1, 3, 4, 1)
    assert all(r.covered <= 12 for r in found)


def test_the_shortest_period_comes_first():
    token = np.array([1, 2] * 8)
    assert [r.period for r in repeats(token, np.flatnonzero(token == 1))][:3] == [2, 4, 8]


def test_a_module_may_be_called_twice_in_a_step():
    token = np.array([1, 2, 1, 3] * 3)
    assert repeats(token, np.flatnonzero(token == 1))[0] == Repeat(0, 4, 3, 0)


def test_without_an_anchor_nothing_repeats():
    token = np.array([5, 5, 5, 5, 1])
    assert not repeats(token, np.array([4])) and not repeats(token, np.array([], int))
    assert not repeats(token, np.arange(5), least=5) and repeats(token, np.arange(5), least=4)


def test_numbers_do_not_tell_operations_apart_and_weights_do():
    inputs = [parameter(2, 3), parameter(2, 3, name="v")]
    nodes = [
        node("select.int", Ref(0), 0, 1), node("select.int", Ref(0), 0, 2), node("mul.Tensor", Ref(0), Leaf(0)),
        node("mul.Tensor", Ref(0), Leaf(1)), node("mul.Tensor", Ref(0), Leaf(1), path="b"),
    ]  # fmt: skip
    assert [*tokens(nodes, inputs, strict=True)] == [0, 0, 1, 2, 3]
    assert [*tokens(nodes, inputs, strict=False)] == [0, 0, 1, 1, 1]


def test_neurons_are_told_apart_by_their_paths_only():
    inputs = [parameter(2, 3), parameter(2, 3, name="v")]
    nodes = [
        node(NEURON, Ref(0), {}, {"beta": Leaf(i)}, path=path) for i, path in ((0, "a"), (1, "a"), (0, "b"))
    ]
    for strict in (True, False):
        assert [*tokens(nodes, inputs, strict)] == [0, 0, 1]
