"""NIR graphs in NumPy: flattened, checked, and with the loops of recurrent neurons found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from snnax.errors import GraphError, NIRFileError
from snnax.interop.nodes import metadata
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.spec import VALUES
from snnax.interop.repairs import renamed, sample_shape

Edge = tuple[str, str]
WEIGHTS = (nir.Affine, nir.Linear, nir.Conv2d, nir.Scale)
SPIKING = (nir.LIF, nir.CubaLIF, nir.IF)
NEURONS = (nir.LIF, nir.CubaLIF, nir.IF, nir.LI, nir.CubaLI, nir.I)


@dataclass
class FlatGraph:
    """A graph without nesting.

    Attributes:
        nodes: by name, ``Input`` and ``Output`` left out; nested names are joined by dots.
        edges: between nodes and the names in ``inputs`` and ``outputs``.
        inputs: shape of one sample by name of the ``Input`` node.
        outputs: names of the ``Output`` nodes.
        content: our metadata of the whole graph.
        claims: shape that each Output node claims.
        notes: what was put right while reading.
    """

    nodes: dict[str, nir.NIRNode]
    edges: list[Edge]
    inputs: dict[str, tuple[int, ...]]
    outputs: list[str]
    content: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def sources(self, name: str) -> list[str]:
        """What feeds ``name``, in the order of the edges."""
        return [s for s, t in self.edges if t == name]

    def targets(self, name: str) -> list[str]:
        """What ``name`` feeds, in the order of the edges."""
        return [t for s, t in self.edges if s == name]


def flatten(graph: nir.NIRGraph, where: str = "") -> FlatGraph:
    """Take nested graphs apart: an edge to a nested graph goes to what its ``Input`` feeds.

    Args:
        graph: the graph.
        where: its name, if it is nested.

    Raises:
        NIRFileError: for an input without a shape, a nested graph with several ends, no input or output.
    """
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[Edge] = []
    entries: dict[str, list[str]] = {}
    exits: dict[str, list[str]] = {}
    inputs: dict[str, tuple[int, ...]] = {}
    outputs: list[str] = []
    claims: dict[str, Any] = {}
    given, notes = renamed(list(graph.nodes), [(str(s), str(t)) for s, t in graph.edges], where)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            inner = flatten(node, f"{where}.{name}" if where else name)
            notes += inner.notes
            if len(inner.inputs) != 1 or len(inner.outputs) != 1:
                raise NIRFileError(
                    f"nested graph {name!r} has {len(inner.inputs)} inputs and {len(inner.outputs)} outputs; "
                    "snnax reads nested graphs with one of each."
                )
            entry, leave = next(iter(inner.inputs)), inner.outputs[0]
            nodes.update({f"{name}.{k}": v for k, v in inner.nodes.items()})
            edges += [(f"{name}.{s}", f"{name}.{t}") for s, t in inner.edges if s != entry and t != leave]
            entries[name] = [f"{name}.{t}" for t in inner.targets(entry)]
            exits[name] = [f"{name}.{s}" for s in inner.sources(leave)]
        elif isinstance(node, nir.Input):
            inputs[name] = _shape(name, node)
        elif isinstance(node, nir.Output):
            outputs.append(name)
            claims[name] = (node.output_type or {}).get("output")
        else:
            nodes[name] = node
    for source, target in given:
        edges += [(s, t) for s in exits.get(source, [source]) for t in entries.get(target, [target])]
    if not inputs or not outputs:
        raise NIRFileError(
            f"the graph has {len(inputs)} Input and {len(outputs)} Output nodes; it needs one of each."
        )
    for name, shape in inputs.items():
        inputs[name], found = sample_shape(name, shape, [nodes[t] for s, t in edges if s == name and t in nodes])
        notes += found
    return FlatGraph(nodes, edges, inputs, outputs, metadata.read(graph, "graph"), claims, notes)


def _shape(name: str, node: nir.Input) -> tuple[int, ...]:
    shape = (node.input_type or {}).get("input")
    if shape is None or not np.all(np.asarray(shape) >= 1):
        raise NIRFileError(
            f"Input node {name!r} has the shape {shape}; expected positive sizes, without batch or time."
        )
    return tuple(int(s) for s in np.atleast_1d(shape))


def check(graph: FlatGraph) -> None:
    """Refuse edges to nowhere, doubled edges and numbers that are not finite.

    Raises:
        GraphError: for the edges.
        NIRFileError: for the numbers; names node and parameter.
    """
    known = set(graph.nodes) | set(graph.inputs) | set(graph.outputs)
    seen: set[Edge] = set()
    for edge in graph.edges:
        if missing := [end for end in edge if end not in known]:
            raise GraphError(
                f"edge {edge} joins {missing}, which is no node of the graph; nodes are {sorted(known)}."
            )
        if edge in seen:
            raise GraphError(f"edge {edge} is given twice; NIR joins two nodes at most once.")
        seen.add(edge)
    for name, node in graph.nodes.items():
        for what, value in parameters(node):
            if not np.isfinite(value).all():
                raise NIRFileError(
                    f"node {name!r}: {what} holds {_worst(value)}; every parameter must be finite."
                )


def parameters(node: nir.NIRNode) -> Iterable[tuple[str, np.ndarray]]:
    """The numeric arrays of a node by name."""
    given = node.arrays if isinstance(node, Extension) else vars(node)
    for what, value in given.items():
        if what not in ("metadata", "input_type", "output_type") and not isinstance(
            value, str | bytes | dict
        ):
            array = np.asarray(value)
            if np.issubdtype(array.dtype, np.number):
                yield what, array


def _worst(value: np.ndarray) -> str:
    return "NaN" if np.isnan(value).any() else "infinity"


def keeps_state(node: nir.NIRNode) -> bool:
    """True for what a step hands to the next one: neurons, delays, and extensions that are neurons."""
    return isinstance(node, (*NEURONS, nir.Delay)) or (isinstance(node, Extension) and node.op in VALUES)


def loops(graph: FlatGraph) -> dict[str, str]:
    """Spiking neurons with recurrent weights: ``{neuron: weights}`` for each pair that feeds nothing but itself."""
    found: dict[str, str] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, WEIGHTS) and graph.sources(name) == graph.targets(name):
            partners = graph.sources(name)
            if len(partners) == 1 and partners[0] in graph.nodes and partners[0] not in found:
                partner = graph.nodes[partners[0]]
                kind = metadata.read(partner, partners[0]).get("kind", "")
                if isinstance(partner, SPIKING) or kind in ("RLeaky", "RSynaptic"):
                    found[partners[0]] = name
    return found
