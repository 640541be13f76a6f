"""Which inputs a value is computed from, through the carries of loops; which of them a call changes for the next."""

from helpers.programs import argument, form, node, parameter, program

from snnax.interop.program.depending import changed, leaves_of
from snnax.interop.program.nodes import Carry, Handed, Kept, Leaf, Local, Loop, Ref, Sequence

X, W, COUNT = Leaf(0), Leaf(1), Leaf(2)
INPUTS = [argument(4, 2, 3), parameter(2, 3), parameter(2, 3, name="count")]


def looping():
    """``total += x[t] * w`` beside ``count += total``."""
    body = [
        node("mul.Tensor", Sequence(0), W),
        node("add.Tensor", Carry(0), Local(0)),
        node("add.Tensor", Carry(1), Local(1)),
    ]
    carries = [Handed(0.0, Local(1), form(2, 3)), Handed(COUNT, Local(2), form(2, 3))]
    kept = [Kept(Local(1), False, form(2, 3)), Kept(Local(2), False, form(2, 3))]
    return Loop(4, body, carries, [X], kept)


def test_each_kept_value_has_leaves_of_its_own():
    found = program([looping()], inputs=INPUTS, outputs=[Ref(0, 0)], updates={"count": Ref(0, 1)})
    assert leaves_of(found, found.outputs) == {0, 1}
    assert leaves_of(found, found.updates) == {0, 1, 2}
    assert leaves_of(found, [[1, 2], None, "x"]) == set()


def test_a_statistic_that_nothing_is_computed_from_is_not_changed():
    found = program([looping()], inputs=INPUTS, outputs=[Ref(0, 0)], updates={"count": Ref(0, 1)})
    assert not changed(found)
    found.outputs = [Ref(0, 1)]
    assert changed(found) == {"count"}


def test_what_a_later_call_sees_by_way_of_another_buffer_is_changed():
    """``return w; w = w + count; count = count + x``."""
    items = [node("add.Tensor", W, COUNT), node("add.Tensor", COUNT, X)]
    found = program(items, inputs=INPUTS, outputs=[W], updates={"w": Ref(0), "count": Ref(1)})
    assert changed(found) == {"w", "count"}
