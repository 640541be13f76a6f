"""A snnTorch network as one side of a cross-validation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import nir
import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from snnax.errors import ArgumentError, ConversionError, ShapeError, SnnaxError
from snnax.interop.snntorch.members import is_neuron, is_sequence, neuron_kind, neurons_of, reset_states
from snnax.interop.snntorch.reading import graph_of_step
from snnax.interop.snntorch.tracing import trace
from snnax.interop.torch.gradients import weight_gradients
from snnax.interop.torch.prepare import check_mode, copy_net, isolated, unwrap
from snnax.interop.torch.step_graph import StepGraph, StepNode, listed, state_names
from snnax.interop.trace import NodeTrace, Trace

# --- Recording the neurons that take all time steps at once ---------------------------------------


class Record(Protocol):
    """Where a neuron's steps are written."""

    name: str
    inputs: list[np.ndarray]
    spikes: list[np.ndarray]
    states: dict[str, list[np.ndarray]]
    forced: Tensor | None


def tap_sequence(module: nn.Module, uses: list[Any]) -> None:
    """Let ``module``, part of a copy, write its one call on ``[T, B, N]`` into the node that it belongs to.

    The membrane is what it compares with the threshold, which only some of these layers return. The spikes of
    ``AssociativeLeaky`` are those of its matrix, ``[T, B, n, d]``, before they are read by the query.

    Raises:
        ConversionError: if the network calls it more than once.
    """
    if len(uses) > 1:
        raise ConversionError(uses[0].name, "it is used twice", "Give each layer a neuron of its own.")
    node: Record = uses[0]
    parts: Any = module
    forward: Callable[..., Any] = parts.forward
    if isinstance(module, snntorch.AssociativeLeaky):
        _tap_matrix(node, parts)
        return
    seen: list[Tensor] = []
    if isinstance(module, snntorch.LeakyParallel):
        _watch(parts.rnn, seen)

    def tapped(x: Tensor) -> Any:
        seen.clear()
        result = forward(x)
        spk, *states = (result,) if isinstance(result, Tensor) else result
        _write(node, x, spk, "mem", (*states, *seen, spk)[0])
        if node.forced is None:
            return result
        forced = _forced(node, spk)
        return (forced, *states) if states else forced

    vars(module)["forward"] = tapped


def _watch(rnn: nn.Module, seen: list[Tensor]) -> None:
    """Keep what a recurrence returns over time."""
    forward: Callable[..., Any] = rnn.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = forward(*args, **kwargs)
        seen.append(result[0])
        return result

    vars(rnn)["forward"] = watched


def _tap_matrix(node: Record, module: Any) -> None:
    """Record, and force, the spikes of an associative memory where it fires."""
    forward: Callable[..., Any] = module.forward
    fire: Callable[..., Any] = module.fire
    inputs: list[Tensor] = []

    def tapped(x: Tensor) -> Any:
        inputs.append(x)
        return forward(x)

    def fired(mem: Tensor) -> Tensor:
        spk: Tensor = fire(mem)
        sides = (module.d_value, module.d_key)
        turned = [v.reshape(*v.shape[:2], *sides).transpose(2, 3) for v in (spk, mem)]
        _write(node, inputs.pop(), turned[0], "state", turned[1])
        if node.forced is None:
            return spk
        return _forced(node, turned[0]).transpose(2, 3).reshape(spk.shape)

    vars(module).update(forward=tapped, fire=fired)


def _forced(node: Record, spk: Tensor) -> Tensor:
    if node.forced is None or node.forced.shape != spk.shape:
        given = None if node.forced is None else tuple(node.forced.shape)
        raise ShapeError(f"forced spikes of {node.name!r} have shape {given}; expected {tuple(spk.shape)}.")
    return torch.clone(node.forced)


def _write(node: Record, x: Tensor, spk: Tensor, state: str, mem: Tensor) -> None:
    node.inputs.extend(_rows(x))
    node.spikes.extend(_rows(spk))
    node.states.setdefault(state, []).extend(_rows(mem))


def _rows(tensor: Tensor) -> list[np.ndarray]:
    return list(np.array(tensor.detach().cpu().numpy()))


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
    names = [s for s in state_names(neuron_kind(module)) if s != "spk"]
    feeds_back = "spk" in state_names(neuron_kind(module))
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


# --- Which way a torch network takes its input, and the side of a cross-validation made of it -----


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
