"""The data of a program: nested arguments, and numbers that follow the batch."""

from collections import namedtuple

import numpy as np

from snnax.interop.program.nodes import (
    Affine,
    Leaf,
    Loop,
    Node,
    Program,
    Ref,
    Result,
    at,
    filled,
    flat,
    mapped,
)

Pair = namedtuple("Pair", "spk mem")


def test_numbers_follow_the_batch():
    assert Affine(3, -1).at(4) == 11
    assert at(([Affine(1, 0), 7], {"size": (Affine(2, 1),)}), 5) == ([5, 7], {"size": (11,)})
    assert Result((Affine(1, 0), 3), np.dtype("float32")).at(2) == Result((2, 3), np.dtype("float32"))


def test_nested_arguments_keep_their_form():
    tree = ([Leaf(0), Ref(1)], {"dim": 2}, Pair(None, "x"))
    assert list(flat(tree)) == [Leaf(0), Ref(1), 2, None, "x"]
    assert filled(tree, list(flat(tree))) == tree
    again = mapped(tree, lambda entry: entry)
    assert again == tree and type(again[2]) is Pair


def test_a_node_knows_its_operation_and_its_inputs():
    node = Node("add.Tensor", (Ref(0), Leaf(1)), {"alpha": 2})
    assert node.base == "add" and node.inputs == [Ref(0), Leaf(1), 2]


def test_all_operations_are_those_of_loops_too():
    first, step = Node("relu", (Leaf(0),)), Node("neg", (Ref(0),))
    loop = Loop(3, [step])
    program = Program([], [first, loop], Ref(1))
    assert list(program.nodes()) == [first, step] and program.loops == [loop]
