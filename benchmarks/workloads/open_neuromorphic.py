"""The workload of Open Neuromorphic's "SNN library benchmarks": one linear layer without bias and leaky neurons.

500 steps, 16 samples, normal input, the sum of the spikes as loss. As published it is timed without waiting for the
device, and one entry simulates 16 steps of 500 samples; here a step ends when its results are there, and T is 500.
The gradient of the input is not asked for: a step has two large products, of the output and of the weights' gradient.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.workloads.spec import Linear, Neuron, Targets, Workload

SIZES = (512, 1024, 2048, 4096, 8192, 16384)
PRECISIONS = ("float32", "tf32", "bfloat16")
STEPS, BATCH = 500, 16

GOALS = {
    ("tf32", 512): 0.3e-3,
    ("bfloat16", 512): 0.3e-3,
    ("tf32", 4096): 2.3e-3,
    ("bfloat16", 4096): 2.3e-3,
    ("tf32", 16384): 32e-3,
    ("bfloat16", 16384): 16e-3,
}
"""Seconds of forward and backward on a GPU of H100's class."""

_ROW = Workload(
    "onm", "Linear and Leaky", (), STEPS, BATCH, "sum", Targets(1, 1, 1), input="normal", update=False
)  # fmt: skip


def row(size: int, precision: str, train: bool, steps: int = STEPS, batch: int = BATCH) -> Workload:
    """One size in one precision, forward alone or with backward."""
    return replace(
        _ROW,
        name=f"onm-{size}-{precision}-{'backward' if train else 'forward'}",
        title=f"Linear {size} + Leaky, T {steps}, B {batch}, {precision}",
        layers=(Linear(size, size, bias=False), Neuron((size,), 0.95)),
        steps=steps,
        batch=batch,
        train=train,
        precision=precision,
    )


def operations(workload: Workload) -> int:
    """Multiplications and additions of the products."""
    layer = workload.layers[0]
    assert isinstance(layer, Linear)
    rows = workload.steps * workload.batch
    return 2 * rows * layer.inputs * layer.outputs * (2 if workload.train else 1)


def least_bytes(workload: Workload) -> int:
    """What a step reads and writes at least, if products and neurons are kernels of their own.

    Products: input, weights and output, and in training the input, the slope and the gradient. Neurons: 8 bytes for
    each neuron and step forward, 28 with backward (docs/notes_gpu_kernel.rst).
    """
    layer = workload.layers[0]
    assert isinstance(layer, Linear)
    short = 2 if workload.precision == "bfloat16" else 4
    rows = workload.steps * workload.batch
    product = short * (rows * layer.inputs + rows * layer.outputs + layer.inputs * layer.outputs)
    neurons = rows * layer.outputs * (28 if workload.train else 8)
    return product * (2 if workload.train else 1) + neurons
