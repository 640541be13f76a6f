"""Programs made by hand."""

import numpy as np

from snnax.interop.program.nodes import Input, Node, Program, Ref, Result

FLOAT = np.dtype("float32")


def form(*shape):
    return Result(shape, FLOAT)


def node(op, *args, shape=(2, 3), line="net.py:1", **details):
    return Node(op, args, results=(form(*shape),), line=line, **details)


def argument(*shape, name="x"):
    return Input("argument", name, form(*shape))


def parameter(*shape, name="w"):
    return Input("parameter", name, form(*shape))


def program(items, outputs=None, inputs=None, **details):
    outputs = Ref(len(items) - 1) if outputs is None else outputs
    return Program(inputs or [argument(2, 3)], list(items), outputs, **details)
