"""Norse 1.1.0: LIFBoxCell, its neuron without a current, stepped in a loop.

Its modules that take whole sequences index the input at each step, which makes their backward pass quadratic in T
where the input needs a gradient; a loop over cells, each layer within a step, does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from norse.torch import LIFBoxCell, LIFBoxParameters
from norse.torch.functional.reset import reset_subtract
from torch import nn

from benchmarks.peers.torch_step import linear, load, step
from benchmarks.workloads.spec import Conv, Data, Flat, Layer, Linear, Neuron, Pool, Workload

DIFFERS = "membrane scaled by 1 - beta (weights are scaled to match), reset in the same step and not detached"
DT = 1e-3


def build(workload: Workload, data: Data) -> Callable[[], float]:
    layers = nn.ModuleList(_module(workload, layer) for layer in workload.layers)
    back: dict[int, nn.Linear] = {}
    for i, given in enumerate(data.weights):
        if not given:
            continue
        neuron = next(layer for layer in workload.layers[i:] if isinstance(layer, Neuron))
        gain = 1 / (1 - neuron.beta)
        if isinstance(workload.layers[i], Neuron):
            back[i] = load(nn.Linear(*given["weight"].T.shape), given, gain)
        else:
            load(layers[i], given, gain)
    parameters = [*layers.parameters(), *(p for linear in back.values() for p in linear.parameters())]

    def run(x: torch.Tensor) -> torch.Tensor:
        states: list[Any] = [None] * len(layers)
        fired: dict[int, torch.Tensor] = {}
        record = []
        for t in range(workload.steps):
            value = x if workload.constant else x[t]
            for i, layer in enumerate(layers):
                if isinstance(layer, LIFBoxCell):
                    if i in fired:
                        value = value + back[i](fired[i])
                    value, states[i] = layer(value, states[i])
                    if i in back:
                        fired[i] = value
                else:
                    value = layer(value)
            record.append(states[-1].v if workload.loss == "membrane" else value)
        return torch.stack(record)

    return step(workload, data, parameters, run)


def _module(workload: Workload, layer: Layer) -> nn.Module:
    match layer:
        case Linear():
            return linear(workload, layer)
        case Conv():
            return nn.Conv2d(layer.inputs, layer.outputs, layer.size)
        case Pool():
            return nn.MaxPool2d(2)
        case Flat():
            return nn.Flatten()
        case Neuron():
            rate = torch.as_tensor((1 - layer.beta) / DT)
            return LIFBoxCell(LIFBoxParameters(tau_mem_inv=rate, reset_method=reset_subtract), dt=DT)
