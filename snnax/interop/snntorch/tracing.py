"""Tracing: one concrete call of a torch network, recorded operation by operation.

The network runs as it is, on a copy: leaf modules report their calls, and a torch function mode sees
what ``forward`` does with tensors in between. Nothing is guessed from source code.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.snntorch.members import neurons_of, reset_states
from snnax.interop.snntorch.neurons import spec_from_torch
from snnax.interop.torch.calls import Call, nested_states, shape_text
from snnax.interop.torch.prepare import (
    check_finite,
    check_mode,
    copy_net,
    isolated,
    owned,
    tensors_of,
    unwrap,
)
from snnax.interop.torch.recorder import Recorder
from snnax.interop.torch.records import Op, Recording, line_of
from snnax.interop.torch.repeats import Watch, check_hooks, common_step, other, restart, untouched
from snnax.interop.torch.step_graph import StepGraph, listed


def trace(net: nn.Module, sample: Any) -> StepGraph:
    """Find the graph of one time step of ``net`` by running it once on ``sample``.

    Args:
        net: a torch module with snnTorch neurons, in evaluation mode. It is copied; neither its
            parameters nor its hidden states change.
        sample: what one call takes, NumPy or torch: one step ``[B, ...]``, or, if ``forward`` loops over
            time, a sequence ``[T, B, ...]`` or one constant frame ``[B, ...]``. A tuple stands for
            ``forward``'s positional arguments; states may be left out or None.

    Returns:
        The step, its inputs and outputs, and the loop in which it was found.

    Raises:
        ConversionError: ``forward`` does something that has no equal in a graph of layers.
        TrainingModeError: a layer is in training mode.
        ShapeError: a layer does not fit its input.

    Example:
        >>> import snntorch as snn, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True))
        >>> [node.name for node in trace(net, torch.zeros(1, 3)).nodes]
        ['0', '1']
    """
    net = unwrap(net)
    if not neurons_of(net):
        raise ConversionError(
            type(net).__name__,
            "the network has no snnTorch neuron",
            "Pass the network that holds the snntorch.Leaky (or other) layers.",
        )
    check_mode(net)
    check_finite(net)
    check_hooks(net)
    given = tuple(sample) if isinstance(sample, tuple | list) else (sample,)
    with untouched(net):
        call = Call.of(net, given)
        try:
            return _traced(net, call)
        except SnnaxError:
            for states in nested_states(net) if call.states_next else ():
                with suppress(SnnaxError):
                    return _traced(net, Call.of(net, (*given, states)))
            raise


def _traced(net: nn.Module, call: Call) -> StepGraph:
    """The graph, with a probe for each optional state that turns out to be one."""
    try:
        run = _Run(net, call)
        recording = run.record()
    except SnnaxError:
        if not call.optional:
            raise
        return _Run(net, call.without(call.optional)).folded()
    unused = {p for p in call.optional if p not in recording.state_positions()}
    return _Run(net, call.without(unused)).folded() if unused else run.folded(recording)


class _Run:
    """A copy of a network that can be called again and again under a recorder."""

    def __init__(self, net: nn.Module, call: Call) -> None:
        self.net = net
        self.call = call
        self.label = type(net).__name__
        self.twin = copy_net(net)
        self.neurons = neurons_of(self.twin)
        reset_states(self.neurons, call.dtype, traced=True)
        tensors = (t for m in self.twin.modules() for t in tensors_of(m))
        constants = {id(t) for t in tensors if not isinstance(t, nn.Parameter)}
        self.recorder = Recorder(self.label, owned(net, self.twin), constants)
        self.recorder.attach(self.twin)

    def folded(self, recording: Recording | None = None) -> StepGraph:
        """The graph of one step; refused if a second call, on other data, computes something else."""
        first = recording or self.record()
        return common_step(first, Watch(self.twin, self.recorder), self._again)

    def _again(self) -> Recording:
        restart(self.twin, self.neurons, self.call.dtype)
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
                if other_data and value.numel() and bool((value != 0).any()):
                    args[position] = value = other(value)
                recorder.ledger.emit(value, "arg", call.names[position], self.label, position=position)
        result = _called(self.twin, call.arguments(args), recorder, self.neurons, call.dtype)
        return Recording(
            ops=recorder.ledger.ops,
            result=_values(result, recorder),
            args=args,
            names=call.names,
            tree=call.tree,
            probes=call.probes,
            modules={name or self.label: module for name, module in self.net.named_modules()},
            label=self.label,
            problems=recorder.problems,
            ends=recorder.ends(),
            more=partial(_neuron_problems, recorder.ledger.ops),
        )


def _called(
    twin: nn.Module,
    args: Sequence[Any],
    recorder: Recorder,
    neurons: dict[str, nn.Module],
    dtype: torch.dtype,
) -> Any:
    """Call the copy; what ``forward`` itself raises is reported with the sample that made it."""
    with isolated(neurons, dtype):
        try:
            with recorder:
                return listed(twin(*args))
        except ConversionError as error:
            raise ConversionError.joined([*recorder.problems, error]) from error.__cause__
        except SnnaxError:
            raise
        except Exception as error:
            shapes = ", ".join(map(shape_text, args))
            raised = ConversionError(
                recorder.where,
                f"its forward raised {type(error).__name__}: {error}; the net was called with ({shapes})",
                "Pass a sample for which net(sample) runs; sample=(x, ...) for more positional arguments.",
                line_of(error),
            )
            raise ConversionError.joined([*recorder.problems, raised]) from error


def _neuron_problems(ops: list[Op]) -> list[ConversionError]:
    """Why neurons that ran cannot be converted, one error for each."""
    found: dict[str, ConversionError] = {}
    for op in ops:
        if op.kind in ("neuron", "sequence") and op.held is not None and op.name not in found:
            try:
                spec_from_torch(op.name, op.held, False)
            except ConversionError as error:
                found[op.name] = error
    return list(found.values())


def _values(result: Any, recorder: Recorder) -> Any:
    """What ``forward`` returned, with values in place of tensors."""
    if isinstance(result, Tensor):
        return recorder.signal(result, "an output")
    if isinstance(result, list):
        return [_values(r, recorder) for r in result]
    if isinstance(result, tuple):
        return tuple(_values(r, recorder) for r in result)
    raise ConversionError(
        recorder.where,
        f"its forward returns a {type(result).__name__}",
        "Return a tensor, or tensors in a tuple, list or dict.",
    )
