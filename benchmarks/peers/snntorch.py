"""snnTorch: the loop over time steps of its tutorials, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn

from benchmarks.peers.torch_step import linear, load, step
from benchmarks.workloads.spec import Conv, Data, Flat, Layer, Linear, Neuron, Pool, Workload

DIFFERS = "nothing: the reference"
WHOLE_LOOP = 25
"""Up to so many steps the whole loop is compiled (a minute and more); beyond that, one step of it."""


def network(workload: Workload, data: Data, hidden: bool = True) -> nn.Sequential:
    """One time step; ``hidden``: the neurons keep their states."""
    last = workload.last
    layers = [_module(workload, layer, i == last, hidden) for i, layer in enumerate(workload.layers)]
    for layer, given in zip(layers, data.weights, strict=True):
        if given:
            load(layer.recurrent if isinstance(layer, snn.RLeaky) else layer, given)
    return nn.Sequential(*layers)


def build(workload: Workload, data: Data) -> Callable[[], float]:
    net = network(workload, data)
    index = 1 if workload.loss == "membrane" else 0

    def run(x: torch.Tensor) -> torch.Tensor:
        utils.reset(net)
        record = []
        for t in range(workload.steps):
            record.append(net(x if workload.constant else x[t])[index])
        return torch.stack(record)

    return step(workload, data, list(net.parameters()), run)


def build_compiled(workload: Workload, data: Data) -> Callable[[], float]:
    """``torch.compile`` with explicit states, as snnTorch's tutorial_5_fullgraph."""
    net = network(workload, data, hidden=False)
    index = -1 if workload.loss == "membrane" else 0

    def one(x: torch.Tensor, states: list[Any]) -> tuple[torch.Tensor, list[Any]]:
        after: list[Any] = []
        for layer in net:
            if isinstance(layer, snn.RLeaky | snn.Leaky):
                after.append(layer(x, *states[len(after)]))
                out, x = after[-1], after[-1][0]
                after[-1] = out if isinstance(layer, snn.RLeaky) else out[1:]
            else:
                x = layer(x)
        return out[index], after

    whole = workload.steps <= WHOLE_LOOP
    advance = one if whole else torch.compile(one, dynamic=False)

    def run(x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0] if workload.constant else x.shape[1]
        states = [
            tuple(torch.zeros(batch, *layer.features) for _ in range(1 + layer.recurrent))
            for layer in workload.layers if isinstance(layer, Neuron)
        ]  # fmt: skip
        record = []
        for t in range(workload.steps):
            out, states = advance(x if workload.constant else x[t], states)
            record.append(out)
        return torch.stack(record)

    compiled = torch.compile(run, dynamic=False) if whole else run
    return step(workload, data, list(net.parameters()), compiled)


def _module(workload: Workload, layer: Layer, last: bool, hidden: bool) -> nn.Module:
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
            spike = surrogate.atan() if layer.slope is None else surrogate.fast_sigmoid(slope=layer.slope)
            shared = {
                "beta": layer.beta,
                "spike_grad": spike,
                "init_hidden": hidden,
                "output": last and hidden,
            }
            if layer.recurrent:
                return snn.RLeaky(linear_features=layer.features[0], **shared)
            return snn.Leaky(**shared)
