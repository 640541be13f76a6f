"""NIR graphs in NumPy: flattened, checked, and with the loops of recurrent neurons found."""

from __future__ import annotations

import copy
from collections import ChainMap, Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import nir
import numpy as np

from snnax.checks import shown
from snnax.errors import ConversionError, GraphError, NIRFileError, ShapeError
from snnax.interop.families.registry import families, find
from snnax.interop.nir import metadata
from snnax.interop.nir.contents import DEPTH
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.repairs import renamed, sample_shape, takers
from snnax.interop.numbers import array, plain, real
from snnax.interop.spec import NeuronSpec
from snnax.network.topology import Wiring

# --- The parameters of NIR nodes: numbers, finite, and of sizes that fit one another. NIR itself checks nothing

Cast = Callable[[str, str, Any], np.ndarray]

_COUNTS: dict[type, dict[str, tuple[int | None, int]]] = {
    nir.Conv1d: {"stride": (1, 1), "dilation": (1, 1), "groups": (1, 1), "padding": (0, 1)},
    nir.Conv2d: {"stride": (1, 2), "dilation": (1, 2), "groups": (1, 1), "padding": (0, 2)},
    nir.SumPool2d: {"kernel_size": (1, 2), "stride": (1, 2), "padding": (0, 2)},
    nir.AvgPool2d: {"kernel_size": (1, 2), "stride": (1, 2), "padding": (0, 2)},
    nir.Flatten: {"start_dim": (None, 1), "end_dim": (None, 1)},
}
"""Whole numbers of each node: the least one that makes sense, and how many at most."""
_SINGLE = ("groups", "start_dim", "end_dim")
"""Those of them that are no arrays."""


def check_node(name: str, node: nir.NIRNode) -> None:
    """Refuse a node whose parameters cannot be meant.

    Raises:
        NIRFileError: for parameters that are no finite real numbers, counts that are none, and metadata of ours
            that belongs to another node.
        ShapeError: for parameters of one node that do not fit one another.
    """
    _check_numbers(name, parameters(node))
    for what, value in parameters(node):
        if not value.size:
            raise ShapeError(f"node {name!r}: {what} has shape {value.shape}, which holds no number.")
    for what, (least, most) in _COUNTS.get(type(node), {}).items():
        if not _is_rule(node, what, getattr(node, what)):
            _check_count(name, what, getattr(node, what), least, most)
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        _check_convolution(name, node)
    if isinstance(node, NEURONS):
        _check_neuron(name, node)
    known = metadata.of(node, name)
    if known.told and known.spec is not None:
        _check_told(name, node, known.spec)


def check_arrays(name: str, node: nir.NIRNode) -> None:
    """Refuse a node with a field that is no array, before anything asks for its shape.

    Raises:
        NIRFileError: names the node and the parameter.
    """
    try:
        list(parameters(node))
    except ConversionError as error:
        raise NIRFileError(f"node {name!r}: {error.problem}. {error.remedy}") from error


def _check_numbers(name: str, given: Iterable[tuple[str, np.ndarray]]) -> None:
    """Refuse parameters of a node that are no finite real numbers."""
    try:
        for what, value in given:
            if value.dtype == bool:
                raise ConversionError(name, f"{what} holds truth values", "Every parameter is a number.")
            plain(name, what, value)
    except ConversionError as error:
        raise NIRFileError(f"node {name!r}: {error.problem}. {error.remedy}") from error


def fitting(node: str, what: str, value: Any) -> np.ndarray:
    """A parameter as JAX computes with it: see :func:`~snnax.interop.numbers.real`."""
    return real(node, what, value, weights=what in ("weight", "bias"))


def exact(name: str, node: nir.NIRNode, cast: Cast = fitting) -> nir.NIRNode:
    """The node with its parameters as float32 or float64, itself if they are.

    Args:
        name: its name.
        node: the node, left as it is.
        cast: :func:`fitting`, ``written`` for files, or ``plain``.

    Raises:
        ConversionError: for numbers that the type does not hold; names the node and the parameter.
    """
    counts = _COUNTS.get(type(node), {})
    found = {what: cast(name, what, value) for what, value in parameters(node) if what not in counts}
    given = node.arrays if isinstance(node, Extension) else vars(node)
    changed = {what: value for what, value in found.items() if value is not given[what]}
    if not changed:
        return node
    twin = copy.copy(node)
    if isinstance(twin, Extension):
        twin.arrays = {**twin.arrays, **changed}
    else:
        for what, value in changed.items():
            setattr(twin, what, value)
    return twin


