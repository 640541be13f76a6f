"""The rows, with what each is meant to reach."""

from __future__ import annotations

from benchmarks.workloads.spec import Conv, Flat, Layer, Linear, Neuron, Pool, Targets, Workload, perceptron

__all__ = ["WORKLOADS"]

_DENSE = perceptron((784, 1000, 10), 0.95)
_CONVOLUTIONAL: tuple[Layer, ...] = (
    Conv(1, 12, 5, 28),
    Pool(),
    Neuron((12, 12, 12), 0.5, slope=25.0),
    Conv(12, 64, 5, 12),
    Pool(),
    Neuron((64, 4, 4), 0.5, slope=25.0),
    Flat(64, 4),
    Linear(1024, 10),
    Neuron((10,), 0.5, slope=25.0),
)
_RECURRENT: tuple[Layer, ...] = (
    Linear(700, 128),
    Neuron((128,), 0.95, recurrent=True),
    Linear(128, 20),
    Neuron((20,), 0.95),
)

_ROWS = (
    Workload(
        "linear512",
        "Linear 512 + Leaky, T 500, B 16",
        perceptron((512, 512), 0.95),
        500, 16, "sum", Targets(2.8, 1.15, 1.08), input="normal", learning_rate=1e-9,
    ),
    Workload(
        "linear2048",
        "Linear 2048 + Leaky, T 500, B 16",
        perceptron((2048, 2048), 0.95),
        500, 16, "sum", Targets(2.8, 1.14, 1.02), input="normal", learning_rate=1e-9,
    ),
    Workload(
        "mlp",
        "MLP 784-1000-10, T 25, B 128",
        _DENSE,
        25, 128, "membrane", Targets(1.5, 1.10, 1.05), gain=2.0,
    ),
    Workload(
        "mlp-constant",
        "same, constant input (tutorial 5)",
        _DENSE,
        25, 128, "membrane", Targets(11, 9, 1.20), input="image", constant=True,
    ),
    Workload(
        "conv",
        "conv of tutorial 6, T 10, B 32",
        _CONVOLUTIONAL,
        10, 32, "spikes", Targets(1.7, 1.6, 1.10), rate=0.3, gain=2.0,
    ),
    Workload(
        "conv-constant",
        "tutorial 6 as written, T 50, B 128",
        _CONVOLUTIONAL,
        50, 128, "spikes", Targets(1.9, 1.8, 1.10), input="image", constant=True, gain=3.0,
    ),
    Workload(
        "recurrent",
        "RLeaky 700-128-20, T 100, B 64",
        _RECURRENT,
        100, 64, "membrane", Targets(3.2, 1.10, 1.05), rate=0.05, gain=2.0,
    ),
    Workload(
        "inference",
        "inference 784-1000-10, T 25, B 1",
        _DENSE,
        25, 1, "spikes", Targets(11, 1.15, 1.10), train=False, gain=3.0,
    ),
)  # fmt: skip

WORKLOADS = {row.name: row for row in _ROWS}
