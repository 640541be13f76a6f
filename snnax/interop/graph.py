"""NIR graphs in NumPy: flattened, checked, and with the loops of recurrent neurons found."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Container
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import nir
import numpy as np

from snnax.checks import shown
from snnax.errors import ConversionError, GraphError, NIRFileError
from snnax.interop.contents import DEPTH
from snnax.interop.nodes import metadata
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.spec import VALUES
from snnax.interop.numbers import array
from snnax.interop.parameters import check_arrays, check_node
from snnax.interop.parameters import parameters as parameters
from snnax.interop.repairs import renamed, sample_shape, takers
from snnax.network.topology import Wiring

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

    @cached_property
    def wiring(self) -> Wiring:
        """The edges by their ends."""
        return Wiring(self.edges)

    def sources(self, name: str) -> list[str]:
        """What feeds ``name``, in the order of the edges."""
        return self.wiring.sources.get(name, [])

    def targets(self, name: str) -> list[str]:
        """What ``name`` feeds, in the order of the edges."""
        return self.wiring.targets.get(name, [])

    def listed(self, kind: str) -> list[Edge] | None:
        """The ``"late"`` or ``"early"`` edges that our metadata of the graph lists; ``None`` where it says nothing.

        Raises:
            NIRFileError: for a list of something else.
        """
        found = self.content.get(kind)
        if found is None:
            return None
        pairs = isinstance(found, list) and all(isinstance(e, list) and len(e) == 2 for e in found)
        if not pairs or not all(isinstance(end, str) for edge in found for end in edge):
            raise NIRFileError(
                f"the graph's snnax metadata has {kind}={found!r}; expected pairs of node names."
            )
        return [(source, target) for source, target in found]


def flatten(graph: nir.NIRGraph, where: str = "", depth: int = 0) -> FlatGraph:
    """Take nested graphs apart: an edge to a nested graph goes to what its ``Input`` feeds.

    Nothing depends on the order of ``graph.nodes``, which files do not keep; Outputs come in the order of their
    names. A nested graph that hands its input on as it is gets a ``Scale`` of ones in place of its ``Input``.

    Args:
        graph: the graph.
        where: its name, if it is nested.
        depth: of how many graphs it is a part.

    Raises:
        NIRFileError: for an input without a shape, a nested graph with several ends, no input or output, and more
            than :data:`DEPTH` levels.
    """
    if depth > DEPTH:
        raise NIRFileError(
            f"nested graph '{where[:40]}...': more than {DEPTH} levels, or a graph holds itself."
        )
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[Edge] = []
    ends: dict[str, _Nested] = {}
    inputs: dict[str, tuple[int, ...]] = {}
    claims: dict[str, Any] = {}
    pairs = pairs_of(graph)
    given, notes = renamed(sorted(graph.nodes), pairs, where)
    for name, node in sorted(graph.nodes.items()):
        if isinstance(node, nir.NIRGraph):
            inner = flatten(node, f"{where}.{name}" if where else name, depth + 1)
            ends[name] = nested = _Nested.of(name, inner, ChainMap(graph.nodes, nodes))
            notes += inner.notes
            nodes.update(nested.nodes)
            edges += nested.edges
        elif isinstance(node, nir.Input):
            inputs[name] = _shape(name, node)
        elif isinstance(node, nir.Output):
            claims[name] = (node.output_type or {}).get("output")
        else:
            check_arrays(name, node)
            nodes[name] = node
    for source, target in given:
        sources = ends[source].exits if source in ends else [source]
        targets = ends[target].entries if target in ends else [target]
        edges += [(s, t) for s in sources for t in targets]
    if not inputs or not claims:
        raise NIRFileError(
            f"{f'nested graph {where!r}' if where else 'the graph'} has {len(inputs)} Input and {len(claims)} Output "
            "nodes; it needs one of each."
        )
    behind = Wiring(edges).targets
    for name, shape in inputs.items():
        inputs[name], found = sample_shape(name, shape, takers(name, nodes, behind))
        notes += found
    return FlatGraph(nodes, edges, inputs, list(claims), metadata.read(graph, "graph"), claims, notes)


def pairs_of(graph: nir.NIRGraph) -> list[Edge]:
    """The edges of a graph.

    Raises:
        NIRFileError: for what is no list of pairs of names, and nodes with a name that is no text.
    """
    for name in graph.nodes:
        if not isinstance(name, str):
            raise NIRFileError(f"the graph has a node called {shown(name)}; the name of a node is text.")
    edges: list[Any]
    try:
        edges = [graph.edges] if isinstance(graph.edges, str) else list(graph.edges)
    except TypeError:
        edges = [graph.edges]
    for edge in edges:
        listed = isinstance(edge, tuple | list) or (isinstance(edge, np.ndarray) and edge.ndim == 1)
        if not listed or len(edge) != 2 or not all(isinstance(end, str) for end in edge):
            raise NIRFileError(f"the graph's edge {shown(edge)} is no pair of names.")
    return [(str(source), str(target)) for source, target in edges]


@dataclass(frozen=True)
class _Nested:
    """A nested graph as a part of the one around it: its nodes by their new names, and what its ends became."""

    nodes: dict[str, nir.NIRNode]
    edges: list[Edge]
    entries: list[str]
    exits: list[str]

    @classmethod
    def of(cls, name: str, flat: FlatGraph, taken: Container[str]) -> _Nested:
        if len(flat.inputs) != 1 or len(flat.outputs) != 1:
            raise NIRFileError(
                f"nested graph {name!r} has {len(flat.inputs)} inputs and {len(flat.outputs)} outputs; "
                "snnax reads nested graphs with one of each."
            )
        (entry, shape), leave = next(iter(flat.inputs.items())), flat.outputs[0]
        inner = dict(flat.nodes)
        if (entry, leave) in flat.edges:
            inner[entry] = nir.Scale(np.ones((1,) * len(shape), np.float32))
        names: dict[str, str] = {}
        wishes, given = Counter(f"{name}.{k}" for k in inner), set()
        for k in inner:
            wish = ours = f"{name}.{k}"
            while ours in taken or ours in given or wishes[ours] > (ours == wish):
                ours += "_"
            names[k] = ours
            given.add(ours)
        mapped = [(names.get(s, f"{name}.{s}"), names.get(t, f"{name}.{t}")) for s, t in flat.edges]
        pairs = list(zip(flat.edges, mapped, strict=True))
        starts = [after for (s, _), (_, after) in pairs if s == entry]
        return cls(
            nodes={names[k]: node for k, node in inner.items()},
            edges=[to for (s, t), to in pairs if t != leave and (s != entry or entry in inner)],
            entries=[names[entry]] if entry in inner else starts,
            exits=[before for (_, t), (before, _) in pairs if t == leave],
        )


def fit(name: str) -> str:
    """The name of a node as a flax model can have it."""
    fitting = name.replace("/", "_") or "_"
    return (
        f"{fitting}_"
        if fitting in ("input", "output", "params") or fitting.endswith("_previous")
        else fitting
    )


def free(name: str, taken: Container[str]) -> str:
    """``name``, with underscores at its end until it is not taken."""
    while name in taken:
        name += "_"
    return name


def _shape(name: str, node: nir.Input) -> tuple[int, ...]:
    shape = (node.input_type or {}).get("input")
    try:
        sizes = np.atleast_1d(array(name, "", shape))
        whole = sizes.ndim == 1 and sizes.size > 0 and sizes.dtype.kind in "fiu"
    except ConversionError:
        whole = False
    if not whole or not ((sizes >= 1) & (sizes == np.floor(sizes)) & (sizes < 2**62)).all():
        raise NIRFileError(
            f"Input node {name!r} has the shape {shape}; expected positive sizes, without batch or time."
        )
    return tuple(int(s) for s in sizes)


def check(graph: FlatGraph) -> None:
    """Refuse edges to nowhere, doubled edges, and parameters that cannot be meant.

    Raises:
        GraphError: for the edges.
        NIRFileError: for the parameters; names node and parameter.
        ShapeError: for parameters that do not fit one another.
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
        check_node(name, node)


