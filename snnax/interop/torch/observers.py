"""What one neuron received and did over a run, written down while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.errors import ShapeError
from snnax.interop.trace import NodeTrace, others


class Observer:
    """The record of one neuron of a running copy.

    A framework whose neurons count in other units than those that they are converted to has one of its own.

    Attributes:
        name: name of the neuron in the model that the network is converted to.
        forced: what it is to emit, ``[T, B, ...]``.
        keeps_starts: write down what it starts each call from, too.
    """

    def __init__(self, name: str, *, keeps_starts: bool = False) -> None:
        self.name, self.keeps_starts = name, keeps_starts
        self.kind = ""
        self.num_steps = 0
        self.inputs: list[np.ndarray] = []
        self.spikes: list[np.ndarray] = []
        self.states: dict[str, list[np.ndarray]] = {}
        self.starts: dict[str, list[np.ndarray]] = {}
        self.forced: Tensor | None = None

    def prepare(self, module: Any, modules: Mapping[str, nn.Module], frames: Tensor) -> None:
        """Get ready to observe ``module`` of a copy with these ``modules``, which is to run ``frames``."""

    def seen(self, x: Tensor, before: Any, fired: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Input, spikes and states of one call."""
        return (
            x,
            fired.spk,
            {state: t for state, t in fired.states.items() if state in before and state != "spk"},
        )

    def instead(self, fired: Any, spk: Tensor) -> Any:
        """What a call gives that is forced to emit ``spk``."""
        return replace(
            fired, spk=spk, states={**fired.states, "spk": spk} if "spk" in fired.states else fired.states
        )

    def observe(self, t: int, x: Tensor, before: Any, run: Callable[[], Any]) -> Any:
        """Write down one call, that of step ``t``."""
        entered = array(x)  # a neuron may change its input in place
        begun = self._begun(before) if self.keeps_starts else {}
        fired = run()
        shown, spikes, states = self.seen(x, before, fired)
        self.inputs.append(entered if shown is x else array(shown))
        self.spikes.append(array(spikes))
        for state, tensor in states.items():
            rows = self.states.setdefault(state, [])
            rows.append(array(tensor))
            if self.keeps_starts:
                start = begun.get(state)  # of another shape the neuron takes it for no state
                if start is None or start.shape != rows[-1].shape:
                    start = np.zeros_like(rows[-1])
                self.starts.setdefault(state, []).append(start)
        if self.forced is None:
            return fired
        return self.instead(fired, self.emitted((self.num_steps, *fired.spk.shape))[t].clone())

    def _begun(self, before: Any) -> dict[str, np.ndarray]:
        """The states before a call; what the last one left as the very array that was written down then."""
        found = {}
        for state, tensor in before.items():
            if isinstance(tensor, Tensor):
                start, last = array(tensor), self.states.get(state, [None])[-1]
                found[state] = last if last is not None and np.array_equal(start, last) else start
        return found

    def emitted(self, shape: tuple[int, ...]) -> Tensor:
        """The forced spikes.

        Raises:
            ShapeError: they have another shape.
        """
        if self.forced is None or self.forced.shape != shape:
            given = None if self.forced is None else tuple(self.forced.shape)
            raise ShapeError(f"forced spikes of {self.name!r} have shape {given}; expected {shape}.")
        return self.forced

    def trace(self) -> NodeTrace:
        """The finished record.

        Raises:
            ShapeError: if the neuron ran another number of steps than the input has.
        """
        if len(self.spikes) != self.num_steps:
            raise ShapeError(
                f"{self.name!r} ran {len(self.spikes)} steps, and x has {self.num_steps}: the loop in forward has "
                "a fixed length. Pass as many steps as the loop has."
            )
        states = {state: np.stack(values) for state, values in self.states.items()}
        starts = others({state: np.stack(values) for state, values in self.starts.items()}, states)
        return NodeTrace(self.name, self.kind, np.stack(self.inputs), np.stack(self.spikes), states, starts)


def array(tensor: Tensor) -> np.ndarray:
    """A copy that later in-place changes do not reach."""
    if tensor.dtype == torch.bfloat16:  # which NumPy has not
        tensor = tensor.float()
    return np.array(tensor.detach().cpu().numpy())
