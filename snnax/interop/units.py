"""A recording of another framework in the units in which a model counts its currents.

NIR's neurons take a current ``I`` and add ``r*dt/tau*I`` to their membrane in an Euler step. Where ``from_nir``
makes one of snnTorch's neurons of such a node, that neuron adds its input as it is, behind a ``Scale`` by
``r*dt/tau``: it counts the same current by what it does to the membrane. Everything is compared in that unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnax.errors import SnnaxError
from snnax.interop.exporting import to_nir
from snnax.interop.importing import Import
from snnax.interop.nodes.spec import NATIVE, STATES
from snnax.interop.readings import Reading
from snnax.interop.recordings import RecordedSide
from snnax.interop.trace import NodeTrace, Trace

Array = np.ndarray


def in_units_of(other: Any, side: RecordedSide, x: Array, reading: Reading) -> RecordedSide:
    """A recording as ``other`` would have made it.

    Layers that were recorded by a neuron of snnTorch's stay as they are, and so does everything where ``other`` does
    not say its units, in ``other.units``: by layer the factor of the input, and that of the synaptic current or
    ``None``, which is then found by comparison.

    Args:
        other: the side that the recording is compared with.
        side: the recording.
        x: its input.
        reading: what NIR leaves open.
    """
    run = side.run(x)
    if len(getattr(other, "layers", ())) != len(run.nodes):
        return side
    units = _paired(other.units, run, other)
    foreign = {n for n, node in run.nodes.items() if node.kind not in STATES or node.kind in NATIVE}
    units = {name: unit for name, unit in units.items() if name in foreign}
    if not any(np.any(gain != 1) or unit is None or np.any(unit != 1) for gain, unit in units.values()):
        return side
    replayed = _replayed(other, run, x) if any(unit is None for _, unit in units.values()) else {}
    nodes = dict(run.nodes)
    for name, (gain, unit) in units.items():
        node = nodes[name]
        states = dict(node.states)
        if "syn" in states:
            known = _fitted(node, replayed[name]) if unit is None else unit
            states["syn"] = _times(states["syn"], known)
        nodes[name] = replace(node, input=_times(node.input, gain), states=states)
    return _with_graph(RecordedSide(Trace(nodes, run.outputs), side.label), side, reading)


def _paired(units: Mapping[str, Any], run: Trace, other: Any) -> dict[str, Any]:
    """The units by the recording's names of the layers: the same ones, or else in the same order."""
    if set(other.layers) == set(run.nodes):
        return dict(units)
    pairs = zip(run.nodes, other.layers, strict=True)
    return {name: units[layer] for name, layer in pairs if layer in units}


def _replayed(other: Any, run: Trace, x: Array) -> dict[str, NodeTrace]:
    """What ``other`` records, by the recording's names, while its layers emit what the recording has."""
    same = set(other.layers) == set(run.nodes)
    names = {name: name for name in run.nodes} if same else dict(zip(run.nodes, other.layers, strict=True))
    found = other.replay(x, {names[name]: node.spk for name, node in run.nodes.items()}).nodes
    return {name: found[theirs] for name, theirs in names.items()}


def _fitted(node: NodeTrace, other: NodeTrace) -> Array:
    """The factor of each neuron's recorded synaptic current that makes it the other side's."""
    left, right = (n.states["syn"].astype(np.float64) for n in (node, other))
    size = (left * left).sum((0, 1))
    return np.where(size > 0, (left * right).sum((0, 1)) / np.where(size > 0, size, 1.0), 1.0)


def _times(values: Array, factor: Array) -> Array:
    return np.asarray(values.astype(np.float64) * factor).astype(values.dtype)


def _with_graph(side: RecordedSide, given: RecordedSide, reading: Reading) -> RecordedSide:
    """The graph of the recording in the same units, if it has one: as the model that is made of it is written."""
    try:
        graph: nir.NIRGraph = given.graph()
        imported = Import(graph, reading=reading)
        graph = to_nir(imported.model, imported.variables, dt=imported.dt)
    except SnnaxError:
        return side
    nodes = {imported.names.get(name, name): node for name, node in side.trace.nodes.items()}
    trace = Trace({name: replace(node, name=name) for name, node in nodes.items()}, side.trace.outputs)
    return RecordedSide(trace, side.label, graph=graph)
