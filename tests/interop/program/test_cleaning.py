"""Copies and dead ends are taken out; what cuts a gradient, and steps, stay."""

from dataclasses import replace

from helpers.programs import argument, form, node, parameter, program

from snnax.interop.program.cleaning import clean, needed, trimmed
from snnax.interop.program.nodes import Call, Carry, Handed, Kept, Leaf, Local, Loop, Ref, Sequence

X = Leaf(0)


def cleaned(*nodes, **details):
    trace = program(nodes, **details)
    return clean(trace, list(nodes))


def ops(program):
    return [item.op for item in program.items]


def test_copies_and_full_views_pass_their_input_on():
    found = cleaned(
        node("clone", X),
        node("view", Ref(0), [2, 3]),
        node("slice.Tensor", Ref(1), 0, 0, 9),
        node("relu", Ref(2)),
    )
    assert ops(found) == ["relu"] and found.items[0].args == (X,)


def test_views_of_another_shape_stay():
    found = cleaned(
        node("view", X, [6], shape=(6,)),
        node("expand", X, [4, 2, 3], shape=(4, 2, 3)),
        outputs=[Ref(0), Ref(1)],
    )
    assert ops(found) == ["view", "expand"]


def test_a_copy_without_gradient_cuts_it():
    found = cleaned(replace(node("clone", X), gradient=False), node("relu", Ref(0)))
    assert ops(found) == ["detach", "relu"]


def test_a_copy_may_be_all_that_a_function_does():
    found = cleaned(replace(node("clone", X), function=Call("net.Straight", "", 0)), node("relu", Ref(0)))
    assert ops(found) == ["clone", "relu"]


def test_detach_stays():
    assert ops(cleaned(node("detach", X), node("relu", Ref(0)))) == ["detach", "relu"]


def test_dead_ends_and_their_leaves_go_and_arguments_stay():
    inputs = [argument(2, 3), argument(2, 3, name="unused"), parameter(2, 3)]
    found = cleaned(
        node("mul.Tensor", X, Leaf(2), line="net.py:5"), node("neg", X, line="net.py:6"),
        outputs=Ref(1), inputs=inputs, arguments=((X, Leaf(1)), {}),
    )  # fmt: skip
    assert ops(found) == ["neg"] and [entry.name for entry in found.inputs] == ["x", "unused"]


def test_the_last_step_stays_whole():
    """What is computed in a line that other steps need stays, though the last one has no use for it."""
    found = cleaned(
        node("neg", X, line="net.py:5"), node("exp", Ref(0), line="net.py:6"),
        node("neg", Ref(1), line="net.py:5"), node("exp", Ref(2), line="net.py:6"),
        node("sum", Ref(2), line="net.py:7"),
        outputs=Ref(2),
    )  # fmt: skip
    assert ops(found) == ["neg", "exp", "neg", "exp"]


def test_zeros_like_something_know_nothing_of_it():
    found = cleaned(node("zeros_like", X), node("add.Tensor", Ref(0), X))
    assert found.items[0].op == "zeros" and found.items[0].args == ([2, 3],)
    assert found.items[0].kwargs == {"dtype": form().dtype}


def test_a_loop_holds_what_it_gives_and_nothing_else():
    body = [
        node("neg", Sequence(0)), node("exp", Sequence(1)), node("add.Tensor", Carry(1), Local(1)),
        node("add.Tensor", Carry(0), Local(2)),
    ]  # fmt: skip
    carries = [Handed(0, Local(3), form(2, 3)), Handed(X, Local(2), form(2, 3))]
    found = trimmed(Loop(4, body, carries, [Ref(0), Ref(1)], [Kept(Local(2), True, form(4, 2, 3))]))
    assert [n.op for n in found.body] == ["exp", "add.Tensor"] and found.sequences == [Ref(1)]
    assert found.body[1].args == (Carry(0), Local(0)) and found.body[0].args == (Sequence(0),)
    assert [(h.init, h.new) for h in found.carries] == [(X, Local(1))] and found.kept[0].value == Local(1)


def test_what_loops_hold_is_numbered_anew():
    loop = Loop(
        4,
        [node("add.Tensor", Sequence(0), Ref(1))],
        sequences=[Ref(2)],
        kept=[Kept(Local(0), True, form(4, 2, 3))],
    )
    trace = program([node("exp", X), node("neg", X), node("abs", X), loop])
    found = needed(trace)
    assert [item.op for item in found.items[:2]] == ["neg", "abs"]
    assert found.items[2].sequences == [Ref(1)] and found.items[2].body[0].args == (Sequence(0), Ref(0))
    assert found.outputs == Ref(2)
