"""A torch network as one side of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from snnax.errors import ArgumentError, ConversionError, ShapeError, SnnaxError
from snnax.interop.program.nodes import flat
from snnax.interop.torch.graph_reader import graph_of_step
from snnax.interop.torch.observers import Observer, array
from snnax.interop.torch.prepare import check_mode, check_norms, gradients_of, isolated, reset_copy, unwrap
from snnax.interop.torch.step_graph import StepGraph, StepNode, listed
from snnax.interop.torch.tracing import trace
from snnax.interop.trace import Trace

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter


class TorchSide:
    """Runs a torch network and records every neuron layer.

    Args:
        net: the user's network; each run works on a copy of it, from the reset state.
        step: its traced step, see :func:`snnax.interop.torch.tracing.trace`.
        adapter: its framework.
        graph_builder: makes its NIR graph.

    Example:
        >>> import numpy as np, snntorch, torch
        >>> from snnax.interop.frameworks.snntorch import ADAPTER
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> side = torch_side(net, np.ones((5, 1, 3), np.float32), ADAPTER)
        >>> side.run(np.ones((5, 1, 3), np.float32)).nodes["1"].spk.shape
        (5, 1, 2)
    """

    def __init__(
        self,
        net: nn.Module,
        step: StepGraph,
        adapter: Adapter,
        graph_builder: Callable[[], nir.NIRGraph] | None = None,
    ) -> None:
        self.label = adapter.label
        self._net = unwrap(net)
        self._step = step
        self._adapter = adapter
        self._graph_builder = graph_builder

    @property
    def num_steps(self) -> int | None:
        """The length of its loop over time where it was traced; None if a call is one step."""
        return self._step.num_steps

    @property
    def takes_sequences(self) -> bool:
        """True if a call takes all steps, which may differ."""
        return self._step.mode == "sequence"

    def graph(self) -> nir.NIRGraph:
        """The network as a NIR graph in memory."""
        if self._graph_builder is not None:
            return self._graph_builder()
        return graph_of_step(self._step, self._adapter, self._adapter.time_step(self._net, None))

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
        known = [self._adapter.observer(node, self._step).name for node in self._neuron_nodes()]
        for name in forced:
            if name not in known:
                raise ArgumentError(
                    f"forced spikes for {name!r}, which is no neuron of the network: {known}."
                )
        return self._execute(x, forced)

    def _execute(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        frames, num_steps = self._frames(np.asarray(x))
        check_mode(self._net)
        check_norms(self._net)
        twin, neurons = reset_copy(self._net, self._adapter, frames.dtype)
        records: dict[str, list[Observer]] = {}  # of the uses of each neuron, by its path
        paths = {id(module): path for path, module in self._net.named_modules()}
        modules = dict(twin.named_modules())
        for node in self._neuron_nodes():
            record = self._adapter.observer(node, self._step)
            path = paths[id(node.module)]
            record.kind, record.num_steps = self._adapter.kind(neurons[path]), num_steps
            if record.name in forced:
                record.forced = torch.from_numpy(np.array(forced[record.name])).to(frames)
            record.prepare(neurons[path], modules, frames)
            records.setdefault(path, []).append(record)
        for path, uses in records.items():
            self._tap(path, neurons[path], uses, num_steps)
        with isolated(self._adapter, neurons, frames.dtype):
            outputs = self._call(twin, frames, num_steps)
        order = [self._adapter.observer(node, self._step).name for node in self._neuron_nodes()]
        traces = {record.name: record.trace() for uses in records.values() for record in uses}
        return Trace({name: traces[name] for name in order}, outputs)

    def _tap(self, path: str, module: nn.Module, uses: list[Observer], num_steps: int) -> None:
        """Let a neuron of the copy write each call into the record that it belongs to."""
        if self._adapter.is_sequence(module):
            if len(uses) > 1:
                raise ConversionError(
                    uses[0].name, "it is used twice", "Give each layer a neuron of its own."
                )
            self._adapter.tap_sequence(module, uses[0])
            return
        calls = 0

        def handler(x: Tensor, before: Any, run: Callable[[], Any]) -> Any:
            nonlocal calls
            number, calls = calls, calls + 1
            blocked = path in self._step.blocked
            use, t = divmod(number, num_steps) if blocked else reversed(divmod(number, len(uses)))
            return uses[use % len(uses)].observe(t % num_steps, x, before, run)

        self._adapter.tap(path, module, handler)

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

    def _neuron_nodes(self) -> list[StepNode]:
        return [n for n in self._step.nodes if n.module is not None and self._adapter.is_neuron(n.module)]

    def _call(self, twin: nn.Module, frames: Tensor, num_steps: int) -> tuple[np.ndarray, ...]:
        """Run the network, and stack what it returns."""
        step = self._step
        try:
            parts = self._returned(twin, frames)
        except SnnaxError:
            raise
        except (IndexError, RuntimeError, ValueError) as error:
            turned = " (forward takes the batch first, and x has time first: x.swapaxes(0, 1))"
            raise ShapeError(
                f"{self.label} failed on {num_steps} steps of shape {tuple(frames.shape)}: {error}. "
                f"It was traced with {step.num_steps or 1} steps and a batch of {step.batch_size}; "
                f"pass x[T, B, ...] that net can run{turned if step.time_axis == 1 else ''}."
            ) from error
        stacked = []
        for part, axis in zip(parts, step.output_axes or [None] * len(parts), strict=True):
            whole = torch.stack(part) if isinstance(part, list) else part.transpose(0, axis or 0)
            if len(whole) != num_steps:
                raise ShapeError(
                    f"{self.label} returned {len(whole)} steps for the {num_steps} of x, so its loop has a "
                    "fixed length. Pass as many steps as the loop has, or loop over range(x.size(0))."
                )
            stacked.append(array(whole))
        return tuple(stacked)

    def _returned(self, twin: nn.Module, frames: Tensor) -> list[Any]:
        """What the copy returns: tensors over time, or lists of one tensor for each step.

        It is called once, or once for each step, with explicit states handed on.
        """
        step = self._step
        batch = frames.shape[0 if step.mode == "constant" else 1]
        args = [a.to(frames) if isinstance(a, Tensor) else a for a in step.args]
        for position, source in step.state_args:
            node = step.node(source.node)
            args[position] = self._adapter.start(node.module, frames.new_zeros(batch, *node.shape))
        if step.mode != "step":
            args[step.input_arg] = frames.transpose(0, 1) if step.time_axis == 1 else frames
            result = listed(self._adapter.call(twin, step.arguments(args)))
            return _flat_records([result] if step.single else list(result))
        new = {source: index for index, source in step.state_outputs}
        rows = []
        for frame in frames:
            args[step.input_arg] = frame
            row = [*flat(listed(self._adapter.call(twin, step.arguments(args))))]
            rows.append(row)
            for position, source in step.state_args:
                args[position] = row[new[source]]
        return [list(column) for column in zip(*rows, strict=True)]


class DifferentiableSide(TorchSide):
    """A torch side that has gradients to offer."""

    def gradients(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the sum of all that the network returns over ``x`` ``[T, B, ...]``, by parameter name.

        From the reset state, in the precision of ``x``. A parameter that nothing depends on has a gradient of zeros.
        """
        frames, _ = self._frames(np.asarray(x))
        twin, neurons = reset_copy(self._net, self._adapter, frames.dtype)
        with isolated(self._adapter, neurons, frames.dtype), torch.enable_grad():
            total = torch.zeros((), dtype=frames.dtype)
            for part in self._returned(twin, frames):
                total = total + sum(tensor.sum() for tensor in flat(part))
            total.backward()
        return gradients_of(twin)


