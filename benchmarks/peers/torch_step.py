"""What the torch peers share: the loss, and one training or inference step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.workloads.spec import Data, Linear, Workload

Run = Callable[[torch.Tensor], torch.Tensor]
"""Input to what is read out, ``[T, B, N]``."""


def loss(workload: Workload, readout: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if workload.loss == "sum":
        return readout.sum()
    mean = F.cross_entropy(readout.flatten(0, 1), y.repeat(len(readout)))
    return len(readout) * mean if workload.loss == "membrane" else mean


def load(module: torch.nn.Module, weights: dict, scale: float = 1.0) -> torch.nn.Module:
    """Give a layer the workload's weights, times ``scale``."""
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weights["weight"]) * scale)
        if "bias" in weights:
            module.bias.copy_(torch.from_numpy(weights["bias"]) * scale)
    return module


class Short(torch.nn.Linear):
    """Multiplies in bfloat16; what it returns is float32, and so are the states of neurons that get it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.bfloat16()
        return F.linear(x.bfloat16(), self.weight.bfloat16(), bias).float()


def linear(workload: Workload, layer: Linear) -> torch.nn.Linear:
    """On a sequence as on a step of it."""
    kind = Short if workload.precision == "bfloat16" else torch.nn.Linear
    return kind(layer.inputs, layer.outputs, bias=layer.bias)


def step(workload: Workload, data: Data, parameters: list[torch.Tensor], run: Run) -> Callable[[], float]:
    """On the device of the parameters. The number that is returned has waited for all that was computed."""
    x, y = (torch.from_numpy(array).to(parameters[0].device) for array in (data.x, data.y))
    if workload.precision == "bfloat16":
        x = x.bfloat16()
    optimizer = torch.optim.SGD(parameters, lr=workload.learning_rate)

    def train() -> float:
        optimizer.zero_grad()
        value = loss(workload, run(x), y)
        value.backward()
        if workload.update:
            optimizer.step()
        return value.item()

    def infer() -> float:
        with torch.inference_mode():
            return run(x).sum().item()

    return train if workload.train else infer
