"""``from_nir``: a NIR graph as a flax model with its variables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from os import PathLike
from typing import Any

import flax.linen as nn
import jax
import nir
import numpy as np

from snnax import checks
from snnax.errors import (
    ArgumentError,
    ConversionError,
    GraphError,
    NIRFileError,
    RepairWarning,
    ShapeError,
    SnnaxError,
    warn,
)
from snnax.interop import conventions
from snnax.interop.families.modules import module_from_spec
from snnax.interop.families.nodes import spec_from_node
from snnax.interop.families.recurrent import join
from snnax.interop.families.registry import find
from snnax.interop.layers.registry import Built, Site, Variables, build
from snnax.interop.nir import metadata
from snnax.interop.nir.entries import DT, FILE_OR_GRAPH, PRESET, arrays
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.files import read_nir
from snnax.interop.nir.graph import (
    NEURONS,
    FlatGraph,
    check,
    check_flatten,
    exact,
    fires_ahead,
    fit,
    flatten,
    free,
    keeps_state,
    loops,
    parameters,
)
from snnax.interop.nir.readings import Reading, reading
from snnax.interop.nir.repairs import input_claim, output_shape
from snnax.interop.numbers import plain, real
from snnax.interop.spec import NeuronSpec
from snnax.layers import Scale
from snnax.layers.delays import Delay
from snnax.layers.signals import Slice
from snnax.limits import check_values
from snnax.network.containers import Graph
from snnax.network.topology import INPUT, OUTPUT, Plan, Wiring, components, fed_first, plan

__all__ = ["from_nir", "join_inputs"]

# --- Where a graph's input comes in: one array, cut into the parts of several inputs, perhaps some steps late

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """The nodes of a model between its input and what the graph's ``Input`` nodes feed.

    Attributes:
        shape: shape of one sample of the model's input.
        names: for each ``Input`` node, the model's node in its place.
        nodes: module, and shapes of a sample before and after it, channels first.
        edges: between these nodes.
    """

    shape: Shape
    names: dict[str, str]
    nodes: dict[str, tuple[nn.Module, Shape, Shape]]
    edges: list[tuple[str, str]]

    @classmethod
    def of(cls, inputs: Mapping[str, Shape], delay: int, taken: Collection[str] = ()) -> Entry:
        """For these inputs, with their shapes, all of them late by ``delay`` steps; by names not ``taken``."""
        whole = next(iter(inputs.values())) if len(inputs) == 1 else (sum(map(prod, inputs.values())),)
        names: dict[str, str] = {}
        nodes: dict[str, tuple[nn.Module, Shape, Shape]] = {}
        edges: list[tuple[str, str]] = []
        begin = 0

        def put(name: str, module: nn.Module, source: str, before: Shape, after: Shape) -> str:
            name = free(fit(name), {*taken, *nodes, *(n for n in inputs if n != name)})
            nodes[name] = (module, before, after)
            edges.append((source, name))
            return name

        for name in sorted(inputs):
            shape, at = inputs[name], INPUT
            if len(inputs) > 1:
                at = put(name, Slice(begin, shape), at, whole, shape)
                begin += prod(shape)
            names[name] = put(f"{name}.late", Delay(delay), at, shape, shape) if delay else at
        return cls(whole, names, nodes, edges)


@checks.takes(graph=FILE_OR_GRAPH, inputs=arrays("arrays by Input node, as {'input': x}"))
def join_inputs(graph: nir.NIRGraph | str | PathLike[str], inputs: Mapping[str, Any]) -> np.ndarray:
    """The inputs of a graph with several, side by side as its model takes them.

    Args:
        graph: the graph or its path.
        inputs: an array ``[T, B, ...]`` for each ``Input`` node, channels first.

    Returns:
        One array ``[T, B, N]``.

    Raises:
        ArgumentError: if an input is missing or unknown.
        ShapeError: if one has another shape than its node says.
        ConversionError: if one does not hold finite real numbers.

    Example:
        >>> import nir, numpy as np
        >>> from snnax import interop
        >>> nodes = {n: nir.Input({"input": np.array([size])}) for n, size in (("a", 2), ("b", 3))}
        >>> nodes["w"], nodes["out"] = nir.Linear(np.ones((1, 2))), nir.Output({"output": np.array([1])})
        >>> nodes["v"] = nir.Linear(np.ones((1, 3)))
        >>> graph = nir.NIRGraph(nodes, [("a", "w"), ("b", "v"), ("w", "out"), ("v", "out")], type_check=False)
        >>> interop.join_inputs(graph, {"a": np.zeros((4, 1, 2)), "b": np.ones((4, 1, 3))}).shape
        (4, 1, 5)
    """
    flat = flatten(read_nir(graph) if not isinstance(graph, nir.NIRGraph) else graph)
    if set(inputs) != set(flat.inputs):
        raise ArgumentError(
            f"inputs for {sorted(inputs)}; the graph's Input nodes are {sorted(flat.inputs)}."
        )
    parts = []
    for name in sorted(flat.inputs):
        x, shape = plain(name, "input", inputs[name]), flat.inputs[name]
        if x.ndim != len(shape) + 2 or x.shape[2:] != shape:
            raise ShapeError(
                f"input {name!r} has shape {x.shape}; expected [T, B, {', '.join(map(str, shape))}]."
            )
        parts.append(x.reshape(*x.shape[:2], -1))
    return np.concatenate(parts, axis=-1)


@checks.takes(graph=FILE_OR_GRAPH, dt=DT, preset=PRESET)
def from_nir(
    graph: nir.NIRGraph | str | PathLike[str],
    dt: float | None = None,
    *,
    preset: str | Reading | None = None,
    **choices: Any,
) -> tuple[Graph, Variables]:
    """Turn a NIR graph into a flax model of one time step.

    Graphs that snnax exported come back as the neurons that they were. Others are read as a
    :class:`~snnax.interop.Reading` says; by default forward Euler, input before threshold, strict ``>``, reset to
    ``v_reset`` in the step of the spike. Where one of snnTorch's neurons computes just that, it is that neuron;
    else one of NIR's own (:class:`snnax.LIF`...). Two nodes on a loop, a neuron and its weights, become one
    ``RLeaky`` or ``RSynaptic`` where these fit; other cycles get one step of delay. What can be meant in one way
    only is put right, with a :class:`~snnax.errors.RepairWarning`.

    Args:
        graph: a graph in memory or the path of a ``.nir`` file.
        dt: time step in seconds. ``None``: what the graph's metadata says, else 1e-4.
        preset: name of a framework whose reading is taken (a key of ``interop.PRESETS``), or a ``Reading``.
        **choices: attributes of :class:`~snnax.interop.Reading`, as ``reset="subtract"``; they go before the preset.

    Returns:
        ``(model, variables)``: a :class:`snnax.Graph` that takes and returns channels-first arrays, and its
        variables without ``hidden``. Run it with :func:`snnax.unroll`. A graph with several inputs takes them side
        by side in one vector, each flattened, in the order of their names: see :func:`~snnax.interop.join_inputs`.

    Raises:
        NIRFileError: for a file or graph that is damaged or holds numbers that are not finite.
        GraphError: for edges that lead nowhere and nodes that the input does not reach.
        ConversionError: for a node that cannot be imported exactly; names it and the remedy.
        ArgumentError: for an unknown preset or choice.
        ShapeError: where shapes do not meet, and for sizes beyond :func:`snnax.size_limit`, as of a padding or delay.

    Example:
        >>> import nir, numpy as np, jax.numpy as jnp, snnax as snn
        >>> from snnax import interop
        >>> one = np.ones(2, np.float32)
        >>> graph = nir.NIRGraph.from_list(
        ...     nir.Linear(np.ones((2, 3), np.float32)),
        ...     nir.LIF(tau=one * 1e-3, r=one * 10, v_leak=one * 0, v_threshold=one))
        >>> model, variables = interop.from_nir(graph)
        >>> spk, _ = snn.unroll(model, variables, jnp.ones((4, 1, 3)))
        >>> spk[:, 0, 0].tolist()
        [1.0, 1.0, 1.0, 1.0]

    Compared with snnTorch's ``import_from_nir``: recurrent graphs keep their wiring, per-neuron thresholds,
    groups, pooling and flatten work, and ``IF`` does not leak.
    """
    made = reading(preset, dt=dt, **choices)
    imported = Import(read_nir(graph) if not isinstance(graph, nir.NIRGraph) else graph, reading=made)
    for note in imported.notes:
        warn(RepairWarning(note))
    return imported.model, imported.variables


def _prepared(graph: nir.NIRGraph, made: Reading) -> tuple[FlatGraph, float]:
    """The graph flattened and checked, and the time step."""
    flat = flatten(graph)
    check(flat)
    flat.nodes = {name: exact(name, node) for name, node in flat.nodes.items()}
    step = conventions.DT if made.dt is None else made.dt
    if made.dt is None and "dt" in flat.content:
        step = flat.content["dt"]
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < float("inf"):
        raise ConversionError(OUTPUT, f"dt={step!r}", "The time step is a number of seconds greater than 0.")
    return flat, float(step)


def _check_range(name: str, values: Any) -> None:
    """Refuse what a node's numbers give together, as the gain ``w_in * r``, if it is beyond JAX's precision."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(values):
        real(name, jax.tree_util.keystr(path, simple=True, separator="/"), leaf, weights=True)


