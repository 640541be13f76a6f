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
from snnax.interop.nodes.spec import NATIVE, NeuronSpec
from snnax.interop.readings import Reading
from snnax.interop.reference.equations import Array
from snnax.interop.reference.neurons import nir_values
from snnax.interop.reference.simulation import Simulation
from snnax.interop.reference.units import Units, scales
from snnax.interop.trace import Trace


class ReferenceSide:
    """A NIR graph, run by its equations.

    What the layers compute is :class:`~snnax.interop.reference.Simulation`'s; the names that they are compared
    under, and the units in which their input and current are recorded, are those of the model that
    :func:`~snnax.interop.from_nir` makes of the graph, so that both can be laid over each other: of a neuron of
    snnTorch's, what it adds to the membrane in a step. Where ``from_nir`` takes a gain ``r*dt/tau`` for 1, which
    the rounded numbers of a file keep from being so, it is 1 here too. A graph that ``from_nir`` refuses keeps its
    own names and units.

    Args:
        graph: a graph in memory or the path of a ``.nir`` file.
        reading: what NIR leaves open.
        label: name in reports.
        exact_gains: compute with a gain that is 1 but for rounding as it is, as the recording of another simulator.

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
        exact_gains: bool = False,
    ) -> None:
        self.label = label
        given = graph if isinstance(graph, nir.NIRGraph) else read_nir(graph)
        reading = Reading() if reading is None else reading
        self.imported: Import | None = None
        with suppress(SnnaxError):  # the referee may run what the model cannot
            self.imported = Import(given, reading=reading)
        if self.imported is None:
            self.simulation = Simulation(given, reading, pairs={})
            self.units: Units = {}
        else:
            factors, self.units = scales(self.imported)
            factors = {} if exact_gains else factors
            self.simulation = Simulation(
                given, reading, self.imported.loops, self.imported.names, factors=factors
            )
        self.notes = list(self.simulation.flat.notes)

    def run(self, x: Any) -> Trace:
        """All steps of ``x`` ``[T, B, ...]`` from zero."""
        return self.replay(x, {})

    def replay(self, x: Any, forced: Mapping[str, Array]) -> Trace:
        """The same, while layers emit the spikes in ``forced``."""
        trace = self.simulation.run(x, forced)
        for name, (gain, unit) in self.units.items():
            node = trace.nodes[name]
            states = {k: v * unit if k == "syn" else v for k, v in node.states.items()}
            trace.nodes[name] = replace(node, input=node.input * gain, states=states)
        return trace

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in the order in which they compute."""
        return self.simulation.layers

    def graph(self) -> nir.NIRGraph:
        """The graph that is compared, with a node of its own for what scales a neuron's input."""
        if self.imported is None:
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
        if spec.kind not in NATIVE or metadata.read_spec(node, given) is not None:
            return spec
        values = nir_values(given, node, run.reading)
        if spec.kind in ("IF", "I") and run.reading.integrator == "impulse":
            values["r"] = values["r"] / run.dt
        return spec.with_values(**values)