def keeps_state(node: nir.NIRNode) -> bool:
    """True for what a step hands to the next one: neurons, delays, and extensions that are neurons."""
    return isinstance(node, (*NEURONS, nir.Delay)) or (isinstance(node, Extension) and node.op in VALUES)


def fires_ahead(name: str, node: nir.NIRNode) -> bool:
    """True for a spiking neuron, if our metadata does not say that it is tested after its input."""
    known = metadata.read(node, name)
    if not isinstance(node, SPIKING):
        return False
    return "kind" not in known or (known.get("sizes") or {}).get("threshold_test") == "before"


def loops(graph: FlatGraph) -> dict[str, str]:
    """Spiking neurons with recurrent weights: ``{neuron: weights}`` for each pair that feeds nothing but itself."""
    found: dict[str, str] = {}
    for name, node in sorted(graph.nodes.items()):
        if isinstance(node, WEIGHTS) and graph.sources(name) == graph.targets(name):
            partners = graph.sources(name)
            if len(partners) == 1 and partners[0] in graph.nodes and partners[0] not in found:
                partner = graph.nodes[partners[0]]
                kind = metadata.read(partner, partners[0]).get("kind", "")
                if isinstance(partner, SPIKING) or kind in ("RLeaky", "RSynaptic"):
                    found[partners[0]] = name
    return found
