"""Per-node spikes and membranes of one run, and what a side of a cross-validation must offer.

Everything here is NumPy: a trace is what two frameworks are compared by, so it belongs to neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import nir
import numpy as np

__all__ = ["NodeTrace", "Side", "Trace"]


@dataclass
class NodeTrace:
    """What one neuron layer received and did over a run.

    Attributes:
        name: node name, the same in both sides of a comparison.
        kind: neuron class, as ``"Leaky"``.
        input: current into the neuron, ``[T, B, ...]``; images are channels-first.
        spk: spikes that it emitted, ``[T, B, ...]``.
        states: each state after each step as the neuron returned it, ``"mem"``, ``"syn"``...
        starts: the states before each step, where they are not those after the step before: a neuron that is called
            twice in a step goes on from its own first call.
    """

    name: str
    kind: str
    input: np.ndarray
    spk: np.ndarray
    states: dict[str, np.ndarray] = field(default_factory=dict)
    starts: dict[str, np.ndarray] = field(default_factory=dict)

    def before(self) -> dict[str, np.ndarray]:
        """The states before each step of a run from rest: those after the step before, zero at first."""
        return {
            name: self.starts.get(name, np.concatenate([np.zeros_like(state[:1]), state[:-1]]))
            for name, state in self.states.items()
        }


@dataclass
class Trace:
    """All neuron layers of a network over one run.

    Attributes:
        nodes: one entry for each neuron layer, in the order in which a step executes them.
        outputs: what the network returned, stacked over time: ``[T, B, ...]`` each.
    """

    nodes: dict[str, NodeTrace]
    outputs: tuple[np.ndarray, ...]


class Side(Protocol):
    """One side of a cross-validation: something that runs, and that can be fed the other's spikes."""

    label: str

    def run(self, x: np.ndarray) -> Trace:
        """Run all steps of ``x`` ``[T, B, ...]`` from the reset state."""
        ...

    def replay(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        """Run ``x`` while each neuron in ``forced`` emits the given spikes ``[T, B, ...]`` instead of its own.

        The trace still holds each neuron's own spikes and states: what it would have done.
        """
        ...

    def graph(self) -> nir.NIRGraph:
        """The network as a NIR graph in memory, with snnax metadata; weights in torch's layout."""
        ...
