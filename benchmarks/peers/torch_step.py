"""What the torch peers share: the loss, and one training or inference step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.workloads.spec import Data, Workload

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
        module.bias.copy_(torch.from_numpy(weights["bias"]) * scale)
    return module


def step(workload: Workload, data: Data, parameters: list[torch.Tensor], run: Run) -> Callable[[], float]:
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    optimizer = torch.optim.SGD(parameters, lr=workload.learning_rate)

    def train() -> float:
        optimizer.zero_grad()
        value = loss(workload, run(x), y)
        value.backward()
        optimizer.step()
        return value.item()

    def infer() -> float:
        with torch.inference_mode():
            return run(x).sum().item()

    return train if workload.train else infer
