"""SpikingJelly: multi-step mode, each layer over all steps.

A recurrent layer runs in a loop of single steps, as SpikingJelly's own containers for it do; the input to it, and
what follows, over all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based import layer as layers
from torch import nn

from benchmarks.peers.torch_step import linear, load, step
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


def build(workload: Workload, data: Data, implementation: str = "auto") -> Callable[[], float]:
    """``implementation`` of its neurons on a GPU: "auto" takes the first of "cuda", "triton" and "torch"."""
    membrane = workload.loss == "membrane"
    parts = [
        _module(workload, layer, membrane and i == workload.last) for i, layer in enumerate(workload.layers)
    ]
    for part, given in zip(parts, data.weights, strict=True):
        if given:
            load(part.back if isinstance(part, Recurrent) else part, given)
    net = nn.Sequential(*parts)
    choose = _choice([part for part in net.modules() if isinstance(part, neuron.LIFNode)], implementation)

    def run(x: torch.Tensor) -> torch.Tensor:
        choose()
        functional.reset_net(net)
        if workload.constant:
            x = x.unsqueeze(0).repeat(workload.steps, *[1] * x.dim())
        spikes = net(x)
        return parts[-1].v_seq if membrane else spikes

    return step(workload, data, list(net.parameters()), run)


def _choice(cells: list[Any], implementation: str) -> Callable[[], None]:
    """What to call before each step.

    Version 2.0.0 reads which implementation is asked for from the environment, once. Several take turns here, so
    that its choice is made anew, in the place where it keeps it; neurons of versions before have an attribute.

    Raises:
        LookupError: if this version has no such implementation.
    """
    if hasattr(cells[0], "supported_backends"):
        if implementation not in ("auto", *cells[0].supported_backends):
            raise LookupError(f"its neurons run on {cells[0].supported_backends}, not on {implementation}")
        for cell in cells:
            cell.backend = "torch" if implementation == "auto" else implementation
        return lambda: None
    from spikingjelly._ops.lif import _selection

    if implementation not in ("auto", "cuda", "triton", "torch"):
        raise LookupError(f"its neurons run on cuda, triton and torch, not on {implementation}")

    def choose() -> None:
        if _selection._requested != implementation:
            _selection._requested = implementation
            _selection._selections.clear()

    return choose


def _module(workload: Workload, layer: Layer, keep: bool) -> nn.Module:
    match layer:
        case Linear():
            return linear(workload, layer)
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
