"""Tracing: one concrete call of a torch network, recorded operation by operation.

The network runs as it is, on a copy: leaf modules report their calls, and a torch function mode sees
what ``forward`` does with tensors in between. Nothing is guessed from source code.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.torch.calls import Call
from snnax.interop.torch.prepare import (
    check_finite,
    check_mode,
    copy_net,
    isolated,
    owned,
    tensors_of,
    threads_for,
    unwrap,
)
from snnax.interop.torch.recorder import Recorder
from snnax.interop.torch.records import Op, Recording, line_of
from snnax.interop.torch.repeats import Watch, check_hooks, common_step, other, restart, untouched
from snnax.interop.torch.step_graph import StepGraph, listed

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter


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
    """A copy of a network that can be called again and again under a recorder."""

    def __init__(self, net: nn.Module, call: Call, adapter: Adapter) -> None:
        self.adapter = adapter
        self.net = net
        self.call = call
        self.label = type(net).__name__
        self.twin = copy_net(net)
        restart(adapter, self.twin, call.dtype)
        tensors = (t for m in self.twin.modules() for t in tensors_of(m))
        constants = {id(t) for t in tensors if not isinstance(t, nn.Parameter)}
        self.recorder = Recorder(adapter, self.label, owned(net, self.twin), constants)
        self.recorder.attach(self.twin)

    def folded(self, recording: Recording | None = None) -> StepGraph:
        """The graph of one step; refused if a second call, on other data, computes something else."""
        first = recording or self.record()
        watch = Watch(self.twin, self.adapter, lambda t: self.recorder.ledger.find(t) is not None)
        return common_step(first, watch, self._again)

    def _again(self) -> Recording:
        restart(self.adapter, self.twin, self.call.dtype)
        return self.record(other_data=True)

    def record(self, other_data: bool = False) -> Recording:
        """Call the copy once.

        Args:
            other_data: the input has the same shape and type, and other values.
        """
        recorder, call = self.recorder, self.call
        recorder.begin()
        args = [a.clone() if isinstance(a, Tensor) else a for a in call.args]
        for position, value in enumerate(args):
            if isinstance(value, Tensor):
                if other_data and (call.only_input or (value.numel() and bool((value != 0).any()))):
                    args[position] = value = other(value)
                recorder.ledger.emit(value, "arg", call.names[position], self.label, position=position)
        result = self._called(call.arguments(args))
        recorder.check_left()
        return Recording(
            ops=recorder.ledger.ops,
            result=self._values(result),
            args=args,
            names=call.names,
            tree=call.tree,
            probes=call.probes,
            modules={name or self.label: module for name, module in self.net.named_modules()},
            label=self.label,
            adapter=self.adapter,
            problems=recorder.problems,
            ends=recorder.ends(),
            more=partial(self._neuron_problems, recorder.ledger.ops),
        )

    def _called(self, args: tuple[Any, ...]) -> Any:
        """Call the copy; what ``forward`` itself raises is reported with the sample that made it."""
        recorder = self.recorder
        given = [arg for arg in self.call.args if isinstance(arg, Tensor)]
        with isolated(self.adapter, self.adapter.neurons(self.twin), self.call.dtype), threads_for(given):
            try:
                with recorder:
                    return listed(self.adapter.call(self.twin, args))
            except ConversionError as error:
                raise ConversionError.joined([*recorder.problems, error]) from error.__cause__
            except SnnaxError:
                raise
            except Exception as error:
                how, remedy = self.adapter.call_text(args)
                problem = f"its forward raised {type(error).__name__}: {error}; {how}"
                raised = ConversionError(recorder.where, problem, remedy, line_of(error))
                raise ConversionError.joined([*recorder.problems, raised]) from error

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

    def _values(self, result: Any) -> Any:
        """What ``forward`` returned, with values in place of tensors."""
        if isinstance(result, Tensor):
            return self.recorder.signal(result, "an output")
        if isinstance(result, list | tuple):
            return type(result)(map(self._values, result))
        raise ConversionError(
            self.recorder.where, f"its forward returns a {type(result).__name__}", self.adapter.words.results
        )
