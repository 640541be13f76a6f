"""``from_nir``: a NIR graph as a flax model with its variables."""

from __future__ import annotations

from os import PathLike
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax.errors import ConversionError, GraphError, NIRFileError, ShapeError
from snnax.interop import conventions
from snnax.interop.files import read_nir
from snnax.interop.graph import NEURONS, FlatGraph, check, flatten, loops
from snnax.interop.nodes import metadata
from snnax.interop.nodes.cells import shape_out
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.flax_neurons import module_from_spec
from snnax.interop.nodes.neurons import spec_from_node
from snnax.interop.nodes.recurrent import join
from snnax.interop.nodes.registry import Built, Site, Variables, build
from snnax.interop.nodes.spec import VALUES, NeuronSpec
from snnax.network.containers import Graph
from snnax.network.topology import INPUT, OUTPUT, plan


def from_nir(graph: nir.NIRGraph | str | PathLike[str], dt: float | None = None) -> tuple[Graph, Variables]:
    """Turn a NIR graph into a flax model of one time step.

    Graphs that snnax exported come back as the neurons that they were. Others get NIR's semantics: forward
    Euler, input before threshold, strict ``>``, reset to zero in the step of the spike. Two nodes on a loop,
    a neuron and its weights, become one ``RLeaky`` or ``RSynaptic``; other cycles get one step of delay.

    Args:
        graph: a graph in memory or the path of a ``.nir`` file.
        dt: time step in seconds. ``None``: what the graph's metadata says, else 1e-4.

    Returns:
        ``(model, variables)``: a :class:`snnax.Graph` that takes and returns channels-first arrays, and its
        variables without ``hidden``. Run it with :func:`snnax.unroll`.

    Raises:
        NIRFileError: for a file or graph that is damaged or holds numbers that are not finite.
        GraphError: for edges that lead nowhere and nodes that the input does not reach.
        ConversionError: for a node that cannot be imported exactly; names it and the remedy.
        ShapeError: where shapes do not meet.

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
    imported = Import(read_nir(graph) if not isinstance(graph, nir.NIRGraph) else graph, dt)
    return imported.model, imported.variables


def _prepared(graph: nir.NIRGraph, dt: float | None) -> tuple[FlatGraph, float]:
    """The graph flattened and checked, and the time step."""
    flat = flatten(graph)
    check(flat)
    if len(flat.inputs) != 1:
        raise ConversionError(
            sorted(flat.inputs)[1], "the graph has more than one Input node", "Import graphs with one input."
        )
    step = conventions.DT if dt is None else dt
    if dt is None and "dt" in flat.content:
        step = float(flat.content["dt"])
    if not step > 0:
        raise ConversionError(OUTPUT, f"dt={dt!r}", "The time step is a number of seconds greater than 0.")
    return flat, step


class Import:
    """One import, with what the torch side needs of it too.

    Attributes:
        model: the flax model.
        variables: its variables.
        nodes: the NIR node behind each stateless node of the model.
        specs: the neuron behind each neuron of the model.
        sites: name and shapes of each node.
        shared: nodes that use the module of another one.
    """

    def __init__(self, graph: nir.NIRGraph, dt: float | None) -> None:
        self.flat, self.dt = _prepared(graph, dt)
        self.loops = loops(self.flat)
        self.names = self._names()
        self.nodes: dict[str, nir.NIRNode] = {}
        self.specs: dict[str, NeuronSpec] = {}
        self.sites: dict[str, Site] = {}
        self.shared: dict[str, str] = {}
        self.modules: dict[str, nn.Module] = {}
        self.variables: Variables = {}
        self.shapes: dict[str, tuple[int, ...]] = {INPUT: next(iter(self.flat.inputs.values()))}
        self.gains: dict[str, str] = {}
        self.model = self._run()

    def _names(self) -> dict[str, str]:
        """Our name of each node: ``lif1`` for the pair ``lif1.lif`` and ``lif1.w_rec``."""
        names = {name: name for name in self.flat.nodes}
        for neuron, weights in self.loops.items():
            names[neuron] = neuron.removesuffix(".lif")
            del names[weights]
        return names

    def _run(self) -> Graph:
        edges = self._edges()
        order = plan(tuple(self.names.values()), tuple(edges))
        given = {ours: theirs for theirs, ours in self.names.items()}
        for name in order.order:
            shape = self._shape_in(name, order.sources[name])
            self._add(name, given[name], shape)
        edges = [(s, self.gains.get(t, t)) for s, t in edges]
        edges += [(self.gains[n], n) for n in self.gains]
        return Graph(
            nodes=self.modules,
            edges=edges,
            outputs=self._outputs(),
            channels_first=True,
            input_shape=self.shapes[INPUT],
        )

    def _edges(self) -> list[tuple[str, str]]:
        """Edges by our names, without the loops that recurrent neurons hold inside and with one output."""
        names = {
            **self.names,
            **dict.fromkeys(self.flat.inputs, INPUT),
            **dict.fromkeys(self.flat.outputs, OUTPUT),
        }
        inside = {edge for pair in self.loops.items() for edge in (pair, pair[::-1])}
        found = [(names[s], names[t]) for s, t in self.flat.edges if (s, t) not in inside]
        return list(dict.fromkeys(found))

    def _shape_in(self, name: str, sources: Any) -> tuple[int, ...]:
        known = [(s, self.shapes[s]) for s, _ in sources if s in self.shapes]
        if not known:
            raise GraphError(f"the shape of {name!r} cannot be told: all that feeds it comes from a cycle.")
        for source, shape in known[1:]:
            if shape != known[0][1]:
                raise ShapeError(
                    f"{name!r} adds {known[0][0]!r} of shape {known[0][1]} and {source!r} of shape {shape}; "
                    "what meets at a node must have one shape."
                )
        return known[0][1]

    def _add(self, name: str, given: str, shape: tuple[int, ...]) -> None:
        node = self.flat.nodes[given]
        shared = metadata.read(node, name).get("shared_with")
        if shared in self.modules and not self._is_neuron(node):
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

    def _insert(self, name: str, node: nir.NIRNode, shape: tuple[int, ...]) -> None:
        self.nodes[name] = node
        self._keep(name, shape, build(node, Site(name, shape, None, self.dt)))

    def _keep(self, name: str, shape: tuple[int, ...], built: Built) -> None:
        self.modules[name] = built.module
        self.shapes[name] = built.shape_out
        self.sites[name] = Site(name, shape, built.shape_out, self.dt)
        for collection, values in built.variables.items():
            self.variables.setdefault(collection, {})[name] = values

    @staticmethod
    def _is_neuron(node: nir.NIRNode) -> bool:
        return isinstance(node, NEURONS) or (isinstance(node, Extension) and node.op in VALUES)

    def _neuron(self, name: str, given: str, shape: tuple[int, ...]) -> None:
        node = self.flat.nodes[given]
        own = metadata.read(node, name).get("dt", self.dt)
        if given in self.loops:
            spec, factor = join(name, node, self.flat.nodes[self.loops[given]], own), None
        else:
            spec, factor = spec_from_node(name, node, own)
        self._check_shape(name, node, spec, shape)
        if factor is not None:
            self.gains[name] = f"{name}.gain"
            full = np.broadcast_to(factor, shape).astype(np.float32)
            self._insert(self.gains[name], nir.Scale(scale=full), shape)
        module, variables = module_from_spec(name, spec, len(shape))
        self.specs[name] = spec
        self._keep(name, shape, Built(module, variables, shape_out(name, spec, shape)))

    @staticmethod
    def _check_shape(name: str, node: Any, spec: NeuronSpec, shape: tuple[int, ...]) -> None:
        if spec.kind not in VALUES:
            raise ConversionError(
                name, f"neuron class {spec.kind!r} is unknown", f"Known are {sorted(VALUES)}."
            )
        own = None if isinstance(node, Extension) else tuple(node.v_threshold.shape)
        if own not in (None, (), (1,)) and own != shape:
            raise ShapeError(f"{name!r} has neurons of shape {own}, what feeds it has shape {shape}.")

    def _outputs(self) -> list[tuple[str, str]] | None:
        """What the model returns, where that is not simply what one Output node gets."""
        listed = self.flat.content.get("outputs")
        if listed is not None:
            pairs = [(str(n), str(p)) for n, p in listed]
            if unknown := [n for n, _ in pairs if n not in self.modules]:
                raise NIRFileError(f"the graph's metadata returns {unknown}, which are no nodes of it.")
            return pairs
        if len(self.flat.outputs) == 1:
            return None
        pairs = []
        for output in self.flat.outputs:
            sources = self.flat.sources(output)
            if len(sources) != 1:
                raise ConversionError(
                    output, f"{len(sources)} nodes feed one of several outputs", "Feed it from one."
                )
            pairs.append((self.names[sources[0]], "out"))
        return pairs