def check_flatten(name: str, node: nir.Flatten, shape: tuple[int, ...]) -> None:
    """Refuse to flatten axes that a sample does not have.

    Raises:
        ShapeError: names the node.
    """
    start, end, rank = int(node.start_dim), int(node.end_dim), len(shape)
    if not (-rank <= start < rank and -rank <= end < rank and start % rank <= end % rank):
        raise ShapeError(f"{name!r} flattens the axes {start} to {end} of samples of shape {shape}.")


def parameters(node: nir.NIRNode) -> Iterable[tuple[str, np.ndarray]]:
    """The arrays of a node by name."""
    given = node.arrays if isinstance(node, Extension) else vars(node)
    for what, value in given.items():
        if what in ("metadata", "input_type", "output_type", "input_shape") or _is_rule(node, what, value):
            continue
        yield what, value if type(value) is np.ndarray else array(type(node).__name__, what, value)


def _is_rule(node: Any, what: str, value: Any) -> bool:
    """True for the padding of a convolution in words, ``"same"`` or ``"valid"``."""
    return what == "padding" and isinstance(node, nir.Conv1d | nir.Conv2d) and isinstance(value, str | bytes)


def _check_count(name: str, what: str, value: Any, least: int | None, most: int) -> None:
    array = np.asarray(value)
    alone = what in _SINGLE
    fits = array.ndim == 0 if alone else array.size in (1, most)
    whole = fits and bool((array == np.floor(array)).all())
    if not whole or (least is not None and (array < least).any()):
        limit = "" if least is None else f" >= {least}"
        raise NIRFileError(
            f"node {name!r}: {what} is {np.array2string(array, threshold=4)}; expected {'one' if most == 1 else 'two'} "
            f"whole number{'' if most == 1 else 's'}{' without axes' if alone else ''}{limit}."
        )


def _check_convolution(name: str, node: Any) -> None:
    weight, bias, groups = np.shape(node.weight), np.shape(node.bias), int(node.groups)
    if len(weight) != (3 if isinstance(node, nir.Conv1d) else 4) or bias != weight[:1] or weight[0] % groups:
        raise ShapeError(
            f"{name!r} has a weight of shape {weight}, a bias of {bias} and {groups} groups; expected a weight (out, "
            f"in/groups, {'L' if isinstance(node, nir.Conv1d) else 'H, W'}), a bias (out,), and groups that divide out."
        )


def _check_neuron(name: str, node: Any) -> None:
    shapes = {key: np.shape(getattr(node, key)) for key in families()[type(node).__name__].values}
    full = shapes.get("v_threshold", shapes["r"])
    if wrong := {k: s for k, s in shapes.items() if s not in ((), (1,), full)}:
        raise ShapeError(f"{name!r} has neurons of shape {full}, but {wrong}; expected one value per neuron.")


def _check_told(name: str, node: nir.NIRNode, spec: NeuronSpec) -> None:
    """Our text says finite numbers, and of one of NIR's own neurons the same kind as the node is, with all of them."""
    _check_numbers(name, ((f"{what} of its snnax metadata", value) for what, value in spec.values.items()))
    family = find(spec.kind)
    if family is None or not family.native:
        return
    if type(node).__name__ != spec.kind or set(family.values) - set(spec.values):
        raise NIRFileError(
            f"node {name!r}: its snnax metadata is of a {spec.kind} with {sorted(spec.values)}. Remove the key 'snnax' "
            "from its metadata to read the node by NIR's own semantics."
        )


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

    What the text of our metadata says is read here, once: the nodes are then in memory.
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
    if not depth:
        nodes = {name: metadata.in_memory(node, name) for name, node in nodes.items()}
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
    neuron = isinstance(node, Extension) and find(node.op) is not None
    return neuron or isinstance(node, (*NEURONS, nir.Delay))


def fires_ahead(name: str, node: nir.NIRNode) -> bool:
    """True for a spiking neuron, if our metadata does not say that it is tested after its input."""
    if not isinstance(node, SPIKING):
        return False
    spec = metadata.of(node, name).spec
    return spec is None or spec.sizes.get("threshold_test") == "before"


def loops(graph: FlatGraph) -> dict[str, str]:
    """Spiking neurons with recurrent weights: ``{neuron: weights}`` for each pair that feeds nothing but itself."""
    found: dict[str, str] = {}
    for name, node in sorted(graph.nodes.items()):
        if isinstance(node, WEIGHTS) and graph.sources(name) == graph.targets(name):
            partners = graph.sources(name)
            if len(partners) == 1 and partners[0] in graph.nodes and partners[0] not in found:
                partner = graph.nodes[partners[0]]
                family = find(metadata.read(partner, partners[0]).get("kind", ""))
                if isinstance(partner, SPIKING) or (family is not None and family.is_joined):
                    found[partners[0]] = name
    return found
