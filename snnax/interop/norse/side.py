"""A Norse network as one side of a cross-validation."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from snnax.errors import ArgumentError, ShapeError, SnnaxError
from snnax.interop.norse.cells import is_cell
from snnax.interop.norse.gain import Resistance
from snnax.interop.norse.reading import common_dt, graph_of_step
from snnax.interop.norse.record import Record
from snnax.interop.norse.tracing import NorseStep, frames, run, takes_state, takes_time, trace
from snnax.interop.snntorch.prepare import check_mode, copy_net, isolated, unwrap
from snnax.interop.snntorch.step_graph import StepNode
from snnax.interop.trace import Trace


class NorseSide:
    """Runs a network of Norse cells and records every one of them.

    Membranes are recorded above the potential that Norse starts from (``v_leak``; of IAF ``v_reset``), as
    :func:`~snnax.interop.from_norse` converts them. The output of cells that do not fire, in the place of spikes,
    is that membrane.

    Args:
        net: the user's network; each run works on a copy of it, from Norse's initial state.
        step: its traced step.
        label: what reports call this side.

    Example:
        >>> import numpy as np, norse.torch as norse, torch
        >>> net = norse.SequentialState(torch.nn.Linear(3, 2), norse.LIFCell())
        >>> side = norse_side(net, np.ones((5, 1, 3), np.float32))
        >>> side.run(np.ones((5, 1, 3), np.float32)).nodes["1"].spk.shape
        (5, 1, 2)
    """

    def __init__(self, net: nn.Module, step: NorseStep, label: str = "Norse") -> None:
        self.label = label
        self._net = unwrap(net)
        self._step = step

    def graph(self) -> nir.NIRGraph:
        """The network as a NIR graph in memory."""
        return graph_of_step(self._step, common_dt(self._net))

    def run(self, x: np.ndarray) -> Trace:
        """Run all steps of ``x`` ``[T, B, ...]`` from Norse's initial state, in the precision of ``x``.

        Raises:
            ShapeError: ``x`` does not fit the network.
        """
        return self._execute(x, {})

    def replay(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        """Run ``x`` while each neuron in ``forced`` emits what is given there, ``[T, B, ...]``.

        The trace holds what each neuron would have done.
        """
        known = [self._name(node) for node in self._nodes()]
        if unknown := [name for name in forced if name not in known]:
            raise ArgumentError(
                f"forced spikes for {unknown[0]!r}, which is no neuron of the network: {known}."
            )
        return self._execute(x, forced)

    def _nodes(self) -> list[StepNode]:
        return [node for node in self._step.graph.nodes if is_cell(node.module)]

    def _execute(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        x = np.asarray(x)
        shape = self._step.graph.input_shape
        if x.ndim != len(shape) + 2 or x.shape[2:] != shape:
            expected = ", ".join(map(str, shape))
            raise ShapeError(
                f"{self.label} was given x of shape {x.shape}; expected x of shape [T, B, {expected}]."
            )
        whole = frames(x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float32), self._net)
        check_mode(self._net)
        twin = copy_net(self._net).to(dtype=whole.dtype)
        paths = {path: id(module) for path, module in self._net.named_modules()}
        copies = dict(twin.named_modules())
        records = []
        for node in self._nodes():
            path = next(path for path, key in paths.items() if key == id(node.module))
            gain = self._gain(node)
            record = Record.of(node, self._name(node), copies[path], gain and copies[gain], whole)
            if record.name in forced:
                record.forced = torch.from_numpy(np.array(forced[record.name])).to(whole)
            records.append(record)
        with isolated({}, whole.dtype):
            outputs = self._outputs(twin, whole)
        return Trace({record.name: record.trace() for record in records}, outputs)

    def _name(self, node: StepNode) -> str:
        """Name of a neuron's node in the model that the network is converted to."""
        gain = self._gain(node)
        front = None if gain is None else self._step.graph.node(gain).module
        inside = isinstance(front, Resistance) and bool(front.apart)
        return f"{node.name}.lif" if hasattr(node.module, "recurrent_weights") and not inside else node.name

    def _gain(self, node: StepNode) -> str | None:
        """Path of the resistance in front of a neuron."""
        source = node.inputs[0].node
        found = (n for n in self._step.graph.nodes if n.name == source)
        return next((n.name for n in found if isinstance(n.module, Resistance)), None)

    def _outputs(self, twin: nn.Module, whole: Tensor) -> tuple[np.ndarray, ...]:
        """What the network returns, stacked over time."""
        graph = self._step.graph
        inputs = whole.transpose(0, 1) if graph.time_axis == 1 else whole
        try:
            result = run(twin, inputs, self._step.stepwise)
        except SnnaxError:
            raise
        except (IndexError, RuntimeError, ValueError) as error:
            raise ShapeError(
                f"{self.label} failed on {len(whole)} steps of shape {tuple(whole.shape[1:])}: {error}. "
                "Pass x[T, B, ...] that net can run."
            ) from error
        parts = [result] if graph.single else _flat(result)
        stacked = []
        for part, axis in zip(parts, graph.output_axes, strict=True):
            rows = torch.stack(list(part)) if isinstance(part, list) else part.transpose(0, axis or 0)
            if len(rows) != len(whole):
                raise ShapeError(
                    f"{self.label} returned {len(rows)} steps for the {len(whole)} of x, so its loop has a fixed "
                    "length. Pass as many steps as the loop has, or loop over range(len(x))."
                )
            stacked.append(_array(rows))
        return tuple(stacked)


def norse_side(net: nn.Module, x: np.ndarray) -> NorseSide:
    """The side for ``x`` ``[T, B, ...]``.

    Raises:
        ConversionError: if the network cannot be traced.
        ShapeError: if the input does not fit.
    """
    inner = unwrap(net)
    stepwise = takes_state(inner) and not takes_time(inner)
    return NorseSide(net, trace(net, x[0, :2] if stepwise else x[:, :2]))


def _flat(result: Any) -> list[Any]:
    """Returned tensors and lists over time, tuples flattened."""
    return [r for part in result for r in (_flat(part) if isinstance(part, tuple) else [part])]


def _array(tensor: Tensor) -> np.ndarray:
    """A copy that later in-place changes do not reach."""
    return np.array(tensor.detach().cpu().numpy())
