"""The reference simulator as one side of a cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from typing import Any

import nir

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
        if self.imported is None:
            return None
        given = {ours: theirs for theirs, ours in self.simulation.names.items()}.get(name)
        if not self.natural or given not in self._translated():
            return self.imported.specs.get(name)
        if given in self.simulation.pairs:
            return None
        run = self.simulation
        return spec_of_native(name, run.flat.nodes[given], run.reading, run.dt)

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
        """Factors of the input and of the current of those neurons: what 1 adds to the membrane in a step."""
        run = self.simulation
        found: dict[str, tuple[Array, Array]] = {}
        for name in self._translated():
            values = nir_values(name, run.flat.nodes[name], run.reading)
            gain = unit = values["r"]
            for tau in ("tau", "tau_mem"):
                if tau in values:
                    gain = unit = added(values["r"], values[tau], run.dt, run.reading.discretization, "ode")
            if "tau_syn" in values:
                gain = unit * added(
                    values["w_in"], values["tau_syn"], run.dt, run.reading.discretization, run.reading.w_in
                )
            found[run.names[name]] = (gain, unit)
        return found
