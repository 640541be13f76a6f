"""Per-node spikes and membranes of one run, and what a side of a cross-validation must offer.

Everything here is NumPy: a trace is what two frameworks are compared by, so it belongs to neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import nir
import numpy as np

__all__ = ["NodeTrace", "Side", "Trace"]


@dataclass(frozen=True)
class Told:
    """What one neuron layer should have got: computed from what all neurons did, by the operations between them.

    Attributes:
        input: the current, in float64, ``[T, B, ...]``; ``None`` where another bound holds it.
        starts: the states before each step.
        slack: by how much rounding may move them in each step, ``[T, 1, ...]``; that of the current is ``""``.
        line: where in the user's code a state is changed last, as ``net.py:12``.
    """

    input: np.ndarray | None
    starts: dict[str, np.ndarray]
    slack: dict[str, np.ndarray]
    line: str = ""

    def of(self, samples: Any) -> Told:
        """That of some samples."""
        starts = {name: start[:, samples] for name, start in self.starts.items()}
        return replace(self, input=None if self.input is None else self.input[:, samples], starts=starts)


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
            twice in a step goes on from its own first call, and ``forward`` may change a state between two steps.
        told: what the network makes, by its other operations, of what its neurons did, if that was asked.
        rest: from what states start, by name, where that is not zero.

    Example:
        >>> import numpy as np
        >>> from snnax import interop
        >>> mem = np.array([[[0.5]], [[1.25]]])  # [T, B, N]
        >>> lif = interop.NodeTrace("lif", "Leaky", input=mem, spk=(mem > 1).astype(float), states={"mem": mem})
        >>> lif.before()["mem"].ravel().tolist()  # the first step starts from rest
        [0.0, 0.5]
    """

    name: str
    kind: str
    input: np.ndarray
    spk: np.ndarray
    states: dict[str, np.ndarray] = field(default_factory=dict)
    starts: dict[str, np.ndarray] = field(default_factory=dict)
    told: Told | None = None
    rest: dict[str, float] = field(default_factory=dict)

    def before(self) -> dict[str, np.ndarray]:
        """The states before each step of a run from rest: those after the step before, at first where they start."""
        return {
            name: self.starts.get(name, left_by(state, self.rest.get(name, 0.0)))
            for name, state in self.states.items()
        }


def left_by(state: np.ndarray, rest: float = 0.0) -> np.ndarray:
    """What each step finds that goes on from the one before, the first from ``rest``."""
    return np.concatenate([np.full_like(state[:1], rest), state[:-1]])


def others(starts: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The starts that are not what the step before left."""
    return {
        name: start
        for name, start in starts.items()
        if name in states and not np.array_equal(start, left_by(states[name]), equal_nan=True)
    }


@dataclass
class Trace:
    """All neuron layers of a network over one run.

    Attributes:
        nodes: one entry for each neuron layer, in the order in which a step executes them.
        outputs: what the network returned, stacked over time: ``[T, B, ...]`` each.

    Example:
        >>> import numpy as np
        >>> from snnax import interop
        >>> spk = np.ones((2, 1, 3))  # [T, B, N]
        >>> trace = interop.Trace({"lif": interop.NodeTrace("lif", "Leaky", input=spk, spk=spk)}, outputs=(spk,))
        >>> list(trace.nodes), trace.nodes["lif"].spk.sum()
        (['lif'], np.float64(6.0))
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
