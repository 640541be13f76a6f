"""Which way a torch network takes its input, and the side of a cross-validation made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import snntorch
import torch
from torch import nn

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.snntorch.gradients import weight_gradients
from snnax.interop.snntorch.reading import graph_of_step
from snnax.interop.snntorch.runner import TorchSide
from snnax.interop.snntorch.step_graph import StepGraph
from snnax.interop.snntorch.tracing import trace


def torch_side(net: nn.Module, x: np.ndarray, sample: Any = None) -> TorchSide:
    """The side for ``x`` ``[T, B, ...]``: a ``forward`` that loops over time gets all of it, others one step.

    ``sample`` is what one call takes, where ``x`` alone does not say it.

    Raises:
        ConversionError: if the network cannot be traced on one step.
        ShapeError: if the input does not fit.
    """
    step = trace_on(net, x) if sample is None else trace(net, sample)
    return _Side(net, step, graph_builder=lambda: graph_of_step(step))


class _Side(TorchSide):
    """A torch side that has gradients to offer."""

    def gradients(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the summed outputs with respect to every trainable parameter."""
        return weight_gradients(self._net, self._step, x)


def trace_on(net: nn.Module, x: np.ndarray) -> StepGraph:
    """The step graph of a network whose whole input is ``x`` ``[T, B, ...]``, however it takes it.

    Two samples are enough, unless ``forward`` counts on the size of the batch. All time steps are tried before one,
    time first before batch first.

    Raises:
        ConversionError: if the network cannot be traced in any of these ways.
        ShapeError: if the input does not fit.
    """
    errors: list[SnnaxError] = []
    for part in (x[:, :2], x) if x.shape[1] > 2 else (x,):
        for whole, axis in ((part, 0), (part.swapaxes(0, 1), 1)):
            try:
                step = trace(net, whole)
            except SnnaxError as error:
                errors.append(error)
                continue
            if step.mode == "sequence" and (axis == 0 or step.time_axis == 1):
                return step
        try:
            return trace(net, part[0])
        except SnnaxError as error:
            errors.append(error)
    raise next((e for e in errors[:1] if isinstance(e, ConversionError)), errors[2])


def simulate(net: nn.Module, frames: np.ndarray, num_steps: int) -> np.ndarray:
    """Output spikes ``[T, B, N]`` of a network with ``init_hidden`` neurons that sees ``frames`` at every step.

    snnTorch's own loop, nothing recorded; the states are reset before.
    """
    for module in net.modules():
        if isinstance(module, snntorch.SpikingNeuron):
            module.reset_mem()
    x = torch.as_tensor(frames)
    rows = []
    with torch.no_grad():
        for _ in range(num_steps):
            out = net(x)
            rows.append(out[0] if isinstance(out, tuple) else out)
    return torch.stack(rows).numpy()
