"""Calls with another batch, or with more steps, must be the same step: one size alone does not show what others do."""

from __future__ import annotations

from collections.abc import Callable

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.torch import held
from snnax.interop.torch.step_graph import StepGraph

_BATCH = (
    "Keep the batch axis for any batch, as x.flatten(1) or x.squeeze(1) instead of x.squeeze() or x.squeeze(0), and "
    "compute with no number that is the size of the batch or the number of steps."
)
_STEPS = "Let every step do the same, or pass a sample of as many steps as the network is to run."


def batch_difference(
    step: StepGraph, size: int, steps: int | None, label: str, resized: Callable[[], StepGraph]
) -> ConversionError | None:
    """Why a call with another batch is not the same step; None if it is, or if torch fails on it.

    Args:
        step: of the first call.
        size: of the other batch.
        steps: of that call.
        label: what to call the network.
        resized: the step of a call with these.
    """
    what = f"with a batch of {size} it computes something else than with one of {step.batch_size}"
    if steps != step.num_steps:
        what = (
            f"for {steps} steps of a batch of {size} it computes something else than for {step.num_steps} "
            f"of one of {step.batch_size}"
        )
    try:
        found = resized()
    except SnnaxError as error:
        parts = error.apart() if isinstance(error, ConversionError) else []
        fails = any(part.__cause__ is not None for part in (error, *parts))
        return None if fails else _error(label, what, error, _BATCH)
    lengths = (steps, step.num_steps)  # a loop of a length of its own has that
    same = found.num_steps in lengths and found.batch_size == size and _is_same(step, found)
    return None if same else ConversionError(label, what, _BATCH)


def length_difference(
    step: StepGraph, steps: int, label: str, resized: Callable[[], StepGraph]
) -> ConversionError | None:
    """Why a call of more ``steps`` is not the same step so often; None if it is; the other arguments as above.

    A loop of a length of its own is none of these.
    """
    what = f"with {steps} steps it computes something else than with {step.num_steps}"
    try:
        found = resized()
    except SnnaxError as error:
        return _error(label, what, error, _STEPS)
    same = found.num_steps in (steps, step.num_steps) and _is_same(step, found)
    return None if same else ConversionError(label, what, _STEPS)


def _is_same(step: StepGraph, other: StepGraph) -> bool:
    """Whether two calls are one step, whatever their sizes."""
    ways = [(s.mode, s.single, s.input_shape, s.time_axis, s.output_axes, s.outputs) for s in (step, other)]
    nodes = [[(n.name, n.op, n.inputs, n.shape, n.factor) for n in s.nodes] for s in (step, other)]
    return (
        ways[0] == ways[1]
        and nodes[0] == nodes[1]
        and not any(held.difference(a.held, b.held) for a, b in zip(step.nodes, other.nodes, strict=True))
    )


def _error(label: str, what: str, error: SnnaxError, remedy: str) -> ConversionError:
    return ConversionError(
        label, f"{what}: {getattr(error, 'problem', error)}", remedy, getattr(error, "line", "")
    )
