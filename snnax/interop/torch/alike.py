"""Whether a network that is to take the weights of a port computes what the port does: both are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.program.nodes import Leaf, Program, mapped
from snnax.interop.program.repeating import is_step
from snnax.interop.torch.call_side import CalledTorch
from snnax.interop.torch.prepare import copy_net
from snnax.interop.torch.side import torch_side
from snnax.interop.trace import Trace

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

Pair = tuple[nn.Module, nn.Module]
Draw = Callable[[tuple[int, ...]], np.ndarray]
Both = Callable[[nn.Module, nn.Module, Draw], tuple[Trace, Trace]]
"""Runs the port and the other network on the same data, of which it draws real numbers that are not negative."""

_STEPS, _BATCH = 8, 2
_LONG = 256
"""Steps for a network that indexes more of them than a few."""
_GAIN = 4.0
_SCALES = (1.0, 5.0, 25.0)
"""Of the data, for as many tries: without spikes there is nothing to see."""
_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


def check_alike(made: nn.Module, into: nn.Module, both: Both, remedy: str) -> None:
    """Refuse a network that computes something else than ``made``, whatever its weights are.

    Copies of both get the same weights, strong ones, so that all layers spike, and the same data.

    Args:
        made: the port as a torch network.
        into: a network with the same parameters and buffers.
        both: runs copies of the two.
        remedy: what to do.

    Raises:
        ConversionError: says where they part.
    """
    rng, label = np.random.default_rng(0), type(into).__name__
    for scale in _SCALES:
        pair = _weighted(made, into, rng)
        try:
            problem = _parted(*both(*pair, partial(_drawn, rng, scale)))
        except SnnaxError as error:
            why = getattr(error, "problem", str(error))
            problem = f"into= cannot be run as the port is: {why}"
            raise ConversionError(label, problem, remedy, getattr(error, "line", "")) from error
        if problem:
            problem = f"with the same weights, into= computes something else than the port: {problem}"
            raise ConversionError(label, problem, remedy)


def of_graph(shape: tuple[int, ...], adapter: Adapter) -> Both:
    """For networks of one time step, or a loop over it, on samples of one shape."""

    def both(made: nn.Module, into: nn.Module, draw: Draw) -> tuple[Trace, Trace]:
        x = draw((_STEPS, _BATCH, *shape))
        try:
            other = torch_side(into, x, adapter)
        except SnnaxError as error:
            if error.__cause__ is None:
                raise
            x = draw((_LONG, _BATCH, *shape))  # it may index more steps than there were
            other = torch_side(into, x, adapter)
        steps = other.num_steps
        if steps is not None:
            x = x[:steps] if other.takes_sequences else np.repeat(x[:1], steps, 0)
        return torch_side(made, x, adapter).run(x), other.run(x)

    return both


def of_program(program: Program, adapter: Adapter) -> Both:
    """For networks that are called as a program was."""
    steps = (_STEPS,) if is_step(program) else ()

    def both(made: nn.Module, into: nn.Module, draw: Draw) -> tuple[Trace, Trace]:
        def drawn(entry: Any) -> Any:
            if not isinstance(entry, Leaf):
                return entry
            form = program.inputs[entry.index].result.at(program.size)
            shape: Any = (*steps, *form.shape)
            whole = np.dtype(form.dtype).kind in "biu"  # as a place in a table: 0 and 1 are in most
            return (draw(shape) % 2 if whole else draw(shape)).astype(form.dtype)

        for name in program.training:
            into.get_submodule(name).training = True
        arguments = mapped(program.arguments[0], drawn)
        found = [CalledTorch(net, program, adapter).call(arguments, {}) for net in (made, into)]
        return found[0], found[1]

    return both


def _drawn(rng: np.random.Generator, scale: float, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0, scale, shape)


def _weighted(made: nn.Module, into: nn.Module, rng: np.random.Generator) -> Pair:
    """Copies in evaluation mode with the same weights."""
    pair = copy_net(made), copy_net(into).eval()
    values = pair[0].state_dict()
    for name, module in pair[1].named_modules():
        key = f"{name}.weight".lstrip(".")
        if isinstance(module, _WEIGHTED) and key in values:
            weight = rng.normal(0, _GAIN * values[key][0].numel() ** -0.5, values[key].shape)
            values[key] = torch.tensor(weight).to(values[key])
    for net in pair:
        net.load_state_dict({key: values[key].reshape(old.shape) for key, old in net.state_dict().items()})
    return pair


def _parted(ours: Trace, theirs: Trace) -> str:
    """The first thing in which two runs differ; empty if in nothing."""
    if [*ours.nodes] != [*theirs.nodes] and sorted(ours.nodes) != sorted(theirs.nodes):
        return f"it runs the neurons {', '.join(theirs.nodes)}, and the port {', '.join(ours.nodes)}"
    for name, first, second in _pairs(ours, theirs):
        if first.shape != second.shape:
            return f"{name} has shape {second.shape} instead of {first.shape}"
        if not np.allclose(first, second, 1e-3, 1e-4, equal_nan=True):
            return f"{name} is another"
    return ""


def _pairs(ours: Trace, theirs: Trace) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for name, node in ours.nodes.items():
        other = theirs.nodes[name]
        yield f"the input of {name!r}", node.input, other.input
        yield f"the output of {name!r}", node.spk, other.spk
    for number, (first, second) in enumerate(zip(ours.outputs, theirs.outputs, strict=False)):
        yield f"output {number}", np.asarray(first), np.asarray(second)
