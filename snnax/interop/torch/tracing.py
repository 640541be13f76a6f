"""Tracing: one concrete call of a torch network, recorded operation by operation.

The network runs as it is, on a copy: layers and neurons report their calls, and torch's dispatcher tells what
``forward`` does with tensors in between. Nothing is guessed from source code.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.torch.calls import Call
from snnax.interop.torch.folding import fold
from snnax.interop.torch.frames import line_of
from snnax.interop.torch.functions import Functions
from snnax.interop.torch.layer_calls import LayerCalls
from snnax.interop.torch.leaves import Leaves
from snnax.interop.torch.prepare import (
    check_finite,
    check_mode,
    check_norms,
    check_real,
    copy_net,
    isolated,
    owned,
    threads_for,
    unwrap,
)
from snnax.interop.torch.reached import chance
from snnax.interop.torch.records import Op, Recording, Value
from snnax.interop.torch.repeats import Watch, check_hooks, other, restart, untouched
from snnax.interop.torch.resized import batch_difference, length_difference
from snnax.interop.torch.rules import numbers_beyond
from snnax.interop.torch.signals import Signals
from snnax.interop.torch.step_graph import StepGraph, listed
from snnax.interop.torch.steps import calls_difference

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

_FEW = 2
"""Steps that are fewer than those of nearly all samples."""

_OPERATIONS = 5
"""As many take as long as a call of a layer."""


def trace(net: nn.Module, sample: Any, adapter: Adapter) -> StepGraph:
    """Find the graph of one time step of ``net`` by running it once on ``sample``.

    Args:
        net: a torch module with neurons of the framework, in evaluation mode. It is copied; neither its
            parameters nor its hidden states change.
        sample: what one call takes, NumPy or torch: one step ``[B, ...]``, or, if ``forward`` loops over
            time, a sequence ``[T, B, ...]`` or one constant frame ``[B, ...]``. A tuple stands for
            ``forward``'s positional arguments; states may be left out or None.
        adapter: the framework.

    Returns:
        The step, its inputs and outputs, and the loop in which it was found.

    Raises:
        ConversionError: ``forward`` does something that has no equal in a graph of layers.
        TrainingModeError: a layer is in training mode.
        ShapeError: a layer does not fit its input.

    Example:
        >>> import snntorch as snn, torch
        >>> from snnax.interop.frameworks.snntorch import ADAPTER
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True))
        >>> [node.name for node in trace(net, torch.zeros(1, 3), ADAPTER).nodes]
        ['0', '1']
    """
    net = unwrap(net)
    adapter.check_network(net)
    check_mode(net)
    check_norms(net)
    check_real(net, adapter)
    check_finite(net, adapter)
    check_hooks(net)
    errors: list[tuple[bool, SnnaxError]] = []
    with untouched(net):
        for call in adapter.calls(net, sample):
            try:
                step = _traced(net, call, adapter)
                break
            except SnnaxError as error:
                errors.append((call.guess, error))
        else:
            raise min(errors, key=lambda pair: pair[0])[1]  # the first that is about no guess
    adapter.check_step(step)
    return step


def _traced(net: nn.Module, call: Call, adapter: Adapter) -> StepGraph:
    """The graph, with a probe for each optional state that turns out to be one."""
    try:
        run = _Run(net, call, adapter)
        recording = run.record()
    except SnnaxError:
        if not call.optional:
            raise
        return _Run(net, call.without(call.optional), adapter).folded()
    unused = {p for p in call.optional if p not in recording.state_positions()}
    return _Run(net, call.without(unused), adapter).folded() if unused else run.folded(recording)


class _Run:
    """A copy of a network that can be called again and again while its operations are recorded."""

    def __init__(self, net: nn.Module, call: Call, adapter: Adapter) -> None:
        self.adapter = adapter
        self.net = net
        self.call = call
        self.label = type(net).__name__
        self.twin = copy_net(net)
        restart(adapter, self.twin, call.dtype)
        self._owned = owned(net, self.twin)
        self._calls = LayerCalls(self.twin, self.label, adapter)

    def folded(self, recording: Recording | None = None) -> StepGraph:
        """The graph of one step; refused if a second call, on other data, computes something else."""
        first = recording or self.record()
        watch = Watch(self.twin, self.adapter, lambda tensors: self._calls.signals.following(tensors))
        step = fold(first)
        restart(self.adapter, self.twin, self.call.dtype)
        again = self.record(other_data=True)
        problem = watch.problem() or calls_difference(first, again)
        if problem is None:
            problem = self._batch_problem(step) or self._length_problem(step)
        if problem is not None:
            raise problem
        return step

    def _batch_problem(self, step: StepGraph) -> ConversionError | None:
        """Why one sample, as after ``squeeze()``, or many for a few steps are not computed as the user's sample is."""
        batch = {position: 0 for position, _ in step.state_args}
        batch[step.input_arg] = 1 - step.time_axis if step.mode == "sequence" else 0
        size = 2 if step.batch_size == 1 else 1
        one = partial(self._resized, self.call.resized(batch, size))
        problem = batch_difference(step, size, step.num_steps, self.label, one)
        size, steps = 2 * step.batch_size + 1, step.num_steps
        call = self.call.resized(batch, size)
        if step.mode == "sequence":
            steps = 3 if step.num_steps == _FEW else _FEW
            call = call.resized({step.input_arg: step.time_axis}, steps)
        return problem or batch_difference(step, size, steps, self.label, partial(self._resized, call))

    def _length_problem(self, step: StepGraph) -> ConversionError | None:
        """Why it computes something else beyond a number of steps that the user's code names."""
        if step.mode != "sequence" or step.num_steps is None:
            return None
        for number in numbers_beyond(self.net, step.num_steps, _OPERATIONS * len(step.nodes)):
            call = self.call.resized({step.input_arg: step.time_axis}, number + 2)
            resized = partial(self._resized, call)
            if (problem := length_difference(step, number + 2, self.label, resized)) is not None:
                return problem
        return None

    def _resized(self, call: Call) -> StepGraph:
        """The step of a call with other sizes."""
        restart(self.adapter, self.twin, self.call.dtype)
        return fold(self.record(call))

    def record(self, call: Call | None = None, other_data: bool = False) -> Recording:
        """Call the copy once.

        Args:
            call: the arguments; those of the user's sample if not given.
            other_data: the input has the same shape and type, and other values.
        """
        call, leaves = call or self.call, Leaves(self.twin, self.net, frozenset())
        signals = Signals(self.label, leaves, self.net, self.adapter)
        args = [a.clone() if isinstance(a, Tensor) else a for a in call.args]
        missing = {}
        for position, value in enumerate(args):
            if isinstance(value, Tensor):
                if other_data and (call.only_input or (value.numel() and bool((value != 0).any()))):
                    args[position] = value = other(value)
                signals.argument(value, call.names[position], position)
                if not value.numel():
                    missing[id(value)] = call.names[position]
        self._calls.begin(signals)
        result = self._called(call.arguments(args), signals, Functions(signals, self._owned, missing))
        self._calls.check_left()
        for note in signals.notes:  # a graph of layers would have another gradient
            signals.problems.append(ConversionError(self.label, note.text, "Write y = y + x.", note.line))
        return Recording(
            ops=signals.ops,
            result=self._values(result, signals),
            args=args,
            call=call,
            modules={name or self.label: module for name, module in self.net.named_modules()},
            label=self.label,
            adapter=self.adapter,
            problems=signals.problems,
            ends={name: self._ends(module, signals) for name, module in self._calls.neurons.items()},
            more=partial(self._neuron_problems, signals.ops),
        )

    def _ends(self, module: nn.Module, signals: Signals) -> dict[str, Value | None]:
        """The states of a neuron after the call."""
        kept = self.adapter.kept(module).items()
        return {state: None if tensor is None else signals.of(tensor) for state, tensor in kept}

    def _called(self, args: tuple[Any, ...], signals: Signals, functions: Functions) -> Any:
        """Call the copy; what ``forward`` itself raises is reported with the sample that made it."""
        drawn = chance()
        given = [arg for arg in self.call.args if isinstance(arg, Tensor)]
        with isolated(self.adapter, self.adapter.neurons(self.twin), self.call.dtype), threads_for(given):
            try:
                with torch.enable_grad(), signals, functions:
                    result = listed(self.adapter.call(self.twin, args))
            except ConversionError as error:
                raise ConversionError.joined([*signals.problems, error]) from error.__cause__
            except SnnaxError:
                raise
            except Exception as error:
                how, remedy = self.adapter.call_text(args)
                problem = f"its forward raised {type(error).__name__}: {error}; {how}"
                raised = ConversionError(self._calls.failed or self.label, problem, remedy, line_of(error))
                raised.__cause__ = error
                raise ConversionError.joined([*signals.problems, raised]) from error
            if chance() != drawn:
                problem = "its forward draws random numbers, so that each call computes something else"
                signals.problems.append(ConversionError(self.label, problem, self.adapter.words.random))
        return result

    def _neuron_problems(self, ops: list[Op]) -> list[ConversionError]:
        """Why neurons that ran cannot be converted, one error for each."""
        found: dict[str, ConversionError] = {}
        for op in ops:
            if op.kind in ("neuron", "sequence") and op.held is not None and op.name not in found:
                try:
                    self.adapter.check_spec(op.name, op.held)
                except ConversionError as error:
                    found[op.name] = error
        return list(found.values())

    def _values(self, result: Any, signals: Signals) -> Any:
        """What ``forward`` returned, with values in place of tensors."""
        if isinstance(result, Tensor):
            return signals.output(result)
        if isinstance(result, list | tuple):
            return type(result)(self._values(part, signals) for part in result)
        raise ConversionError(
            self.label, f"its forward returns a {type(result).__name__}", self.adapter.words.results
        )