class Import:
    """One import, with what the torch side needs of it too.

    Attributes:
        model: the flax model.
        variables: its variables.
        nodes: the NIR node behind each stateless node of the model.
        specs: the neuron behind each neuron of the model.
        sites: name and shapes of each node.
        shared: nodes that use the module of another one.
        notes: what was put right.
    """

    def __init__(
        self, graph: nir.NIRGraph, dt: float | None = None, *, reading: Reading | None = None
    ) -> None:
        self.reading = reading if reading is not None else Reading(dt=dt)
        self.flat, self.dt = _prepared(graph, self.reading)
        self.notes = list(self.flat.notes)
        apart = {*(self.flat.listed("late") or ()), *(self.flat.listed("early") or ())}
        self.loops = {
            n: w for n, w in loops(self.flat).items() if not {(n, w), (w, n)} & apart and self._joins(n, w)
        }
        for name, shape in self.flat.inputs.items():
            check_values(name, prod(shape), f"takes samples of shape {shape}")
            check_values(name, prod(shape) * self.reading.input_delay, "is to be late by as many steps")
        taken = {*self.flat.nodes, *self.flat.outputs}
        self.entry = Entry.of(self.flat.inputs, self.reading.input_delay, taken)
        self.names = self._names()
        self.taken = {*self.names.values(), *self.entry.nodes, *self.flat.outputs}
        self.nodes: dict[str, nir.NIRNode] = {}
        self.specs: dict[str, NeuronSpec] = {}
        self.sites: dict[str, Site] = {}
        self.shared: dict[str, str] = {}
        self.modules: dict[str, nn.Module] = {}
        self.variables: Variables = {}
        self.shapes: dict[str, tuple[int, ...]] = {INPUT: self.entry.shape}
        self.gains: dict[str, str] = {}
        self.model = self._run()

    def _joins(self, neuron: str, weights: str) -> bool:
        """True if a neuron and the weights on its loop are one recurrent neuron of snnTorch's."""
        node = self.flat.nodes[neuron]
        known = metadata.read_spec(node, neuron)
        if known is not None:
            family = find(known.kind)  # of an unknown one the node itself is refused, by its name
            return family is not None and family.is_joined
        spec, factor = spec_from_node(neuron, node, self.dt, self.reading)
        if not spec.family.joined or factor is not None:
            return False
        late = self.reading.recurrent_bias == "after_first"
        return not (late and np.any(np.asarray(getattr(self.flat.nodes[weights], "bias", 0.0)) != 0))

    def _names(self) -> dict[str, str]:
        """Our name of each node: ``lif1`` for the pair ``lif1.lif`` and ``lif1.w_rec``; no two alike."""
        inside = set(self.loops.values())
        names = {name: fit(name) for name in self.flat.nodes if name not in inside}
        taken = {*self.flat.outputs, *self.entry.nodes}
        used = Counter(names.values())
        for name, wish in names.items():
            used[wish] -= 1
            ours = re.sub(r"\.lif_*$", "", wish) if name in self.loops else wish
            if not ours or ours in taken or used[ours] > 0:
                ours = wish
                while ours in taken or used[ours] > 0:
                    ours += "_"
            names[name] = ours
            used[ours] += 1
        return names

    def _run(self) -> Graph:
        for name, (module, shape, after) in self.entry.nodes.items():
            self._keep(name, shape, Built(module, {}, after))
        edges = [*self.entry.edges, *self._edges()]
        order = self._plan(edges)
        given = {ours: theirs for theirs, ours in self.names.items()}
        for name in fed_first(order):
            if name in given:
                self._add_described(name, given[name], self._shape_in(name, order.sources[name]))
        self._check_shapes(order)
        late = [(s, t) for t, sources in order.sources.items() for s, later in sources if later]
        behind, delayed, early = (
            [(s, self.gains.get(t, t)) for s, t in found]
            for found in (
                edges,
                [edge for edge in late if edge not in order.early],
                [edge for edge in late if edge in order.early],
            )
        )
        edges = [*behind, *((self.gains[n], n) for n in self.gains)]
        outputs, more = self._outputs()
        return Graph(
            nodes=self.modules,
            edges=[*edges, *more],
            outputs=outputs,
            channels_first=True,
            input_shape=self.shapes[INPUT],
            delayed=delayed or None,
            early=early,
        )

    def _plan(self, edges: list[tuple[str, str]]) -> Plan:
        """Which node runs when: as our metadata of the graph says where the delays of its cycles are, else by rule."""
        names = (*self.modules, *self.names.values())
        if self.flat.listed("late") is None:
            late = bool(self.flat.content.get("delay_spikes", self.reading.recurrent_bias == "always"))
            early = self._early(names, edges) if self.reading.feedback == "same_step" else ()
            return plan(names, tuple(edges), self._stateful() if late else None, None, early)
        late_edges, early_edges = (self._listed(kind) for kind in ("late", "early"))
        try:
            return plan(names, tuple(edges), None, late_edges, early_edges)
        except GraphError as error:
            raise NIRFileError(
                f"the graph's metadata says where its cycles have their delay, which its edges contradict: {error} "
                "Remove the key 'snnax' from the graph's metadata to read it by NIR's own semantics."
            ) from error

    def _early(self, names: tuple[str, ...], edges: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """The edges on cycles over which neurons hand spikes that they know before their input."""
        ahead = {ours for theirs, ours in self.names.items() if fires_ahead(theirs, self.flat.nodes[theirs])}
        part = components(names, Wiring(edges).targets)
        return tuple((s, t) for s, t in edges if s in ahead and t != OUTPUT and part[s] == part[t])

    def _listed(self, kind: str) -> tuple[tuple[str, str], ...]:
        """Edges in our metadata of the graph, by our names."""
        try:
            return tuple((self.names[s], self.names[t]) for s, t in self.flat.listed(kind) or ())
        except KeyError as error:
            raise NIRFileError(
                f"the graph's metadata lists {kind} edges of which {error} is no node of the graph. Remove the key "
                "'snnax' from the graph's metadata to read it by NIR's own semantics."
            ) from error

    def _stateful(self) -> frozenset[str]:
        """Nodes where the delay of a cycle may be: those that keep a state."""
        return frozenset(ours for theirs, ours in self.names.items() if keeps_state(self.flat.nodes[theirs]))

    def _check_shapes(self, order: Plan) -> None:
        """What meets at a node, once all shapes are known; and what the Output nodes claim."""
        for name in self.names.values():
            known = [(s, self.shapes[s]) for s, _ in order.sources[name]]
            for source, shape in known[1:]:
                if shape != known[0][1]:
                    raise ShapeError(
                        f"{name!r} adds {known[0][0]!r} of shape {known[0][1]} and {source!r} of shape {shape}; "
                        "what meets at a node must have one shape."
                    )
        for output, claim in self.flat.claims.items():
            for source in self.flat.sources(output)[:1]:
                shape = self.shapes[self.entry.names.get(source) or self.names[source]]
                self.notes += output_shape(output, claim, shape)

    def _edges(self) -> list[tuple[str, str]]:
        """Edges by our names, without the loops that recurrent neurons hold inside and with one output."""
        names = {
            **self.names,
            **self.entry.names,
            **dict.fromkeys(self.flat.outputs, OUTPUT),
        }
        inside = {edge for pair in self.loops.items() for edge in (pair, pair[::-1])}
        found = [(names[s], names[t]) for s, t in self.flat.edges if (s, t) not in inside]
        return list(dict.fromkeys(found))

    def _shape_in(self, name: str, sources: Any) -> tuple[int, ...]:
        return next(self.shapes[s] for s, _ in sources if s in self.shapes)

    def _add_described(self, name: str, given: str, shape: tuple[int, ...]) -> None:
        """Add a node; what our metadata says of it may be damaged in any way."""
        try:
            self._add(name, given, shape)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            node = self.flat.nodes[given]
            if isinstance(error, SnnaxError) or not (
                isinstance(node, Extension) or metadata.read(node, name)
            ):
                raise
            raise NIRFileError(
                f"node {given!r}: its snnax metadata is damaged ({type(error).__name__}: {error})."
            ) from error

    def _add(self, name: str, given: str, shape: tuple[int, ...]) -> None:
        node = self.flat.nodes[given]
        shared = metadata.read(node, name).get("shared_with")
        if shared in self.modules and not self._is_neuron(node) and self._still_shares(name, node, shared):
            self.shared[name] = shared
            self._insert(name, node, shape)
            self.modules[name] = self.modules[shared]
            for values in self.variables.values():
                values.pop(name, None)
            return
        if self._is_neuron(node):
            self._neuron(name, given, shape)
        else:
            self._insert(name, node, shape)

    def _still_shares(self, name: str, node: nir.NIRNode, shared: str) -> bool:
        """Whether a node is as the one whose weights its metadata says it shares."""
        mine, theirs = dict(parameters(node)), dict(parameters(self.nodes[shared]))
        same = mine.keys() == theirs.keys() and all(np.array_equal(mine[k], theirs[k]) for k in mine)
        if not (same and type(node) is type(self.nodes[shared])):
            self.notes.append(
                f"node {name!r}: its metadata says that it is {shared!r} once more, but it is not as that is; read as "
                "a layer of its own"
            )
            return False
        return True

    def _insert(self, name: str, node: nir.NIRNode, shape: tuple[int, ...]) -> None:
        self.nodes[name] = node
        self.notes += input_claim(name, node, shape)
        if isinstance(node, nir.Flatten):
            check_flatten(name, node, shape)
        self._keep(name, shape, build(node, Site(name, shape, None, self.dt, self.reading)))

    def _keep(self, name: str, shape: tuple[int, ...], built: Built) -> None:
        check_values(name, prod(built.shape_out), f"makes samples of shape {built.shape_out}")
        if isinstance(built.module, Delay):
            steps = built.module.longest
            check_values(name, steps * prod(shape), f"keeps the inputs of {steps} steps")
        self.modules[name] = built.module
        self.shapes[name] = built.shape_out
        self.sites[name] = Site(name, shape, built.shape_out, self.dt)
        for collection, values in built.variables.items():
            _check_range(name, values)
            self.variables.setdefault(collection, {})[name] = values

    @staticmethod
    def _is_neuron(node: nir.NIRNode) -> bool:
        if isinstance(node, Extension):  # the latter: of a class that nobody has registered here
            return find(node.op) is not None or "kind" in metadata.read(node)
        return isinstance(node, NEURONS)

    def _neuron(self, name: str, given: str, shape: tuple[int, ...]) -> None:
        node = self.flat.nodes[given]
        if given in self.loops:
            self.notes += input_claim(self.loops[given], self.flat.nodes[self.loops[given]], shape)
            spec, factor = join(name, node, self.flat.nodes[self.loops[given]], self.dt, self.reading), None
        else:
            spec, factor = spec_from_node(name, node, self.dt, self.reading)
        self._check_shape(name, node, spec, shape)
        if factor is not None:
            self.gains[name] = free(f"{name}.gain", self.taken)
            self.taken.add(self.gains[name])
            small = factor.size == 1 and prod(shape) > 2**24  # as many are not written out
            full = np.broadcast_to(factor, (1,) * len(shape) if small else shape).copy()
            self._insert(self.gains[name], nir.Scale(scale=full), shape)
        module, variables = module_from_spec(name, spec, len(shape))
        self.specs[name] = spec
        self._keep(name, shape, Built(module, variables, spec.family.shape_out(name, spec.sizes, shape)))

    @staticmethod
    def _check_shape(name: str, node: Any, spec: NeuronSpec, shape: tuple[int, ...]) -> None:
        own = None if isinstance(node, Extension) else np.shape(getattr(node, "v_threshold", node.r))
        if own not in (None, (), (1,)) and own != shape:
            raise ShapeError(
                f"{name!r} has neurons of shape {own}, what feeds it has shape {shape}; NIR has one number for each "
                f"neuron of a sample, as np.broadcast_to(tau, {shape})."
            )

    def _outputs(self) -> tuple[list[tuple[str, str]] | None, list[tuple[str, str]]]:
        """What the model returns, where that is not simply what one Output node gets; and edges for sums."""
        listed = self.flat.content.get("outputs")
        if listed is not None:
            ends = {output: self.flat.sources(output) for output in self.flat.outputs}
            if self.flat.content.get("ends", ends) != ends:
                raise NIRFileError(
                    "the graph's metadata says what the network returns, but its Outputs were given other edges since. "
                    "Remove the key 'snnax' from the graph's metadata to return what they say."
                )
            try:
                pairs = [(str(n), str(p)) for n, p in listed]
            except (TypeError, ValueError) as error:
                raise NIRFileError(
                    f"the graph's metadata has outputs {listed!r}; expected pairs of names."
                ) from error
            if unknown := [n for n, _ in pairs if n not in self.modules]:
                raise NIRFileError(f"the graph's metadata returns {unknown}, which are no nodes of it.")
            return pairs, []
        if len(self.flat.outputs) == 1:
            return None, []
        pairs, edges = [], []
        for output in self.flat.outputs:
            names = [self.entry.names.get(s) or self.names[s] for s in self.flat.sources(output)]
            if len(names) > 1 or names[0] == INPUT:
                edges += [(name, output) for name in names]
                shape = self.shapes[names[0]]
                self._keep(output, shape, Built(Scale(1.0), {}, shape))
                names = [output]
            pairs.append((names[0], "out"))
        return pairs, edges
