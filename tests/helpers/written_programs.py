"""Programs written by hand, and what they compute in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnax.interop.program.nodes import (
    Affine,
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
    Result,
    Sequence,
)
from snnax.interop.spec import NeuronSpec

FLOAT = np.dtype(np.float32)
STEPS, BATCH, INPUTS, NEURONS = 6, 4, 3, 5
BETA = 0.9
_B = Affine(1, 0)
_RNG = np.random.default_rng(0)
WEIGHT = _RNG.normal(size=(NEURONS, INPUTS)).astype(np.float32)
BIAS = _RNG.normal(size=NEURONS).astype(np.float32)
BACK = (_RNG.normal(size=(NEURONS, NEURONS)) * 0.4).astype(np.float32)


def result(*shape: Any) -> Result:
    """An array of float32."""
    return Result(shape, FLOAT)


def inputs_of() -> list[Input]:
    """x, a layer, the numbers of a neuron, weights of a feedback."""
    return [
        Input("argument", "x", result(STEPS, _B, INPUTS)),
        Input("parameter", "fc.weight", result(NEURONS, INPUTS), WEIGHT, True),
        Input("parameter", "fc.bias", result(NEURONS), BIAS, True),
        Input("buffer", "lif.beta", result(), np.float32(BETA)),
        Input("buffer", "lif.threshold", result(), np.float32(1.0)),
        Input("parameter", "back", result(NEURONS, NEURONS), BACK, True),
    ]


def leaky() -> NeuronSpec:
    """The neuron."""
    values = {"beta": np.float32(BETA), "threshold": np.float32(1.0), "graded_spikes_factor": np.float32(1.0)}
    return NeuronSpec("Leaky", {key: np.asarray(value) for key, value in values.items()})


def loop_program(feedback: bool) -> Program:
    """``spk[t] = lif(fc(x[t]) + back spk[t - 1])`` and the sum of the membranes; or ``fc(x[t])`` alone."""
    step = result(_B, NEURONS)
    current: Any = Local(3) if feedback else Local(1)
    body = [
        Node("permute", (Leaf(1), [1, 0]), {}, (result(INPUTS, NEURONS),)),
        Node("addmm", (Leaf(2), Sequence(0), Local(0)), {}, (step,)),
        Node("mm", (Carry(2), Leaf(5)), {}, (step,)),
        Node("add.Tensor", (Local(1), Local(2)), {}, (step,)),
        Node(
            "neuron",
            (current, {"mem": Carry(0)}, {"beta": Leaf(3), "threshold": Leaf(4)}),
            {},
            (step, step),
            path="lif",
        ),
        Node("add.Tensor", (Carry(1), Local(4, 1)), {}, (step,)),
    ]
    carries = [Handed(NoState(), Local(4, 1), step), Handed(0, Local(5), step), Handed(0.0, Local(4), step)]
    kept = [Kept(Local(4), True, result(STEPS, _B, NEURONS)), Kept(Local(5), False, step)]
    loop = Loop(STEPS, body, carries, [Leaf(0)], kept)
    outputs = {"spk": Ref(0, 0), "total": Ref(0, 1)}
    return Program(
        inputs_of(), [loop], outputs, ((Leaf(0),), {}), {}, [(Leaf(0), 1)], BATCH, {"lif": leaky()}
    )


def step_program() -> Program:
    """One step of ``lif(fc(x))`` that keeps its membrane."""
    step = result(_B, NEURONS)
    inputs = [
        Input("argument", "x", result(_B, INPUTS)),
        *inputs_of()[1:5],
        Input("state", "lif.mem", step),
    ]
    items: list[Any] = [
        Node("permute", (Leaf(1), [1, 0]), {}, (result(INPUTS, NEURONS),)),
        Node("addmm", (Leaf(2), Leaf(0), Ref(0)), {}, (step,)),
        Node(
            "neuron",
            (Ref(1), {"mem": Leaf(5)}, {"beta": Leaf(3), "threshold": Leaf(4)}),
            {},
            (step, step),
            path="lif",
        ),
    ]
    updates = {"lif.mem": Ref(2, 1)}
    return Program(inputs, items, Ref(2), ((Leaf(0),), {}), updates, [(Leaf(0), 0)], BATCH, {"lif": leaky()})


def sample(batch: int = BATCH, dtype: Any = np.float32) -> np.ndarray:
    """An input that makes spikes."""
    return (np.random.default_rng(1).random((STEPS, batch, INPUTS)) * 2).astype(dtype)


def expected(x: np.ndarray, feedback: bool) -> tuple[np.ndarray, np.ndarray]:
    """Spikes ``[T, B, N]`` and the sum of the membranes, in double precision."""
    mem = spk = total = np.zeros((x.shape[1], NEURONS))
    spikes = []
    for frame in x.astype(np.float64):
        reset = mem > 1
        current = frame @ WEIGHT.T + BIAS + (spk @ BACK if feedback else 0)
        mem = np.float32(BETA) * mem + current - reset
        spk = (mem > 1).astype(np.float64)
        total = total + mem
        spikes.append(spk)
    return np.stack(spikes), total
