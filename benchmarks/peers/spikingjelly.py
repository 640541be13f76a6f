"""SpikingJelly: multi-step mode, each layer over all steps, on its torch backend.

A recurrent layer runs in a loop of single steps, as SpikingJelly's own containers for it do; the input to it, and
what follows, over all steps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based import layer as layers
from torch import nn

from benchmarks.peers.torch_step import load, step
from benchmarks.workloads.spec import Conv, Data, Flat, Layer, Linear, Neuron, Pool, Workload

DIFFERS = "reset in the same step"


class Recurrent(nn.Module):
    """Neurons that get their own spikes back, over a sequence."""

    def __init__(self, features: int, cell: nn.Module) -> None:
        super().__init__()
        self.back = nn.Linear(features, features)
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.unbind()
        spikes = [self.cell(frames[0])]
        for frame in frames[1:]:
            spikes.append(self.cell(frame + self.back(spikes[-1])))
        return torch.stack(spikes)


def build(workload: Workload, data: Data) -> Callable[[], float]:
    membrane = workload.loss == "membrane"
    parts = [_module(layer, membrane and i == workload.last) for i, layer in enumerate(workload.layers)]
    for part, given in zip(parts, data.weights, strict=True):
        if given:
            load(part.back if isinstance(part, Recurrent) else part, given)
    net = nn.Sequential(*parts)

    def run(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(net)
        if workload.constant:
            x = x.unsqueeze(0).repeat(workload.steps, *[1] * x.dim())
        spikes = net(x)
        return parts[-1].v_seq if membrane else spikes

    return step(workload, data, list(net.parameters()), run)


def _module(layer: Layer, keep: bool) -> nn.Module:
    match layer:
        case Linear():
            return layers.Linear(layer.inputs, layer.outputs, step_mode="m")
        case Conv():
            return layers.Conv2d(layer.inputs, layer.outputs, layer.size, step_mode="m")
        case Pool():
            return layers.MaxPool2d(2, step_mode="m")
        case Flat():
            return layers.Flatten(step_mode="m")
        case Neuron():
            spike = surrogate.ATan() if layer.slope is None else surrogate.SoftSign(alpha=layer.slope)
            cell = neuron.LIFNode(
                tau=1 / (1 - layer.beta),
                decay_input=False,
                v_reset=None,
                surrogate_function=spike,
                detach_reset=True,
                step_mode="s" if layer.recurrent else "m",
                store_v_seq=keep,
            )
            return Recurrent(layer.features[0], cell) if layer.recurrent else cell
