"""A loop's body in stages: what has memory apart from what has none."""

from __future__ import annotations

from helpers.written_programs import loop_program, result

from snnax.interop.program.nodes import Carry, Handed, Kept, Leaf, Local, Loop, Node, Sequence
from snnax.interop.program.stages import Stage, stages


def test_a_neuron_is_a_stage_of_its_own():
    (loop,) = loop_program(feedback=False).loops
    found = stages(loop)
    assert Stage((4,), (0,)) in found
    assert Stage((5,), (1,)) in found
    before = found[: found.index(Stage((4,), (0,)))]
    assert {0, 1} <= {node for stage in before for node in stage.nodes}


def test_feedback_joins_what_it_goes_through():
    (loop,) = loop_program(feedback=True).loops
    found = stages(loop)
    assert Stage((2, 3, 4), (0, 2)) in found
    assert Stage((0, 1)) in found


def test_a_carry_on_no_cycle_is_a_delay():
    node = Node("relu", (Sequence(0),), {}, (result(2),))
    again = Node("relu", (Carry(0),), {}, (result(2),))
    loop = Loop(
        3, [node, again], [Handed(0, Local(0), result(2))], [Leaf(0)], [Kept(Local(1), True, result(3, 2))]
    )
    assert stages(loop) == [Stage((0,)), Stage((), (0,)), Stage((1,))]


def test_every_operation_and_carry_is_in_one_stage():
    for feedback in (False, True):
        (loop,) = loop_program(feedback).loops
        found = stages(loop)
        assert sorted(n for stage in found for n in stage.nodes) == list(range(len(loop.body)))
        assert sorted(c for stage in found for c in stage.carries) == list(range(len(loop.carries)))
