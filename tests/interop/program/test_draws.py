"""Where in a program the numbers go that were drawn elsewhere."""

import numpy as np
import pytest
from helpers.programs import argument, form, node, program

from snnax.errors import ArgumentError
from snnax.interop.program.draws import is_random, placed
from snnax.interop.program.nodes import Carry, Handed, Kept, Leaf, Local, Loop, Ref
from snnax.interop.program.running import run


def drawing(steps=2):
    """``x + rand + sum over steps of rand * rand``."""
    body = [
        node("rand_like", Leaf(0)),
        node("rand_like", Leaf(0)),
        node("mul.Tensor", Local(0), Local(1)),
        node("add.Tensor", Carry(0), Local(2)),
    ]
    loop = Loop(steps, body, [Handed(Ref(1), Local(3), form(2, 3))], [], [Kept(Local(3), False, form(2, 3))])
    return program([node("rand", [2, 3]), node("add.Tensor", Leaf(0), Ref(0)), loop], Ref(2))


def test_each_operation_gets_its_own():
    rows = [np.full((2, 3), value, np.float32) for value in (1, 2, 3, 4, 5)]
    names = ["rand", *["rand_like"] * 4]
    found = placed(drawing(), list(zip(names, rows, strict=True)))
    assert {place: values.shape for place, values in found.items()} == {
        "0": (2, 3),
        "2.0": (2, 2, 3),
        "2.1": (2, 2, 3),
    }
    ran = run(drawing(), [np.ones((2, 3), np.float32)], drawn=found)
    np.testing.assert_array_equal(ran.outputs, np.full((2, 3), 1 + 1 + 2 * 3 + 4 * 5))


def test_other_draws_are_refused():
    assert is_random(drawing()) and not is_random(program([node("relu", Leaf(0))], inputs=[argument(2, 3)]))
    with pytest.raises(ArgumentError, match="torch draws 1 times in this call and its port 5"):
        placed(drawing(), [("rand", np.ones((2, 3), np.float32))])