def _flat_records(parts: list[Any]) -> list[Any]:
    """Returned tensors and lists over time, tuples flattened."""
    return [r for p in parts for r in (_flat_records(list(p)) if isinstance(p, tuple) else [p])]


# --- Which way a network takes its input ----------------------------------------------------------


def torch_side(net: nn.Module, x: np.ndarray, adapter: Adapter, sample: Any = None) -> TorchSide:
    """The side for ``x`` ``[T, B, ...]``: a ``forward`` that loops over time gets all of it, others one step.

    ``sample`` is what one call takes, where ``x`` alone does not say it.

    Raises:
        ConversionError: if the network cannot be traced on one step.
        ShapeError: if the input does not fit.
    """
    own = adapter.sample_of(unwrap(net), x)
    sample = sample if own is None else own
    step = trace_on(net, x, adapter) if sample is None else trace(net, sample, adapter)
    return (DifferentiableSide if adapter.gradients else TorchSide)(net, step, adapter)


def trace_on(net: nn.Module, x: np.ndarray, adapter: Adapter) -> StepGraph:
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
                step = trace(net, whole, adapter)
            except SnnaxError as error:
                errors.append(error)
                continue
            if step.mode == "sequence" and (axis == 0 or step.time_axis == 1):
                return step
        try:
            return trace(net, part[0], adapter)
        except SnnaxError as error:
            errors.append(error)
    raise next((e for e in errors[:1] if isinstance(e, ConversionError)), errors[-1])
