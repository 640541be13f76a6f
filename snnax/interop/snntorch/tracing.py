"""Tracing: one concrete call of a torch network, recorded operation by operation.

The network runs as it is, on a copy: leaf modules report their calls, and a torch function mode sees
what ``forward`` does with tensors in between. Nothing is guessed from source code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.snntorch.members import neurons_of, reset_states
from snnax.interop.snntorch.prepare import check_finite, check_mode, copy_net, isolated, tensors_of, unwrap
from snnax.interop.snntorch.recorder import Recorder
from snnax.interop.snntorch.records import Recording, line_of
from snnax.interop.snntorch.repeats import Watch, check_hooks, common_step, other, restart, untouched
from snnax.interop.snntorch.step_graph import StepGraph


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
    call = _Call.of(net, sample)
    with untouched(net):
        try:
            run = _Run(net, call)
            recording = run.record()
        except SnnaxError:
            if not call.optional:
                raise
            return _Run(net, call.without(call.optional)).folded()
        unused = {p for p in call.optional if p not in recording.state_positions()}
        return _Run(net, call.without(unused)).folded() if unused else run.folded(recording)


@dataclass
class _Call:
    """Positional arguments of ``forward``; a probe stands where a state that was not given belongs."""

    args: list[Any]
    names: list[str]
    dtype: torch.dtype
    probes: set[int] = field(default_factory=set)
    optional: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, net: nn.Module, sample: Any) -> _Call:
        """Lay out ``sample`` as positional arguments and add a probe for each state left out."""
        args = list(sample) if isinstance(sample, tuple | list) else [sample]
        dtype, device = next(
            ((p.dtype, p.device) for p in net.parameters() if p.is_floating_point()),
            (torch.float32, torch.device("cpu")),
        )
        args = [tensor_of(a).to(device, dtype) if _is_array(a) else a for a in args]
        parameters = [
            p
            for p in inspect.signature(net.forward).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        extra = [f"argument {i}" for i in range(len(parameters), len(args))]
        call = cls(args, [p.name for p in parameters] + extra, dtype)
        given = len(args)
        for position, parameter in enumerate(parameters):
            if position < given:
                if args[position] is None:
                    call.probes.add(position)
                continue
            args.append(None if parameter.default is inspect.Parameter.empty else parameter.default)
            if args[position] is None:
                call.probes.add(position)
                if parameter.default is None:
                    call.optional.add(position)
        for position in call.probes:
            args[position] = torch.zeros(0, dtype=dtype, device=device)
        keep = max([given, *(p + 1 for p in call.probes)])
        del args[keep:]
        return call

    def without(self, positions: set[int]) -> _Call:
        """The same call with None in place of some probes."""
        args = [None if i in positions else a for i, a in enumerate(self.args)]
        return _Call(args, self.names, self.dtype, self.probes - positions)


def _is_array(thing: Any) -> bool:
    """True for what can be made a tensor: torch, NumPy and JAX arrays."""
    return isinstance(thing, Tensor) or hasattr(thing, "__array__")


def tensor_of(thing: Any) -> Tensor:
    """A tensor of its own with the values of ``thing``."""
    if isinstance(thing, Tensor):
        return thing.detach().clone()
    array = np.array(thing)
    return torch.from_numpy(array if array.dtype.kind in "fiub" else array.astype(np.float32))


class _Run:
    """A copy of a network that can be called again and again under a recorder."""

    def __init__(self, net: nn.Module, call: _Call) -> None:
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
        result = _called(self.twin, args, recorder, self.neurons, call.dtype)
        return Recording(
            ops=recorder.ledger.ops,
            result=_values(result, recorder),
            args=args,
            names=call.names,
            probes=call.probes,
            modules={name or self.label: module for name, module in self.net.named_modules()},
            label=self.label,
            problems=recorder.problems,
            ends=recorder.ends(),
        )


def _called(
    twin: nn.Module, args: list[Any], recorder: Recorder, neurons: dict[str, nn.Module], dtype: torch.dtype
) -> Any:
    """Call the copy; what ``forward`` itself raises is reported with the sample that made it."""
    with isolated(neurons, dtype):
        try:
            with recorder:
                return twin(*args)
        except ConversionError as error:
            raise ConversionError.joined([*recorder.problems, error]) from error.__cause__
        except SnnaxError:
            raise
        except Exception as error:
            shapes = ", ".join(str(tuple(a.shape)) if isinstance(a, Tensor) else repr(a) for a in args)
            raised = ConversionError(
                recorder.where,
                f"its forward raised {type(error).__name__}: {error}; the net was called with ({shapes})",
                "Pass a sample for which net(sample) runs; sample=(x, ...) for more positional arguments.",
                line_of(error),
            )
            raise ConversionError.joined([*recorder.problems, raised]) from error


def owned(net: nn.Module, twin: nn.Module) -> dict[int, Tensor]:
    """From the id of each parameter and buffer of the copy to the user's own."""
    ours: list[Callable[[nn.Module], Any]] = [
        lambda m: m.named_parameters(remove_duplicate=False),
        lambda m: m.named_buffers(remove_duplicate=False),
    ]
    found = {}
    for tensors in ours:
        originals = dict(tensors(net))
        found.update({id(t): originals[name] for name, t in tensors(twin) if name in originals})
        found.update({id(t): t for t in originals.values()})  # a function may name the network itself
    return found


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
        "Return a tensor, or a tuple of tensors.",
    )
