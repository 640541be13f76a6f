"""Weight gradients of a torch network, for comparison with those of its port."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.interop.snntorch.members import neurons_of
from snnax.interop.torch.prepare import copy_net, isolated, unwrap
from snnax.interop.torch.step_graph import StepGraph, listed


def weight_gradients(net: nn.Module, step: StepGraph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of the sum of all that ``net`` returns over ``x`` ``[T, B, ...]``, by parameter name.

    Works on a copy, from the reset state and in the precision of ``x``. A parameter that nothing depends on
    has a gradient of zeros.
    """
    twin = copy_net(unwrap(net))
    frames = torch.from_numpy(np.array(x))
    twin = twin.to(dtype=frames.dtype)
    neurons = neurons_of(twin)
    with isolated(neurons, frames.dtype), torch.enable_grad():
        total = torch.zeros((), dtype=frames.dtype)
        for tensor in _outputs(twin, step, frames):
            total = total + tensor.sum()
        total.backward()
    named = {n: p for n, p in twin.named_parameters() if p.requires_grad}
    return {n: np.zeros(tuple(p.shape)) if p.grad is None else p.grad.numpy() for n, p in named.items()}


def _outputs(twin: nn.Module, step: StepGraph, frames: Tensor) -> list[Tensor]:
    args = list(step.args)
    for position, source in step.state_args:
        args[position] = torch.zeros(frames.shape[1], *step.node(source.node).shape, dtype=frames.dtype)
    if step.mode != "step":
        moved = frames.transpose(0, 1) if step.time_axis == 1 else frames
        args[step.input_arg] = frames[0] if step.mode == "constant" else moved
        return _flat(listed(twin(*step.arguments(args))))
    new = {source: index for index, source in step.state_outputs}
    found = []
    for frame in frames:
        args[step.input_arg] = frame
        row = _flat(listed(twin(*step.arguments(args))))
        found += row
        for position, source in step.state_args:
            args[position] = row[new[source]]
    return found


def _flat(tree: Any) -> list[Tensor]:
    return [tree] if isinstance(tree, Tensor) else [t for part in tree for t in _flat(part)]
