"""Which way a torch network takes its input, and the side of a cross-validation made of it."""

from __future__ import annotations

import numpy as np
from torch import nn

from snnax.errors import SnnaxError
from snnax.interop.snntorch.reading import graph_of_step
from snnax.interop.snntorch.runner import TorchSide
from snnax.interop.snntorch.step_graph import StepGraph
from snnax.interop.snntorch.tracing import trace


def torch_side(net: nn.Module, x: np.ndarray) -> TorchSide:
    """The side for ``x`` ``[T, B, ...]``: a ``forward`` that loops over time gets all of it, others one step.

    Raises:
        ConversionError: if the network cannot be traced on one step.
        ShapeError: if the input does not fit.
    """
    step = trace_on(net, x)
    return TorchSide(net, step, graph_builder=lambda: graph_of_step(step))


def trace_on(net: nn.Module, x: np.ndarray) -> StepGraph:
    """The step graph of a network whose whole input is ``x``, however it takes it."""
    try:
        whole = trace(net, x)
    except SnnaxError:
        return trace(net, x[0])
    return whole if whole.mode == "sequence" else trace(net, x[0])
