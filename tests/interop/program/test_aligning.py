"""Two traces: what follows the batch, and what differs for another reason."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.programs import argument, form, node, program

from snnax.errors import ConversionError
from snnax.interop.program.aligning import align, unlike
from snnax.interop.program.nodes import Affine, Input, Leaf, Ref

X = Leaf(0)


def trace(batch, *more, outputs=None, extra=()):
    nodes = [
        node("view", X, [batch * 3], shape=(3 * batch,)),
        node("zeros", [2 * batch + 1], shape=(2 * batch + 1,)),
        *more,
    ]
    return program(nodes, outputs=outputs, inputs=[argument(batch, 3), *extra], size=batch)


def test_numbers_and_shapes_follow_the_batch():
    found = align(trace(2), trace(3), "Net")
    assert found.items[0].args == (X, [Affine(3, 0)]) and found.items[1].args == ([Affine(2, 1)],)
    assert found.inputs[0].result.shape == (Affine(1, 0), 3)
    assert found.items[1].results[0].shape == (Affine(2, 1),)


OTHER = [
    ([node("exp", X)], [node("neg", X)], "computes exp .* and neg"),
    ([node("exp", X)], [], "3 operations for one sample and 2"),
    ([node("exp", X)], [node("exp", Ref(0))], "somewhere else"),
    ([node("mul.Tensor", X, 0.5)], [node("mul.Tensor", X, 0.7)], r"gets 0\.5 .* and 0\.7"),
    ([node("mul.Tensor", X, True)], [node("mul.Tensor", X, False)], "gets True"),
    ([node("exp", X)], [node("exp", X, shape=(2,))], "gives"),
]


@pytest.mark.parametrize(("ours", "theirs", "words"), OTHER)
def test_anything_else_depends_on_the_data(ours, theirs, words):
    with pytest.raises(ConversionError, match=words) as caught:
        align(trace(2, *ours, outputs=X), trace(3, *theirs, outputs=X), "Net")
    assert caught.value.remedy


def test_the_operation_that_differs_is_named_with_its_line():
    with pytest.raises(ConversionError) as caught:
        align(trace(2, node("exp", X, line="net.py:7")), trace(3, node("neg", X, line="net.py:9")), "Net")
    assert caught.value.line == "net.py:7" and "net.py:9" in str(caught.value)


def constant(*values):
    return Input("constant", "", form(len(values)), np.array(values, np.float32))


def test_constants_must_be_equal():
    inputs = [[constant(1.0, 2.0)], [constant(1.0, 3.0)]]
    more = node("mul.Tensor", X, Leaf(1))
    align(trace(2, more, extra=inputs[0]), trace(3, more, extra=inputs[0]), "Net")
    with pytest.raises(ConversionError, match="a tensor of shape"):
        align(trace(2, more, extra=inputs[0]), trace(3, more, extra=inputs[1]), "Net")


def test_one_size_leaves_no_room_for_numbers():
    assert unlike(trace(2), trace(2), "Net") is None
    assert unlike(trace(2), replace(trace(3), size=2), "Net") is not None


def test_the_order_of_operations_does_not_matter():
    a = program([node("exp", X), node("neg", X), node("add.Tensor", Ref(0), Ref(1))])
    b = program([node("neg", X), node("exp", X), node("add.Tensor", Ref(1), Ref(0))])
    c = program([node("neg", X), node("exp", X), node("add.Tensor", Ref(0), Ref(1))])
    assert unlike(a, b, "Net") is None and unlike(a, c, "Net") is not None


def test_draws_are_told_apart():
    draws = [node("rand", [2, 3]), node("rand", [2, 3])]
    a = program([*draws, node("sub.Tensor", Ref(0), Ref(1))])
    b = program([*draws, node("sub.Tensor", Ref(0), Ref(0))])
    assert unlike(a, b, "Net") is not None
