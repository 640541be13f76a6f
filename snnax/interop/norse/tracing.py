"""Tracing a network of Norse cells: a few time steps, recorded operation by operation.

Norse threads states explicitly: ``out, state = net(x, state)``. Such a network is run in a loop over three steps;
one that takes all steps at once (``LIF``, ``Lift``, a loop inside ``forward``) gets three of them. The recording is
folded to the graph of one step as for snnTorch, and a state that is not handed on is found out on the way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from norse.torch.module.lift import Lift
from norse.torch.module.sequential import SequentialState
from torch import Tensor, nn

from snnax.errors import ConversionError, ShapeError, SnnaxError
from snnax.interop.norse.cells import (
    KINDS,
    PORTS,
    WRAPPED,
    Resistance,
    cells_of,
    check_step,
    is_cell,
    is_norse,
    tap,
)
from snnax.interop.snntorch.members import is_neuron
from snnax.interop.torch.calls import tensor_of
from snnax.interop.torch.prepare import (
    check_finite,
    check_mode,
    copy_net,
    isolated,
    owned,
    tensors_of,
    unwrap,
)
from snnax.interop.torch.recorder import Recorder, _bind
from snnax.interop.torch.records import Recording, Value, line_of
from snnax.interop.torch.repeats import Watch, check_hooks, common_step, other, untouched
from snnax.interop.torch.step_graph import StepGraph

# --- The recorder of the snnTorch side, taught what Norse's neurons and states are ----------------


class CellRecorder(Recorder):
    """Records one run of a network of Norse cells over some time steps."""

    def attach(self, net: nn.Module) -> None:
        """Make the modules of ``net``, a copy that is thrown away, report their calls."""
        super().attach(net)
        for name, module in net.named_modules():
            name = name or self.where
            if is_cell(module):
                tap(module, partial(self._call_cell, name, module))
            elif isinstance(module, Resistance):
                vars(module)["forward"] = _bind(
                    self._call_leaf, name, module, partial(type(module).forward, module)
                )

    def _call_cell(
        self, name: str, module: Any, x: Tensor, state: Any, run: Callable[[], tuple[Tensor, Any]]
    ) -> tuple[Tensor, Any]:
        """One step of a neuron: its input, where its states come from, and what it returns."""
        inputs = (self.signal(x, f"the input of {name!r}"),)
        states = {PORTS[f]: self._before(name, module, f, getattr(state, f)) for f in state._fields}
        with self._pause():
            out, after = run()
            if not hasattr(module, "input_weights") and out.shape != x.shape:
                raise ConversionError(
                    name, f"its input has shape {tuple(x.shape)} and its output {tuple(out.shape)}: its "
                    "parameters or states have more neurons than its input",
                    "Give it one input for each neuron.",
                )  # fmt: skip
            out = out.view_as(out)
            after = type(after)(*(part.view_as(part) for part in after))
        op = self.ledger.add(
            "neuron", name, self.where, inputs=inputs, shape=tuple(out.shape), module=module, states=states,
            held=self._hold(name, module),
        )  # fmt: skip
        for what in after._fields:
            part = getattr(after, what)
            self.ledger.bind(part, Value(op, PORTS[what], tuple(part.shape)))
        self.ledger.bind(out, Value(op, "spk", op.shape))
        return out, after

    def _before(self, name: str, module: Any, what: str, tensor: Tensor) -> Value | None:
        """Where a state comes from; ``None`` for the one that Norse starts from."""
        value = self.ledger.find(tensor)
        if value is not None:
            return value
        start = torch.zeros((), dtype=tensor.dtype)
        if what == "v":
            what_rests = "v_leak" if hasattr(module.p, "v_leak") else "v_reset"
            start = torch.as_tensor(getattr(module.p, what_rests))
        if bool((tensor != start.to(tensor)).any()):
            raise ConversionError(
                name, f"its initial {what} is not the one that Norse starts from, or was changed between two steps",
                "Start from state=None, and hand the state on as the neuron returned it.",
            )  # fmt: skip
        return None


_GLUE = (Lift, SequentialState)
_FEEDBACK = "Use LIFRecurrentCell for feedback: its recurrent weights get the spikes of the step before."


@dataclass(frozen=True)
class NorseStep:
    """A traced network.

    Attributes:
        graph: one time step.
        stepwise: the network takes one step and its states, instead of a sequence.
    """

    graph: StepGraph
    stepwise: bool


def trace(net: nn.Module, sample: Any) -> NorseStep:
    """Find the graph of one time step of a network of Norse cells.

    Args:
        net: the network, in evaluation mode; it stays as it is.
        sample: what one call takes: one step ``[B, ...]``, or a sequence ``[T, B, ...]``.

    Raises:
        ConversionError: for what has no equal in a graph of layers.
        TrainingModeError: a layer is in training mode.
        ShapeError: a layer does not fit its input.

    Example:
        >>> import norse.torch as norse, torch
        >>> net = norse.SequentialState(torch.nn.Linear(3, 2), norse.LIFBoxCell())
        >>> [node.name for node in trace(net, torch.zeros(1, 3)).graph.nodes]
        ['0', '1']
    """
    net = unwrap(net)
    check_modules(net)
    check_mode(net)
    check_finite(net)
    check_hooks(net)
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    x = tensor_of(sample).to(parameter.device, parameter.dtype)
    stepwise = takes_state(net) and not takes_time(net)
    if x.ndim < (2 if stepwise else 3):
        wanted = "one step [B, ...]"
        if not stepwise:
            wanted = (
                "a sequence [T, B, ...], since its forward takes no state: forward(x, state=None) takes one "
            )
            wanted += "step, as does norse.torch.SequentialState"
        raise ShapeError(f"sample has shape {tuple(x.shape)}; {type(net).__name__} takes {wanted}.")
    try:
        with untouched(net):
            graph = _traced(net, x, stepwise)
    except ConversionError as error:
        if "snn.RLeaky" not in error.remedy:
            raise
        raise ConversionError(error.node, error.problem, _FEEDBACK) from error
    uses = [node for node in graph.nodes if is_cell(node.module)]
    for node in uses:
        if node.shared_with is not None:
            raise ConversionError(
                node.name, f"it is the neuron {node.shared_with!r}, used twice", "Give each layer its own."
            )
    return NorseStep(graph, stepwise)


def _traced(net: nn.Module, x: Tensor, stepwise: bool) -> StepGraph:
    steps = 2 if x.shape[0 if stepwise else 1] == 3 else 3
    if stepwise:
        return _CellRun(net, stepwise).folded(torch.stack([x] * steps))
    few = x[[t % len(x) for t in range(steps)]]
    try:
        return _CellRun(net, stepwise).folded(few)
    except SnnaxError:
        if len(x) < 2:
            raise
    return _CellRun(net, stepwise).folded(x)


def check_modules(net: nn.Module) -> None:
    """Refuse networks without Norse cells, of both libraries, and cells without a NIR form."""
    if any(is_neuron(m) for m in net.modules()):
        raise ConversionError(
            type(net).__name__,
            "it has neurons of both snnTorch and Norse",
            "Convert the two parts one by one.",
        )
    for name, module in net.named_modules():
        if is_norse(module) and not is_cell(module) and type(module) not in _GLUE:
            names = sorted(kind.__name__ for kind in KINDS)
            raise ConversionError(
                name or type(net).__name__,
                f"Norse's {_norse_class(module)} has no NIR form, or is a class derived from it",
                f"Convertible are Norse's own {', '.join(names)}, SequentialState and Lift; states that a forward of "
                "your own hands on.",
            )  # fmt: skip
    for name, module in cells_of(net).items():
        check_step(name or type(net).__name__, module)
    if not cells_of(net):
        raise ConversionError(
            type(net).__name__,
            "the network has no Norse neuron",
            "Pass the network that holds the LIFCell (or other).",
        )


def _norse_class(module: nn.Module) -> str:
    return next(c.__name__ for c in type(module).__mro__ if c.__module__.startswith("norse."))


def takes_time(net: nn.Module) -> bool:
    """True if the network takes all time steps at once, by the modules that it holds."""
    return any(isinstance(m, (*WRAPPED, Lift)) for m in net.modules())


def takes_state(net: nn.Module) -> bool:
    """True if ``forward`` takes states beside its input."""
    return len(_parameters(net)) > 1


def _parameters(net: nn.Module) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [n for n, p in inspect.signature(type(net).forward).parameters.items() if p.kind in kinds][1:]


def run(net: nn.Module, x: Tensor, stepwise: bool) -> Any:
    """What a network returns for a sequence, without its states: a tensor ``[T, B, ...]``, or a tuple of them.

    Raises:
        ConversionError: if it takes states and returns none.
    """
    if not stepwise:
        return visible(net(x))
    names, rows, states = _parameters(net)[1:], [], None
    for t in range(len(x)):
        result = net(x[t]) if states is None else net(x[t], *states)
        if not isinstance(result, tuple) or len(result) < 2:
            raise ConversionError(
                type(net).__name__, f"its forward takes {', '.join(names)} and returns no new state",
                "Return the new state beside the output: return out, state.",
            )  # fmt: skip
        out, *states = result
        if len(states) != len(names):
            raise ConversionError(
                type(net).__name__, f"its forward takes {len(names)} states and returns {len(states)}",
                "Return one new state for each that it takes.",
            )  # fmt: skip
        rows.append(list(out) if isinstance(out, list | tuple) else [out])
    columns = [torch.stack(list(column)) for column in zip(*rows, strict=True)]
    return columns[0] if len(columns) == 1 else tuple(columns)


def visible(result: Any) -> Any:
    """What a network returns beside its states."""
    if not isinstance(result, tuple) or hasattr(result, "_fields"):
        return result
    parts = tuple(visible(part) for part in result if not _is_state(part))
    return parts[0] if len(parts) == 1 else parts


def _is_state(part: Any) -> bool:
    if part is None or hasattr(part, "_fields"):
        return True
    return isinstance(part, list | tuple) and all(map(_is_state, part))


class _CellRun:
    """A copy of a network that can be run again and again under a recorder."""

    def __init__(self, net: nn.Module, stepwise: bool) -> None:
        self.net = net
        self.label = type(net).__name__
        self.stepwise = stepwise
        self.twin = copy_net(net)
        tensors = (t for m in self.twin.modules() for t in tensors_of(m))
        constants = {id(t) for t in tensors if not isinstance(t, nn.Parameter)}
        self.recorder = CellRecorder(self.label, owned(net, self.twin), constants)
        self.recorder.attach(self.twin)

    def folded(self, x: Tensor) -> StepGraph:
        """The graph of one step; refused if a second run, on other data, computes something else."""
        first = self._record(x.clone())
        return common_step(first, Watch(self.twin, self.recorder), lambda: self._record(other(x)))

    def _record(self, x: Tensor) -> Recording:
        recorder = self.recorder
        recorder.begin()
        recorder.ledger.emit(x, "arg", "x", self.label, position=0)
        with isolated({}, x.dtype):
            result = _called(lambda: run(self.twin, x, self.stepwise), recorder, x)
        return Recording(
            ops=recorder.ledger.ops,
            result=_values(result, recorder),
            args=[x],
            names=["x"],
            probes=set(),
            modules={name or self.label: module for name, module in self.net.named_modules()},
            label=self.label,
            problems=recorder.problems,
        )


def _called(call: Callable[[], Any], recorder: CellRecorder, x: Tensor) -> Any:
    try:
        with recorder:
            return call()
    except ConversionError as error:
        raise ConversionError.joined([*recorder.problems, error]) from error.__cause__
    except SnnaxError:
        raise
    except Exception as error:
        raised = ConversionError(
            recorder.where,
            f"its forward raised {type(error).__name__}: {error}; the net was given {len(x)} steps of "
            f"{tuple(x.shape[1:])}",
            "Pass a sample for which net(sample) runs; networks of Norse cells are chained by SequentialState.",
            line_of(error),
        )
        raise ConversionError.joined([*recorder.problems, raised]) from error


def _values(result: Any, recorder: CellRecorder) -> Any:
    """What was returned, with values in place of tensors."""
    if isinstance(result, Tensor):
        return recorder.signal(result, "an output")
    if isinstance(result, list | tuple) and len(result):
        return type(result)(_values(part, recorder) for part in result)
    raise ConversionError(
        recorder.where, f"its forward returns a {type(result).__name__}",
        "Return a tensor, or a tuple of tensors, and the states.",
    )  # fmt: skip


def frames(x: np.ndarray, net: nn.Module) -> Tensor:
    """A sequence as a tensor in its own precision, where the network is."""
    device = next((p.device for p in net.parameters()), None)
    return torch.from_numpy(np.array(x)).to(device)
