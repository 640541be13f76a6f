"""Which operations are on images, and that turning axes changes nothing."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from helpers.written_programs import STEPS, leaky, result

from snnax.interop.program.images import image_first, image_last, images
from snnax.interop.program.nodes import (
    Carry,
    Handed,
    Input,
    Kept,
    Leaf,
    Local,
    Loop,
    Node,
    NoState,
    Program,
    Ref,
    Sequence,
)
from snnax.interop.program.running import run

IMAGE = result(2, 3, 4, 5)


def body():
    """A convolution, a scale for each channel, a neuron, a sum, and a product of rows that is no image."""
    conv = (Sequence(0), Leaf(1), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    return [
        Node("convolution", conv, {}, (IMAGE,)),
        Node("mul.Tensor", (Local(0), Leaf(2)), {}, (IMAGE,)),
        Node("neuron", (Local(1), {"mem": Carry(0)}, {}), {}, (IMAGE, IMAGE), path="lif"),
        Node("add.Tensor", (Local(2), Local(1)), {}, (IMAGE,)),
        Node("relu", (Sequence(0),), {}, (IMAGE,)),
        Node("sum.dim_IntList", (Local(3), [2, 3]), {}, (result(2, 3),)),
        Node("relu", (Local(5),), {}, (result(2, 3),)),
    ]


def test_convolutions_and_what_follows_them():
    assert images(body()) == {0, 1, 2, 3}


def test_there_and_back():
    x = jnp.arange(120.0).reshape(2, 3, 4, 5)
    assert image_last(x).shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(image_first(image_last(x)), x)
    assert image_last(jnp.float32(3)) == 3


def test_the_values_are_those_of_channels_first():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS, 2, 3, 4, 5)).astype(np.float32)
    scale = rng.normal(size=(1, 3, 1, 1)).astype(np.float32)
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[[0, 1, 2], [1, 2, 0], 1, 1] = 2.0  # a convolution that moves channels on
    inputs = [
        Input("argument", "x", result(STEPS, 2, 3, 4, 5)),
        Input("parameter", "weight", result(3, 3, 3, 3), weight),
        Input("parameter", "scale", result(1, 3, 1, 1), scale),
    ]
    kept = [Kept(Local(3), True, result(STEPS, 2, 3, 4, 5))]
    loop = Loop(STEPS, body(), [Handed(NoState(), Local(2, 1), IMAGE)], [Leaf(0)], kept)
    program = Program(inputs, [loop], Ref(0), neurons={"lif": leaky()})
    found = run(program, [jnp.asarray(x), jnp.asarray(weight), jnp.asarray(scale)]).outputs
    current = 2 * x[:, :, [1, 2, 0]] * scale
    mem, spikes = np.zeros(x.shape[1:], np.float32), []
    for frame in current:
        mem = np.float32(0.9) * mem + frame - (mem > 1)
        spikes.append(mem > 1)
    np.testing.assert_allclose(found, np.stack(spikes) + current, rtol=1e-5, atol=1e-5)
    assert 0 < np.mean(spikes) < 1
