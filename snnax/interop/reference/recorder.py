"""The traces of a run, while it runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnax.interop.reference.equations import Array
from snnax.interop.reference.neurons import Unit
from snnax.interop.trace import NodeTrace


class Recorder:
    """The traces of a run, in arrays of their final size.

    Args:
        steps: T.
        names: the trace's name of each node with a neuron's state, in the order in which they compute.
    """

    def __init__(self, steps: int, names: dict[str, str]) -> None:
        self.steps, self.names = steps, names
        self.rows: dict[str, dict[str, Array]] = {name: {} for name in names}

    def write(self, t: int, name: str, current: Array, emitted: Array, unit: Unit) -> None:
        """One step of one layer."""
        for what, value in {"input": current, "spk": emitted, **unit.states}.items():
            if what not in self.rows[name]:
                self.rows[name][what] = np.zeros((self.steps, *value.shape))
            self.rows[name][what][t] = value

    def traces(self, units: Mapping[str, Unit]) -> dict[str, NodeTrace]:
        """By the trace's names."""
        found = {}
        for name, ours in self.names.items():
            rows = self.rows[name]
            states = {key: rows[key] for key in units[name].states}
            found[ours] = NodeTrace(ours, units[name].kind, rows["input"], rows["spk"], states)
        return found
