"""A snnTorch network as one side of a cross-validation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from snnax.errors import ArgumentError, ShapeError, SnnaxError
from snnax.interop.snntorch.members import is_neuron, is_sequence, neuron_kind, neurons_of, reset_states
from snnax.interop.snntorch.prepare import check_mode, copy_net, isolated, unwrap
from snnax.interop.snntorch.sequences import tap_sequence
from snnax.interop.snntorch.step_graph import STATE_NAMES, StepGraph, StepNode, listed
from snnax.interop.trace import NodeTrace, Trace


class TorchSide:
    """Runs a snnTorch network and records every neuron layer.

    Args:
        net: the user's network; each run works on a copy of it, from the reset state.
        step: its traced step, see :func:`snnax.interop.snntorch.tracing.trace`.
        graph_builder: makes its NIR graph.
        label: what reports call this side.

    Example:
        >>> import numpy as np, snntorch, torch
        >>> from snnax.interop.snntorch.tracing import trace
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> side = TorchSide(net, trace(net, np.ones((1, 3))), graph_builder=lambda: None)
        >>> side.run(np.ones((5, 1, 3), np.float32)).nodes["1"].spk.shape
        (5, 1, 2)
    """

    def __init__(
        self,
        net: nn.Module,
        step: StepGraph,
        graph_builder: Callable[[], nir.NIRGraph],
        label: str = "snnTorch",
    ) -> None:
        self.label = label
        self._net = unwrap(net)
        self._step = step
        self._graph_builder = graph_builder

    def graph(self) -> nir.NIRGraph:
        """The network as a NIR graph in memory."""
        return self._graph_builder()

    def run(self, x: np.ndarray) -> Trace:
        """Run all steps of ``x`` ``[T, B, ...]`` from the reset state, in the precision of ``x``.

        A network that loops over one constant frame takes it as ``[B, ...]`` too.

        Raises:
            ShapeError: ``x`` does not fit the network, or has another number of steps than its loop.
        """
        return self._execute(x, {})

    def replay(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        """Run ``x`` while each neuron in ``forced`` emits the spikes given there, ``[T, B, ...]``.

        The trace holds what each neuron would have done.
        """
        known = [node.name for node in self._neuron_nodes()]
        for name in forced:
            if name not in known:
                raise ArgumentError(
                    f"forced spikes for {name!r}, which is no neuron of the network: {known}."
                )
        return self._execute(x, forced)

    def _execute(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        frames, num_steps = self._frames(np.asarray(x))
        check_mode(self._net)
        twin = copy_net(self._net).to(dtype=frames.dtype)
        neurons = neurons_of(twin)
        reset_states(neurons, frames.dtype)
        nodes = self._nodes(neurons)
        for name, spikes in forced.items():
            nodes[name].forced = torch.from_numpy(np.array(spikes)).to(frames)
        for path, module in neurons.items():
            uses = [node for node in nodes.values() if node.module is module]
            if uses and is_sequence(module):
                tap_sequence(module, uses)
            elif uses:
                _tap(module, uses, num_steps, path in self._step.blocked)
        with isolated(neurons, frames.dtype):
            outputs = self._call(twin, frames, num_steps)
        return Trace({name: node.trace(num_steps) for name, node in nodes.items()}, outputs)

    def _frames(self, x: np.ndarray) -> tuple[Tensor, int]:
        """``x`` as a tensor: all steps, or the one frame of a constant input; and the number of steps."""
        step = self._step
        rank = len(step.input_shape) + 1
        constant = step.mode == "constant"
        expected = f"x of shape [T, B, {', '.join(map(str, step.input_shape))}]"
        ranks = (rank, rank + 1) if constant else (rank + 1,)
        if x.ndim not in ranks or x.shape[x.ndim - len(step.input_shape) :] != step.input_shape:
            raise ShapeError(f"{self.label} was given x of shape {x.shape}; expected {expected}.")
        if not np.issubdtype(x.dtype, np.floating):
            x = x.astype(np.float32)
        device = next((p.device for p in self._net.parameters()), None)
        if not constant or x.ndim == rank:
            return torch.from_numpy(np.array(x)).to(device), step.num_steps or 1 if constant else len(x)
        if len(x) != step.num_steps:
            raise ShapeError(
                f"{self.label} loops over {step.num_steps} steps inside forward, and x has {len(x)}. "
                f"Pass one frame x[B, ...], or {step.num_steps} equal ones."
            )
        if not (x == x[:1]).all():
            raise ShapeError(
                f"{self.label} shows the same frame in every step, and the frames of x differ. "
                "Pass one frame x[B, ...]; to run a sequence, index time in forward: x[t]."
            )
        return torch.from_numpy(np.array(x[0])).to(device), len(x)

    def _nodes(self, neurons: dict[str, nn.Module]) -> dict[str, _Node]:
        """One record for each neuron node of the step."""
        paths = {id(module): path for path, module in neurons_of(self._net).items()}
        return {n.name: _Node(n.name, neurons[paths[id(n.module)]]) for n in self._neuron_nodes()}

    def _neuron_nodes(self) -> list[StepNode]:
        return [n for n in self._step.nodes if n.module is not None and is_neuron(n.module)]

    def _call(self, twin: nn.Module, frames: Tensor, num_steps: int) -> tuple[np.ndarray, ...]:
        """Call the network once, or once for each step, and stack what it returns."""
        step = self._step
        batch = frames.shape[0 if step.mode == "constant" else 1]
        args = [a.to(frames) if isinstance(a, Tensor) else a for a in step.args]
        for position, source in step.state_args:
            pooled = isinstance(step.node(source.node).module, snntorch.SConv2dLSTM)
            args[position] = frames.new_zeros(0 if pooled else (batch, *step.node(source.node).shape))
        try:
            if step.mode == "step":
                return self._call_steps(twin, frames, args)
            args[step.input_arg] = frames.transpose(0, 1) if step.time_axis == 1 else frames
            result = listed(twin(*step.arguments(args)))
        except SnnaxError:
            raise
        except (IndexError, RuntimeError, ValueError) as error:
            turned = " (forward takes the batch first, and x has time first: x.swapaxes(0, 1))"
            raise ShapeError(
                f"{self.label} failed on {num_steps} steps of shape {tuple(frames.shape)}: {error}. "
                f"It was traced with {step.num_steps or 1} steps and a batch of {step.batch_size}; "
                f"pass x[T, B, ...] that net can run{turned if step.time_axis == 1 else ''}."
            ) from error
        parts = [result] if step.single else list(result)
        stacked = []
        for part, axis in zip(_flat_records(parts), step.output_axes, strict=True):
            whole = torch.stack(part) if isinstance(part, list) else part.transpose(0, axis or 0)
            if len(whole) != num_steps:
                raise ShapeError(
                    f"{self.label} returned {len(whole)} steps for the {num_steps} of x, so its loop has a "
                    "fixed length. Pass as many steps as the loop has, or loop over range(x.size(0))."
                )
            stacked.append(_array(whole))
        return tuple(stacked)

    def _call_steps(self, twin: nn.Module, frames: Tensor, args: list[Any]) -> tuple[np.ndarray, ...]:
        """One call for each step, with explicit states handed on."""
        step = self._step
        new = {source: index for index, source in step.state_outputs}
        rows = []
        for frame in frames:
            args[step.input_arg] = frame
            row = list(_flat(listed(twin(*step.arguments(args)))))
            rows.append(row)
            for position, source in step.state_args:
                args[position] = row[new[source]]
        return tuple(_array(torch.stack(column)) for column in zip(*rows, strict=True))


@dataclass
class _Node:
    """What one neuron node received and did so far."""

    name: str
    module: nn.Module
    inputs: list[np.ndarray] = field(default_factory=list)
    spikes: list[np.ndarray] = field(default_factory=list)
    states: dict[str, list[np.ndarray]] = field(default_factory=dict)
    forced: Tensor | None = None

    def trace(self, num_steps: int) -> NodeTrace:
        """The finished record."""
        if len(self.spikes) != num_steps:
            raise ShapeError(
                f"{self.name!r} ran {len(self.spikes)} steps, and x has {num_steps}: the loop in forward has "
                "a fixed length. Pass as many steps as the loop has."
            )
        kind, inputs, spikes = neuron_kind(self.module), np.stack(self.inputs), np.stack(self.spikes)
        states = {state: np.stack(values) for state, values in self.states.items()}
        return NodeTrace(self.name, kind, inputs, spikes, states)


def _tap(module: nn.Module, uses: list[_Node], num_steps: int, blocked: bool) -> None:
    """Let ``module``, part of a copy, write each call into the node that it belongs to."""
    parts: Any = module
    forward, calls = parts.forward, 0
    names = [s for s in STATE_NAMES[neuron_kind(module)] if s != "spk"]
    feeds_back = "spk" in STATE_NAMES[neuron_kind(module)]
    signature = inspect.signature(type(module).forward)

    def tapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        number, calls = calls, calls + 1
        use, t = divmod(number, num_steps) if blocked else reversed(divmod(number, len(uses)))
        node, t = uses[use % len(uses)], t % num_steps
        node.inputs.append(_array(signature.bind(module, *args, **kwargs).arguments["input_"]))
        result = forward(*args, **kwargs)
        spk = result[0] if isinstance(result, tuple) else result
        node.spikes.append(_array(spk))
        for state in names:
            node.states.setdefault(state, []).append(_array(getattr(module, state)))
        if node.forced is None:
            return result
        expected = (num_steps, *spk.shape)
        if node.forced.shape != expected:
            raise ShapeError(
                f"forced spikes of {node.name!r} have shape {tuple(node.forced.shape)}; expected {expected}."
            )
        spk = node.forced[t].clone()
        if feeds_back:
            parts.spk = spk
        return (spk, *result[1:]) if isinstance(result, tuple) else spk

    vars(module)["forward"] = tapped


def _flat(tree: Any) -> list[Tensor]:
    """All tensors in nested lists and tuples."""
    return [tree] if isinstance(tree, Tensor) else [t for part in tree for t in _flat(part)]


def _flat_records(parts: list[Any]) -> list[Any]:
    """Returned tensors and lists over time, tuples flattened."""
    return [r for p in parts for r in (_flat_records(list(p)) if isinstance(p, tuple) else [p])]


def _array(tensor: Tensor) -> np.ndarray:
    """A copy that later in-place changes do not reach."""
    return np.array(tensor.detach().cpu().numpy())
