"""What a workload is: a network as a list of layers, its input, its loss, and numbers for all of them.

Every peer builds its network from the same list and starts from the same weights: torch's default initialization,
drawn by NumPy, times a gain with which every layer fires.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Linear:
    """``[B, inputs] -> [B, outputs]``."""

    inputs: int
    outputs: int
    bias: bool = True


@dataclass(frozen=True)
class Conv:
    """Valid convolution of ``size x size`` with bias, on images of ``side x side``."""

    inputs: int
    outputs: int
    size: int
    side: int


@dataclass(frozen=True)
class Pool:
    """Maximum over 2 x 2."""


@dataclass(frozen=True)
class Flat:
    """``[B, channels, side, side] -> [B, channels * side * side]``."""

    channels: int
    side: int


@dataclass(frozen=True)
class Neuron:
    """Leaky integrate-and-fire, reset by subtraction; ``recurrent``: all to all, with bias."""

    features: tuple[int, ...]
    beta: float
    slope: float | None = None  # of the fast sigmoid; None: arctangent
    recurrent: bool = False


Layer = Linear | Conv | Pool | Flat | Neuron


@dataclass(frozen=True)
class Targets:
    """Times faster than snnTorch and than the best other library, and the multiple of the floor."""

    snntorch: float
    peer: float
    floor: float


@dataclass(frozen=True)
class Workload:
    """One row of the table."""

    name: str
    title: str
    layers: tuple[Layer, ...]
    steps: int
    batch: int
    loss: Literal["sum", "membrane", "spikes"]
    targets: Targets
    input: Literal["normal", "spikes", "image"] = "spikes"
    rate: float = 0.1  # probability of an input spike
    constant: bool = False  # one frame, shown at every step
    train: bool = True
    learning_rate: float = 1e-4
    gain: float = 1.0  # of the weights
    update: bool = True  # of the weights, in training; without it a step ends with the gradients
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"  # of products on a GPU; states are float32

    @property
    def frame(self) -> tuple[int, ...]:
        """Shape of one sample of the input, as torch has it."""
        first = self.layers[0]
        if isinstance(first, Conv):
            return (first.inputs, first.side, first.side)
        assert isinstance(first, Linear)
        return (first.inputs,)

    @property
    def neurons(self) -> int:
        return sum(int(np.prod(layer.features)) for layer in self.layers if isinstance(layer, Neuron))

    @property
    def last(self) -> int:
        """Index of the layer that is read out."""
        return len(self.layers) - 1

    def sized(self, steps: int, batch: int) -> Workload:
        """The same network on another number of steps and samples."""
        return replace(self, steps=steps, batch=batch)


@dataclass(frozen=True)
class Data:
    """Input ``[T, B, ...]`` (or one frame ``[B, ...]``), labels ``[B]``, weights by layer, as torch has them."""

    x: Array
    y: Array
    weights: tuple[dict[str, Array], ...]


def data(workload: Workload, seed: int = 0) -> Data:
    """The same numbers for every peer."""
    rng = np.random.default_rng(seed)
    shape = (workload.batch, *workload.frame)
    if not workload.constant:
        shape = (workload.steps, *shape)
    if workload.input == "normal":
        x = rng.standard_normal(shape, np.float32)
    else:
        x = rng.random(shape, np.float32)
        x = (x < workload.rate).astype(np.float32) if workload.input == "spikes" else x
    outputs = next(layer for layer in reversed(workload.layers) if isinstance(layer, Linear)).outputs
    y = rng.integers(0, outputs, workload.batch)
    return Data(x, y, tuple(_weights(layer, workload.gain, rng) for layer in workload.layers))


def _weights(layer: Layer, gain: float, rng: np.random.Generator) -> dict[str, Array]:
    if isinstance(layer, Linear):
        shape: tuple[int, ...] = (layer.outputs, layer.inputs)
    elif isinstance(layer, Conv):
        shape = (layer.outputs, layer.inputs, layer.size, layer.size)
    elif isinstance(layer, Neuron) and layer.recurrent:
        shape = (layer.features[0], layer.features[0])
    else:
        return {}
    bound = gain * float(np.prod(shape[1:])) ** -0.5
    draw = {"weight": shape, "bias": shape[:1]}
    if isinstance(layer, Linear) and not layer.bias:
        del draw["bias"]
    return {name: rng.uniform(-bound, bound, s).astype(np.float32) for name, s in draw.items()}


def perceptron(sizes: tuple[int, ...], beta: float) -> tuple[Layer, ...]:
    """Linear layers of these sizes, each followed by neurons."""
    layers: list[Layer] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs), Neuron((outputs,), beta)]
    return tuple(layers)
