"""The reference simulator as one side of a cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from typing import Any

import nir
import numpy as np

from snnax.errors import SnnaxError
from snnax.interop.exporting import to_nir
from snnax.interop.files import read_nir
from snnax.interop.importing import Import
from snnax.interop.nodes import metadata
from snnax.interop.nodes.native import spec_of_native
from snnax.interop.nodes.spec import NATIVE, STATES, NeuronSpec
from snnax.interop.readings import Reading
from snnax.interop.reference.equations import Array, added
from snnax.interop.reference.neurons import nir_values
from snnax.interop.reference.simulation import Simulation
from snnax.interop.trace import Trace


class ReferenceSide:
    """A NIR graph, run by its equations.

    What the layers compute is :class:`~snnax.interop.reference.Simulation`'s; the names that they are compared
    under, and the units in which their input and current are recorded, are those of the model that
    :func:`~snnax.interop.from_nir` makes of the graph, so that both can be laid over each other: of a neuron of
    snnTorch's, what it adds to the membrane in a step. A graph that ``from_nir`` refuses keeps its own names
    and units.

    Args:
        graph: a graph in memory or the path of a ``.nir`` file.
        reading: what NIR leaves open.
        label: name in reports.
        natural: record input and current in the units of NIR's own equations, to compare with a recording.

    Attributes:
        notes: what was put right while reading.

    Raises:
        ConversionError: for a node that the reference simulator has no code for.
        NIRFileError: for a file or graph that is damaged.
        GraphError: for edges that lead nowhere and nodes that no input reaches.
    """

    def __init__(
        self,
        graph: nir.NIRGraph | str | PathLike[str],
        reading: Reading | None = None,
        label: str = "reference",
        *,
        natural: bool = False,
    ) -> None:
        self.label, self.natural = label, natural
        given = graph if isinstance(graph, nir.NIRGraph) else read_nir(graph)
        reading = Reading() if reading is None else reading
        self.imported: Import | None = None
        with suppress(SnnaxError):  # the referee may run what the model cannot
            self.imported = Import(given, reading=reading)
        if self.imported is None:
            self.simulation = Simulation(given, reading)
        else:
            self.simulation = Simulation(given, reading, self.imported.loops, self.imported.names)
        self.notes = list(self.simulation.flat.notes)

    def run(self, x: Any) -> Trace:
        """All steps of ``x`` ``[T, B, ...]`` from zero."""
        return self.replay(x, {})

    def replay(self, x: Any, forced: Mapping[str, Array]) -> Trace:
        """The same, while layers emit the spikes in ``forced``."""
        trace = self.simulation.run(x, forced)
        for name, (gain, unit) in ({} if self.natural else self._units()).items():
            node = trace.nodes[name]
            states = {k: v * unit if k == "syn" else v for k, v in node.states.items()}
            trace.nodes[name] = replace(node, input=node.input * gain, states=states)
        return trace

    def graph(self) -> nir.NIRGraph:
        """The graph that is compared; unless natural, with a node of its own for what scales a neuron's input."""
        if self.imported is None or self.natural:
            return self.simulation.graph
        return to_nir(self.imported.model, self.imported.variables, dt=self.simulation.dt)

    def spec(self, name: str) -> NeuronSpec | None:
        """Parameters of one layer, if they are known in the units of the recording."""
        spec = None if self.imported is None else self.imported.specs.get(name)
        given = {ours: theirs for theirs, ours in self.simulation.names.items()}.get(name)
        if spec is None or given is None:
            return None
        run = self.simulation
        node: Any = run.flat.nodes[given]
        if given in self._translated():
            if not self.natural:
                return spec
            spec = None if given in run.pairs else spec_of_native(name, node, run.reading, run.dt)
        if spec is None or spec.kind not in NATIVE or metadata.read_spec(node, given) is not None:
            return spec
        values = nir_values(given, node, run.reading)
        if spec.kind in ("IF", "I") and run.reading.integrator == "impulse":
            values["r"] = values["r"] / run.dt
        return spec.with_values(**values)

    def _translated(self) -> list[str]:
        """NIR's neurons that the model holds as one of snnTorch's."""
        run = self.simulation
        specs = {} if self.imported is None else self.imported.specs
        kinds = {name: specs[ours].kind for name, ours in run.names.items() if ours in specs}
        return [
            name
            for name, kind in kinds.items()
            if kind in STATES
            and kind not in NATIVE
            and metadata.read_spec(run.flat.nodes[name], name) is None
        ]

    def _units(self) -> dict[str, tuple[Array, Array]]:
        """Factors of the input and of the current of those neurons, which count what 1 adds to the membrane.

        That of the input is the number that the model scales it by; the membrane is computed without it.
        """
        run, imported = self.simulation, self.imported
        found: dict[str, tuple[Array, Array]] = {}
        if imported is None:
            return found
        for name in self._translated():
            ours = run.names[name]
            scale: Any = imported.nodes.get(imported.gains.get(ours, ""))
            gain = np.ones(()) if scale is None else np.asarray(scale.scale, np.float64)
            values = nir_values(name, run.flat.nodes[name], run.reading)
            unit = gain
            if "tau_mem" in values:
                unit = added(values["r"], values["tau_mem"], run.dt, run.reading.discretization, "ode")
            found[ours] = (gain, unit)
        return found
