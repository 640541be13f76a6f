"""A Norse network as one side of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from snnax.errors import ArgumentError, ShapeError, SnnaxError
from snnax.interop.norse.cells import KINDS, Resistance, cell_of, is_cell, tap
from snnax.interop.norse.reading import common_dt, graph_of_step
from snnax.interop.norse.tracing import NorseStep, frames, run, takes_state, takes_time, trace
from snnax.interop.torch.prepare import check_mode, copy_net, isolated, unwrap
from snnax.interop.torch.step_graph import StepNode
from snnax.interop.trace import NodeTrace, Trace

# --- What one Norse neuron received and did over a run, in the terms of the neuron that it is converted to


@dataclass
class Record:
    """The recording of a neuron, made while a network runs.

    Attributes:
        name: of its node.
        module: the neuron, of a copy of the network.
        gain: the resistance in front of it, of the copy.
        rest: potential that its membrane is recorded above.
        num_steps: how many there will be.
        forced: what it is to emit ``[T, B, ...]``.
        entry: what the resistance got last.
    """

    name: str
    module: Any
    gain: Resistance | None
    rest: Tensor
    num_steps: int
    forced: Tensor | None = None
    entry: Tensor | None = None
    inputs: list[np.ndarray] = field(default_factory=list)
    spikes: list[np.ndarray] = field(default_factory=list)
    states: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @classmethod
    def of(cls, node: StepNode, name: str, module: Any, gain: Any, like: Tensor) -> Record:
        """A record of ``module``, whose parameters get the precision of ``like``, the sequence that it will run."""
        cell = cell_of(node.name, module, node.shape)
        module.p = type(module.p)(*(_cast(value, like) for value in module.p))
        record = cls(name, module, gain, torch.from_numpy(np.array(cell.rest)).to(like.device), len(like))
        if gain is not None:
            forward = gain.forward

            def entered(x: Tensor) -> Tensor:
                record.entry = x
                return forward(x)

            vars(gain)["forward"] = entered
        tap(module, record.step)
        return record

    def step(self, x: Tensor, state: Any, run: Callable[[], tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """Record one step."""
        out, after = run()
        t, kind = len(self.inputs), KINDS[type(self.module)]
        total, feedback = self._currents(x, state)
        shown = total if self.entry is None else self.entry
        if self.gain is not None and feedback is not None and not self.gain.apart:
            shown = shown + (feedback + self.gain.bias.to(x)) / self._factor(both=True)
        mem = after.v
        if self.gain is not None and self.gain.late_reset:
            mem = self._charged(kind, total if kind in ("LIF", "IF") else state.i + total, state.v)
        self._keep("mem", self._above(mem, out))
        if kind.startswith("Cuba"):
            jumped = self.gain is not None and self.gain.current == "new"
            self._keep("syn", (state.i + total if jumped else after.i) / self._factor())
        self.inputs.append(_array(shown))
        fires = kind not in ("LI", "CubaLI")
        self.spikes.append(_array(out if fires else self._above(out, out)))
        if self.forced is None:
            return out, after
        if self.forced.shape != (self.num_steps, *out.shape):
            raise ShapeError(
                f"forced spikes of {self.name!r} have shape {tuple(self.forced.shape)}; expected "
                f"{(self.num_steps, *out.shape)}."
            )
        out = self.forced[t].clone() if fires else self.forced[t] + self.rest.to(out)
        return out, (after._replace(z=out) if "z" in after._fields else after)

    def trace(self) -> NodeTrace:
        """The finished record.

        Raises:
            ShapeError: if the neuron ran another number of steps than the input has.
        """
        if len(self.spikes) != self.num_steps:
            raise ShapeError(
                f"{self.name!r} ran {len(self.spikes)} steps, and x has {self.num_steps}: the loop in forward has a "
                "fixed length. Pass as many steps as the loop has."
            )
        states = {state: np.stack(values) for state, values in self.states.items()}
        kind = type(self.module).__name__
        return NodeTrace(self.name, kind, np.stack(self.inputs), np.stack(self.spikes), states)

    def _keep(self, state: str, value: Tensor) -> None:
        self.states.setdefault(state, []).append(_array(value))

    def _currents(self, x: Tensor, state: Any) -> tuple[Tensor, Tensor | None]:
        """The whole input current, and the part of it that is recurrent."""
        module, feedback = self.module, None
        if hasattr(module, "input_weights"):
            x = linear(x, module.input_weights)
        if hasattr(module, "recurrent_weights"):
            feedback = linear(state.z, module.recurrent_weights)
            x = x + feedback
        return x, feedback

    def _factor(self, both: bool = False) -> Any:
        """What Norse's current is larger by."""
        if self.gain is None:
            return 1.0
        return self.gain.r * self.gain.w_in if both else self.gain.r

    def _charged(self, kind: str, current: Tensor, v: Tensor) -> Tensor:
        """The membrane before its reset."""
        p = self.module.p
        return (
            v + current if kind == "IF" else v + self.module.dt * p.tau_mem_inv * ((p.v_leak - v) + current)
        )

    def _above(self, v: Tensor, like: Tensor) -> Tensor:
        """A membrane above its rest."""
        v = torch.broadcast_to(v, like.shape)
        return v if not bool((self.rest != 0).any()) else (v.double() - self.rest).to(v.dtype)


def _cast(value: Any, like: Tensor) -> Any:
    """A parameter in the precision of ``like``, and a tensor of its own."""
    if isinstance(value, nn.Parameter) or not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().clone().to(like)


def _array(tensor: Tensor) -> np.ndarray:
    """A copy that later in-place changes do not reach."""
    return np.array(tensor.detach().cpu().numpy())


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
