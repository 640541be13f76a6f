"""Folding: from one recorded call to the graph of one time step.

A loop over time was recorded unrolled. Call number t of a neuron, counted along its chain of states, is
step t; what the neurons and outputs of step t depend on is the graph of step t. All steps must have the
same graph, which is then the answer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from snnax.errors import ConversionError, ShapeError
from snnax.interop.program.nodes import flat
from snnax.interop.torch.layers import is_unknown, no_equal
from snnax.interop.torch.layouts import Layout, Layouts
from snnax.interop.torch.records import Op, Recording, Value
from snnax.interop.torch.step_graph import Source, StepGraph
from snnax.interop.torch.steps import Chains, Loop, Nodes

_Threads = tuple[tuple[int, Source], ...]
_EVERY = (
    "Collect one output per step: spk_rec.append(spk), then return torch.stack(spk_rec). Give each layer a neuron of "
    "its own."
)


def fold(recording: Recording) -> StepGraph:
    """The graph of one step of a recorded call.

    Raises:
        ConversionError: the steps differ, or the call has no equal in a graph of layers.
        ShapeError: the sample has no batch axis.
    """
    live = recording.live()
    _check_known(recording, live)
    chains = Chains([op for op in recording.ops if op.kind == "neuron"])
    sample = _input(recording, live)
    layout, layouts = _find_layout(recording, live, sample)
    outputs, axes, single = _outputs(recording, layouts, len(chains.longest) or 1)
    num_steps = _num_steps(outputs, axes, chains)
    looped = layout != Layout.STEP or len(chains.longest) > 1 or any(axis != -1 for axis in axes)
    if looped and -1 in axes:
        raise _no_record(recording, chains)
    chains.check(num_steps, looped)
    loop = Loop(live, layouts, chains, outputs, num_steps, recording.modules, recording.adapter.words)
    step = Nodes(loop.step(), loop)
    shape = sample.shape[layout.lead :]
    if not shape:
        raise ShapeError(
            f"the sample of {recording.label} has shape {sample.shape}, where nothing is left for features. "
            "Pass one step as [B, ...], or a sequence as [T, B, ...]: x[None] adds a batch of one."
        )
    if not looped:
        _check_ends(recording, chains)
    states, new = _threaded(recording, chains, step, looped)
    return StepGraph(
        nodes=step.nodes,
        input_shape=shape,
        outputs=step.outputs,
        single=single,
        mode="step" if not looped else "constant" if layout == Layout.STEP else "sequence",
        num_steps=num_steps if looped else None,
        batch_size=sample.shape[1 if layout == Layout.TIME_FIRST else 0],
        args=_arguments(recording, sample.op.position, states),
        tree=recording.call.tree,
        input_arg=sample.op.position,
        state_args=states,
        state_outputs=new,
        time_axis=1 if layout == Layout.BATCH_FIRST else 0,
        output_axes=tuple(axes) if looped else (),
        blocked=chains.blocked(num_steps),
    )


def _check_known(recording: Recording, live: list[Op]) -> None:
    """Refuse what has no equal in a graph of layers, all of it at once."""
    adapter = recording.adapter
    unknown = [
        no_equal(op.name, op.held, adapter.words, op.line)
        for op in live
        if op.kind == "module" and op.held and is_unknown(op.held) and not adapter.converts(op.held)
    ]
    if blockers := [*recording.blockers(), *unknown]:
        raise ConversionError.joined([*blockers, *recording.more()])


def _check_ends(recording: Recording, chains: Chains) -> None:
    """A hidden state that is changed after its neuron ran is not the one that the next call starts from."""
    for op in chains.starts:
        for port, value in op.states.items():
            if value is None or value.op.kind != "state" or op.name not in recording.ends:
                continue
            end = recording.ends[op.name][port]
            if end is None or end.op is not op:
                how = "resets or replaces it" if end is None else f"changes it, by {end.op.name},"
                raise ConversionError(
                    op.name, f"its hidden {port} is not kept: forward {how} after the neuron ran",
                    "Reset hidden states before a sequence, outside of forward; leave them as the neuron made them.",
                    "" if end is None else end.op.line,
                )  # fmt: skip


def _no_record(recording: Recording, chains: Chains) -> ConversionError:
    """The error for a forward that runs neurons several times and does not return every step."""
    calls = chains.longest
    if len(calls) > 1:
        runs = f"runs {calls[0].name!r} {len(calls)} times"
        problem = f"its forward {runs} and returns one step only, the last, or a sum over time"
        return ConversionError(recording.label, problem, _EVERY)
    problem = (
        "its forward runs one step, and indexes its sample, or joins tensors into one, as if it ran several"
    )
    remedy = (
        "Only time may be indexed or joined, in a loop that returns every step: return several layers as a tuple, and "
        "select channels elsewhere."
    )
    return ConversionError(recording.label, problem, remedy)


def _num_steps(outputs: list[Any], axes: list[int | None], chains: Chains) -> int:
    """Length of the loop, by what is returned; else by how often the neurons run."""
    for output, axis in zip(outputs, axes, strict=True):
        if axis != -1:
            return len(output) if axis is None else output.shape[axis]
    return len(chains.longest) or 1


def _input(recording: Recording, live: list[Op]) -> Value:
    """The one argument that is used as a signal."""
    states = recording.state_positions()
    used = {op for op in live if op.kind == "arg"}
    for op in sorted(used, key=lambda op: op.position):
        if op.position in recording.call.probes or op.position in states:
            also = "as a neuron's state" if op.position in states else "and the sample does not hold it"
            raise ConversionError(
                recording.label,
                f"its forward uses the argument {op.name!r} as a signal, {also}",
                "Pass sample=(x, ...) with all positional arguments; feed states to their neurons only.",
            )
    if len(used) != 1:
        names = ", ".join(sorted(op.name for op in used)) or "none"
        raise ConversionError(
            recording.label,
            f"its forward must use exactly one argument as its input, and uses {names}",
            "Join several inputs into one tensor and split it with layers.",
        )
    op = used.pop()
    return Value(op, "out", op.shape)


def _find_layout(recording: Recording, live: list[Op], sample: Value) -> tuple[Layout, Layouts]:
    """Whether the sample is one step or all of them: the network tells by indexing time."""
    if len(sample.shape) < 2:
        raise ShapeError(
            f"the sample of {recording.label} has shape {sample.shape}, which has no batch axis. "
            "Pass one step as [B, ...], or a sequence as [T, B, ...]: x[None] adds a batch of one."
        )
    if any(op.kind == "sequence" for op in live):
        if len(sample.shape) < 3:
            raise ShapeError(
                f"the sample of {recording.label} has shape {sample.shape}; its parallel neurons take a sequence "
                "[T, B, N]: x[:, None] adds a batch of one."
            )
        return Layout.TIME_FIRST, Layouts(live, Layout.TIME_FIRST, sample.shape[1])
    raw = {sample.op}
    for op in live:
        if op.kind != "neuron" and op.inputs and all(v.op in raw for v in op.inputs):
            raw.add(op)
    if not any(op in raw and op.kind in ("index", "slice") for op in live):
        return Layout.STEP, Layouts(live, Layout.STEP, sample.shape[0])
    try:
        return Layout.TIME_FIRST, Layouts(live, Layout.TIME_FIRST, sample.shape[1])
    except ConversionError as error:
        try:
            return Layout.BATCH_FIRST, Layouts(live, Layout.BATCH_FIRST, sample.shape[0])
        except ConversionError:
            raise error from None


def _outputs(
    recording: Recording, layouts: Layouts, num_steps: int
) -> tuple[list[Any], list[int | None], bool]:
    """What is returned per step: values, or lists of values over time, and the axis of time in each.

    The axis is None for a list over time and -1 for a tensor of one step.
    """
    result = recording.result
    single = isinstance(result, Value)
    if isinstance(result, list) and len(result) == num_steps > 1 and _is_record(result, layouts):
        return [result], [None], True
    parts = [result] if single else list(result)
    outputs: list[Any] = []
    axes: list[int | None] = []
    for part in parts:
        one_step = num_steps == 1 and bool(recording.state_positions())  # a list of states, then
        if isinstance(part, list) and len(part) == num_steps and not one_step and _is_record(part, layouts):
            outputs.append(part)
            axes.append(None)
            continue
        for value in flat(part):
            found = layouts.of(value.op)
            if found not in (Layout.STEP, Layout.TIME_FIRST, Layout.BATCH_FIRST):
                raise ConversionError(recording.label, f"it returns a tensor {found.value}", _EVERY)
            outputs.append(value)
            axes.append({Layout.STEP: -1, Layout.TIME_FIRST: 0}.get(found, 1))
    return outputs, axes, single


def _is_record(values: list[Any], layouts: Layouts) -> bool:
    """True for a list of one tensor per step."""
    return all(isinstance(v, Value) and layouts.of(v.op) == Layout.STEP for v in values)


def _threaded(recording: Recording, chains: Chains, step: Nodes, looped: bool) -> tuple[_Threads, _Threads]:
    """Arguments that are states, and where the new states are returned."""
    states = []
    for first in chains.starts:
        for port, value in first.states.items():
            if value is not None and value.op.kind == "arg":
                states.append((value.op.position, Source(step.names[first], port)))
    states.sort(key=lambda pair: pair[0])
    positions = [position for position, _ in states]
    new = []
    for position, source in states:
        if positions.count(position) > 1:
            problem = f"argument {recording.call.names[position]!r} is the state of two layers"
            raise ConversionError(source.node, problem, "Pass one for each.")
        if looped:
            start = recording.args[position]
            if isinstance(start, Tensor) and bool((start != 0).any()):
                problem = f"its initial {source.port} is not zero"
                raise ConversionError(source.node, problem, "Pass zeros or None.")
        elif source not in step.outputs:
            raise ConversionError(
                source.node,
                f"its {source.port} is an argument of forward, which does not return the new one",
                "Return the new states beside the spikes: return spk, mem.",
            )
        else:
            new.append((step.outputs.index(source), source))
    return tuple(states), tuple(new)


def _arguments(recording: Recording, position: int, states: _Threads) -> tuple[Any, ...]:
    """Positional arguments for another call, with None for the input and the states."""
    variable = {position, *(p for p, _ in states)}
    return tuple(None if i in variable else a for i, a in enumerate(recording.args))
