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
from snnax.interop.snntorch.folding import fold
from snnax.interop.snntorch.prepare import (
    check_finite,
    check_mode,
    copy_net,
    isolated,
    neurons_of,
    reset_states,
    tensors_of,
    unwrap,
)
from snnax.interop.snntorch.recorder import Recorder
from snnax.interop.snntorch.records import Recording
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
    call = _Call.of(net, sample)
    try:
        recording = _record(net, call)
    except SnnaxError:
        if not call.optional:
            raise
        return fold(_record(net, call.without(call.optional)))
    unused = {p for p in call.optional if p not in recording.state_positions()}
    return fold(_record(net, call.without(unused)) if unused else recording)


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
        args = [_tensor(a).to(device, dtype) if _is_array(a) else a for a in args]
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


def _tensor(thing: Any) -> Tensor:
    """A tensor of its own with the values of ``thing``."""
    if isinstance(thing, Tensor):
        return thing.detach().clone()
    array = np.array(thing)
    return torch.from_numpy(array if array.dtype.kind in "fiub" else array.astype(np.float32))


def _record(net: nn.Module, call: _Call) -> Recording:
    """Run a copy of ``net`` under a recorder."""
    twin = copy_net(net)
    neurons = neurons_of(twin)
    reset_states(neurons, call.dtype, traced=True)
    constants = {id(t) for m in twin.modules() for t in tensors_of(m) if not isinstance(t, nn.Parameter)}
    recorder = Recorder(type(net).__name__, _owned(net, twin), constants)
    args = [a.clone() if isinstance(a, Tensor) else a for a in call.args]
    for position, value in enumerate(args):
        if isinstance(value, Tensor):
            recorder.ledger.emit(value, "arg", call.names[position], type(net).__name__, position=position)
    recorder.attach(twin)
    result = _run(twin, args, recorder, neurons, call.dtype)
    return Recording(
        ops=recorder.ledger.ops,
        result=_values(result, recorder),
        args=args,
        names=call.names,
        probes=call.probes,
        modules={name or type(net).__name__: module for name, module in net.named_modules()},
        label=type(net).__name__,
    )


def _run(
    twin: nn.Module, args: list[Any], recorder: Recorder, neurons: dict[str, nn.Module], dtype: torch.dtype
) -> Any:
    """Call the copy; what ``forward`` itself raises is reported with the sample that made it."""
    with isolated(neurons, dtype):
        try:
            with recorder:
                return twin(*args)
        except SnnaxError:
            raise
        except Exception as error:
            shapes = ", ".join(str(tuple(a.shape)) if isinstance(a, Tensor) else repr(a) for a in args)
            raise ConversionError(
                recorder.where,
                f"its forward raised {type(error).__name__}: {error}; the net was called with ({shapes})",
                "Pass a sample for which net(sample) runs; sample=(x, ...) for more positional arguments.",
            ) from error


def _owned(net: nn.Module, twin: nn.Module) -> dict[int, Tensor]:
    """From the id of each parameter and buffer of the copy to the user's own."""
    ours: list[Callable[[nn.Module], Any]] = [
        lambda m: m.named_parameters(remove_duplicate=False),
        lambda m: m.named_buffers(remove_duplicate=False),
    ]
    found = {}
    for tensors in ours:
        originals = dict(tensors(net))
        found.update({id(t): originals[name] for name, t in tensors(twin) if name in originals})
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
