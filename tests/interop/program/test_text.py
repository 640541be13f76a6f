"""A program, as it is read."""

from dataclasses import replace

import numpy as np
from helpers.programs import argument, form, node, parameter, program

from snnax.interop.program.nodes import (
    NEURON,
    Affine,
    Call,
    Carry,
    Handed,
    Kept,
    Leaf,
    Local,
    Loop,
    NoState,
    Note,
    PerStep,
    Ref,
    Sequence,
)
from snnax.interop.program.text import text

TEXT = """\
%0 = zeros([2B, B-1], dtype=float32): [2, 3] float32  # net.py:1
%1 = 4 steps over %0, [1, 2, 3, 4]:
    carry0: [2, 3] float32 from zeros, then .1.1
    .0 = mul.Tensor(step0, step1): [2, 3] float32  # no gradient; in net.Round; net.py:2
    .1 = neuron(.0, {mem: carry0}, {beta: w}): [2, 3] float32  # lif; net.py:3
    gives 0: all of .1
    gives 1: the last of .1.1
return {out: [%1, %1.1], none: None}
w becomes %0
note: it was written (net.py:9)"""


def test_every_line_says_what_it_is():
    zeros = replace(node("zeros", [Affine(2, 0), Affine(1, -1)]), kwargs={"dtype": np.dtype("float32")})
    call = Call("net.Round", "", 0)
    body = [
        node("mul.Tensor", Sequence(0), Sequence(1), line="net.py:2", gradient=False, function=call),
        node(NEURON, Local(0), {"mem": Carry(0)}, {"beta": Leaf(1)}, line="net.py:3", path="lif"),
    ]
    loop = Loop(4, body, [Handed(NoState(), Local(1, 1), form(2, 3))], [Ref(0), PerStep((1, 2, 3, 4))])
    loop.kept += [Kept(Local(1), True, form(4, 2, 3)), Kept(Local(1, 1), False, form(2, 3))]
    found = program(
        [zeros, loop], {"out": [Ref(1), Ref(1, 1)], "none": None}, [argument(2, 3), parameter(2, 3)],
        updates={"w": Ref(0)}, notes=[Note("data", "it was written", "net.py:9")],
    )  # fmt: skip
    assert text(found) == TEXT
