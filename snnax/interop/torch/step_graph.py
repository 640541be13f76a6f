"""The graph of one time step of a torch network: what tracing finds and conversion reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from snnax.interop.program.nodes import filled

INPUT = "input"


@dataclass(frozen=True)
class Source:
    """One output of a node.

    Attributes:
        node: name of the node; ``"input"`` is the sample.
        port: ``"out"`` of a stateless node; ``"spk"`` or a state name of a neuron.
    """

    node: str
    port: str = "out"


def listed(result: Any) -> Any:
    """What a forward returned, with the values of a dict in its place, in their order."""
    if isinstance(result, dict):
        return tuple(map(listed, result.values()))
    if isinstance(result, tuple | list):
        return (list if isinstance(result, list) else tuple)(map(listed, result))
    return result


@dataclass
class StepNode:
    """One operation of the step.

    Attributes:
        name: module path as in ``named_modules``; a second use in one step gets ``"#2"``. Functional
            operations are called ``"add_1"``, ``"flatten_1"``, ``"avg_pool2d_1"``...
        module: the user's leaf module, or the module equal to a functional operation; None for
            ``"add"`` and ``"scale"``.
        op: what the node does.
        inputs: where its inputs come from; a neuron's states are not inputs.
        shape: shape of its output for one sample, without batch and time.
        factor: multiplier of a ``"scale"`` node.
        shared_with: first node that uses the same module object in the step.
        held: the module as the call found it, a plain copy with the weights that hooks, parametrizations
            and ``forward`` itself had computed by then; None where ``module`` is.
    """

    name: str
    module: nn.Module | None
    op: Literal["module", "add", "scale"]
    inputs: tuple[Source, ...]
    shape: tuple[int, ...]
    factor: float | None = None
    shared_with: str | None = None
    held: nn.Module | None = None


@dataclass
class StepGraph:
    """One time step of a network, whatever loop it was found in.

    Attributes:
        nodes: in the order in which a step executes them.
        input_shape: one sample of one step, without batch and time.
        outputs: what ``forward`` returns in each step, nested tuples flattened.
        single: True if that is one tensor instead of a tuple.
        mode: ``"step"``: one call is one step; ``"sequence"``: ``forward`` loops over ``x[T, B, ...]``;
            ``"constant"``: ``forward`` loops over one frame ``x[B, ...]``.
        num_steps: length of the loop that was seen; None for ``"step"``.
        batch_size: batch of the sample.
        args: ``forward``'s positional arguments, lists, tuples and dicts taken apart; None where the input or a
            state belongs.
        tree: how they are put together again, see :func:`~snnax.interop.program.nodes.filled`; empty if nothing was
            taken apart.
        input_arg: position of the input in ``args``.
        state_args: position in ``args`` and the neuron state that it feeds.
        state_outputs: index in ``outputs`` and the new neuron state found there, for each state in
            ``state_args``; empty unless the mode is ``"step"``.
        time_axis: axis of time in a ``"sequence"`` sample: 0, or 1 for ``x[B, T, ...]``.
        output_axes: axis of time in each returned tensor; None where it is a list over time.
        blocked: modules used more than once in a step whose first use runs all steps before the
            second one starts (loops over time inside a loop over layers).
    """

    nodes: list[StepNode]
    input_shape: tuple[int, ...]
    outputs: tuple[Source, ...]
    single: bool
    mode: Literal["step", "sequence", "constant"]
    num_steps: int | None
    batch_size: int
    args: tuple[Any, ...] = (None,)
    tree: tuple[Any, ...] = ()
    input_arg: int = 0
    state_args: tuple[tuple[int, Source], ...] = ()
    state_outputs: tuple[tuple[int, Source], ...] = ()
    time_axis: int = 0
    output_axes: tuple[int | None, ...] = ()
    blocked: frozenset[str] = field(default_factory=frozenset)

    def arguments(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """What ``forward`` is called with, from one value for each entry of ``args``."""
        return tuple(filled(self.tree, [*args])) if self.tree else tuple(args)

    def node(self, name: str) -> StepNode:
        """The node called ``name``."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
