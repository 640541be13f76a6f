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
from snnax.interop.families.native import Native
from snnax.interop.families.registry import kinds
from snnax.interop.nir import metadata
from snnax.interop.nir.exporting import exported
from snnax.interop.nir.files import read_nir
from snnax.interop.nir.importing import Import
from snnax.interop.nir.readings import Reading
from snnax.interop.simulator.equations import Array, added
from snnax.interop.simulator.neurons import nir_values
from snnax.interop.simulator.simulation import Simulation
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import Trace

# --- In which units the model of a graph counts the input and the current of each neuron ----------

Units = dict[str, tuple[Array, Array]]


def scales(imported: Import) -> tuple[dict[str, Array], Units]:
    """Where the model holds one of NIR's neurons as snnTorch's, which counts what 1 adds to the membrane in a step.

    Args:
        imported: the model.

    Returns:
        The factor by which the resistance of a node, by its name, misses a gain of 1 that the model takes it for;
        and by the model's names the factors of the input and of the synaptic current: that of the input is the
        number that the model scales it by.
    """
    factors: dict[str, Array] = {}
    units: Units = {}
    for name, ours in imported.names.items():
        node = imported.flat.nodes[name]
        kind = imported.specs[ours].kind if ours in imported.specs else ""
        if kind not in kinds(native=False) or metadata.read_spec(node, name) is not None:
            continue
        values = nir_values(name, node, imported.reading)
        whole = _gain(values, imported.dt)
        scale: Any = imported.nodes.get(imported.gains.get(ours, ""))
        if scale is None:
            factors[name], gain = 1 / whole, np.ones(())
        else:
            gain = np.asarray(scale.scale, np.float64)
        unit = gain
        if "tau_mem" in values:
            r = values["r"] * factors.get(name, 1.0)
            unit = added(r, values["tau_mem"], imported.dt, imported.reading.discretization, "ode")
        units[ours] = (gain, unit)
    return factors, units


def _gain(values: dict[str, Array], dt: float) -> Array:
    """What one unit of input adds to the membrane in the end, in an Euler step."""
    gain = values["r"]
    for factor, tau in ((1.0, "tau"), (1.0, "tau_mem"), (values.get("w_in", 1.0), "tau_syn")):
        gain = gain * factor * dt / values[tau] if tau in values else gain
    return np.asarray(gain)


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
        return exported(self.imported.model, self.imported.variables, dt=self.simulation.dt)

    def spec(self, name: str) -> NeuronSpec | None:
        """Parameters of one layer, if they are known in the units of the recording."""
        spec = None if self.imported is None else self.imported.specs.get(name)
        given = {ours: theirs for theirs, ours in self.simulation.names.items()}.get(name)
        if spec is None or given is None:
            return None
        run = self.simulation
        node: Any = run.flat.nodes[given]
        if not isinstance(spec.family, Native) or metadata.read_spec(node, given) is not None:
            return spec
        values = nir_values(given, node, run.reading)
        if spec.family.sums and run.reading.integrator == "impulse":
            values["r"] = values["r"] / run.dt
        return spec.with_values(**values)
