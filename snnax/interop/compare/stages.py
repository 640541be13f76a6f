"""The stateless stage in front of each neuron layer, evaluated on recorded spikes.

A stage is everything between the neuron layers (or the network's input) that feed a neuron and that neuron.
With absolute weights and inputs it gives the magnitude that rounding errors are measured against; with edited
nodes or other sources it answers "what if the kernel were transposed".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import nir
import numpy as np

from snnax.errors import ConversionError, GraphError
from snnax.interop.families.registry import find
from snnax.interop.layers.registry import evaluates, key_of, sums, word
from snnax.interop.nir import metadata
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.graph import FlatGraph, flatten, loops
from snnax.interop.simulator.simulation import walk
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import Trace

Array = np.ndarray
_ROWS = 64


def apply(node: nir.NIRNode, x: Array) -> Array:
    """Output of a stateless node for ``x`` ``[N, ...]``, in the dtype of ``x``.

    Raises:
        ConversionError: for a node that is not stateless, or not known here.
    """
    kind, maker = word(key_of(node)), evaluates.of(node)
    if maker is None:
        raise ConversionError(kind, "it cannot be evaluated in NumPy", "Its rounding error is estimated.")
    return maker(kind, node, x.dtype)(x)


def absolute(node: nir.NIRNode, *, bias: bool = True) -> nir.NIRNode:
    """The same node with absolute weights, with or without its constants: what magnitudes go through."""
    if isinstance(node, Extension):
        arrays = {k: np.abs(v) for k, v in node.arrays.items()}
        if "running_mean" in arrays:
            arrays["running_mean"] = -arrays["running_mean"]
        constants = [] if bias else [k for k in ("running_mean", "bias") if k in arrays]
        return edited(node, arrays={**arrays, **{k: np.zeros_like(arrays[k]) for k in constants}})
    given = {
        k: np.asarray(v) for k in ("weight", "bias", "scale") if (v := getattr(node, k, None)) is not None
    }
    changed = {k: np.abs(v) if bias or k != "bias" else np.zeros_like(v) for k, v in given.items()}
    return edited(node, **changed)


def edited(node: nir.NIRNode, **attributes: Any) -> nir.NIRNode:
    """A copy of a node with other attributes."""
    twin = copy.copy(node)
    for name, value in attributes.items():
        setattr(twin, name, value)
    return twin


def terms(node: nir.NIRNode) -> int:
    """How many rounded terms the node adds up for one output."""
    count = sums.of(node)
    return 0 if count is None else count(node)


def in_double(node: nir.NIRNode) -> bool:
    """True if a weight, bias, scale or threshold is in float64 and changes when it is rounded to float32."""
    given = (getattr(node, key, None) for key in ("weight", "bias", "scale", "threshold"))
    arrays = (np.asarray(v) for v in given if v is not None)
    return any(a.dtype == np.float64 and bool((a.astype(np.float32) != a).any()) for a in arrays)


def repeats(node: nir.NIRNode) -> float:
    """How often a weight of the sum for one output comes in it, up to its sign, on average over its different weights.

    The largest such average of the outputs that are looked at: all, or of many some 64 to 128 at even distances.
    Weights of zero do not count.
    """
    weight = getattr(node, "weight", None)
    if weight is None:
        return 1.0
    rows = np.abs(np.asarray(weight)).reshape(len(weight), -1)
    rows = np.sort(rows[:: max(len(rows) // _ROWS, 1)], 1)
    distinct = (np.diff(rows, axis=1) > 0).sum(1) + (rows[:, 0] > 0)
    return float((np.count_nonzero(rows, axis=1) / np.maximum(distinct, 1)).max(initial=1.0))


Mode = Literal["value", "magnitude", "gap"]


@dataclass(frozen=True)
class Edit:
    """A change to try out.

    Attributes:
        nodes: nodes that take the place of the graph's, by name.
        sources: neuron layers (or input nodes) whose recording takes the place of another's, by name.
        without: edges that are cut.
    """

    nodes: Mapping[str, nir.NIRNode] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[tuple[str, str]] = frozenset()


@dataclass
class _Walk:
    """One evaluation of a stage.

    Attributes:
        goal: node of the neuron, or output, whose current is computed.
        samples: which samples of the batch.
        mode: as in :meth:`Stages.current`.
        dtype: precision.
        edit: a change to try out.
        memo: what each node emits, as far as it is computed; ``None`` while it is being computed, which shows a loop.
    """

    goal: str
    samples: Any
    mode: Mode
    dtype: Any
    edit: Edit = field(default_factory=Edit)
    memo: dict[str, Array | None] = field(default_factory=dict)


def node_of(graph: FlatGraph, layer: str) -> str | None:
    """Node of a recorded layer: its own name, or for a recurrent neuron ``<layer>.lif``."""
    return next((name for name in (layer, f"{layer}.lif") if name in graph.nodes), None)


class Stages:
    """The stages of one graph, fed by one recording.

    Args:
        graph: the network.
        trace: a run of it, with the names of its neuron layers.
        x: the input of that run ``[T, B, ...]``.
        other: the other side's run on the same spikes. Where a stage reads a state of a neuron, not its spikes, the two
            sides' states may differ by rounding; ``mode="gap"`` passes their recorded difference on.
    """

    def __init__(self, graph: nir.NIRGraph, trace: Trace, x: Array, other: Trace | None = None) -> None:
        # nodes and layers: the node of a recorded layer may have another name than the layer (see node_of)
        self.flat = flatten(graph)
        self.trace, self.other, self.x = trace, other, np.asarray(x)
        self.layers = {node: name for name in trace.nodes if (node := node_of(self.flat, name)) is not None}
        self.order = {node: list(trace.nodes).index(name) for node, name in self.layers.items()}
        self.reads_states = any(
            isinstance(n, Extension) and n.op == "State" for n in self.flat.nodes.values()
        )
        self._before: dict[str, list[str]] = {}
        for source, target in self.flat.edges:
            self._before.setdefault(target, []).append(source)
        pairs = loops(self.flat)
        # by neuron node, its recurrent weights, where these are part of the recorded layer
        self.apart = {n: pairs[n] for n, name in self.layers.items() if n in pairs and self._apart(n, name)}
        self._rounded: dict[str, bool] = {}
        # with a late edge inside a stage a magnitude covers the step before as well
        self._blurred = _late_inside(self.flat, self.order)

    def goal(self, layer: str) -> str:
        """Node of a recorded layer or of an output.

        Raises:
            ConversionError: if the graph has no such node.
        """
        node = node_of(self.flat, layer) or (layer if layer in self.flat.outputs else None)
        if node is None:
            raise ConversionError(
                layer, "the graph has no node of this name", "Its rounding error is estimated."
            )
        return node

    def sources(self, layer: str) -> tuple[str, ...]:
        """Nodes of the neuron layers and inputs that feed a layer through stateless nodes only."""
        return tuple(dict.fromkeys(o for b in self.before(self.goal(layer)) for o in self._origins(b)))

    def before(self, node: str) -> list[str]:
        """Direct predecessors; of a neuron with recurrent weights of its own without these."""
        return [b for b in self._before.get(node, []) if self.apart.get(node) != b]

    def loops(self, node: str) -> list[str]:
        """The recurrent weights of a neuron, whose part of the current is not in the recorded one."""
        return [self.apart[node]] if node in self.apart else []

    def _apart(self, node: str, name: str) -> bool:
        """True if a recording of a neuron leaves its own spikes out: it is one layer with its recurrent weights."""
        family = find(metadata.read(self.flat.nodes[node], node).get("kind", ""))
        return name != node or (family is not None and family.is_joined)

    def nodes(self, layer: str) -> list[str]:
        """Names of the stateless nodes of a layer's stage, from its sources on."""
        found: list[str] = []
        self._collect(self.goal(layer), found, set())
        return found

    def edges(self, layer: str) -> list[tuple[str, str]]:
        """Edges that end in a layer's stage or in the layer."""
        targets = [*self.nodes(layer), self.goal(layer)]
        return [(before, target) for target in targets for before in self.before(target)]

    def terms(self, layer: str) -> int:
        """Number of rounded terms behind one current: the fan-ins of the stage, added up.

        And one for each rounding on the way into a side in single precision: of weights, and of what sources emit.
        """
        nodes = self.nodes(layer)
        inside = sum(terms(self.flat.nodes[name]) for name in nodes)
        merged = sum(max(len(self.before(name)) - 1, 0) for name in [*nodes, self.goal(layer)])
        rounded_weights = sum(in_double(self.flat.nodes[name]) for name in nodes)
        rounded_sources = any(self._rounds(source) for source in self.sources(layer))
        return inside + merged + rounded_weights + rounded_sources

    def _rounds(self, source: str) -> bool:
        """True if a layer emits numbers that single precision does not hold, as membranes."""
        if source not in self.layers:
            return False
        if source not in self._rounded:
            spk = self.trace.nodes[self.layers[source]].spk
            with np.errstate(over="ignore"):
                self._rounded[source] = not np.array_equal(spk.astype(np.float32), spk, equal_nan=True)
        return self._rounded[source]

    def repeats(self, layer: str) -> float:
        """:func:`repeats` of that node of a layer's stage where it is largest; 1 for a stage without nodes."""
        nodes = (repeats(self.flat.nodes[name]) for name in self.nodes(layer))
        return max(nodes, default=1.0)

    def current(
        self,
        layer: str,
        samples: Any = slice(None),
        edit: Edit | None = None,
        *,
        mode: Mode = "value",
        dtype: Any = np.float64,
    ) -> Array:
        """Current of a layer, or what enters an output, ``[T, b, ...]``, computed from the recording.

        Args:
            layer: name of a recorded layer or of an output node.
            samples: which samples of the batch.
            edit: change to try out.
            mode: ``"magnitude"`` takes absolute values throughout; ``"gap"`` passes on how far apart the two
                sides' states are where the stage reads a state, and nothing else.
            dtype: precision.

        Raises:
            ConversionError: where the stage has a node that is not known here.
        """
        goal = self.goal(layer)
        return self._value(goal, _Walk(goal, samples, mode, dtype, edit or Edit()))

    def known(
        self,
        layer: str,
        shape: tuple[int, ...],
        samples: Any = slice(None),
        edit: Edit | None = None,
        *,
        mode: Mode = "value",
        dtype: Any = np.float64,
    ) -> Array | None:
        """:meth:`current`; ``None`` where it cannot be computed, or has another shape."""
        try:
            found = self.current(layer, samples, edit, mode=mode, dtype=dtype)
        except (ConversionError, ValueError, IndexError, KeyError):
            return None
        return found if found.shape == shape else None

    def _collect(self, node: str, found: list[str], seen: set[str]) -> None:
        for before in self.before(node):
            if before not in self.order and before not in seen and self._before.get(before):
                seen.add(before)
                self._collect(before, found, seen)
                found.append(before)

    def _origins(self, name: str, seen: frozenset[str] = frozenset()) -> tuple[str, ...]:
        if name in self.order or name in seen or not self._before.get(name):
            return (name,)
        found = (o for b in self._before[name] for o in self._origins(b, seen | {name}))
        return tuple(dict.fromkeys(found))

    def _value(self, name: str, walk: _Walk) -> Array:
        if name in walk.memo:
            known = walk.memo[name]
            if known is None:
                raise ConversionError(
                    name, "it is part of a loop without a neuron", "Its error is estimated."
                )
            return known
        before = [b for b in self.before(name) if (b, name) not in walk.edit.without]
        if not before:
            raise ConversionError(name, "nothing feeds it", "Its rounding error is estimated.")
        node = walk.edit.nodes.get(name) or self.flat.nodes.get(name)
        if isinstance(node, Extension) and node.op == "State":
            return self._recorded(before[0], walk, node.options["state"])
        walk.memo[name] = None
        parts = [self._emitting(b, walk) for b in before]
        total = sum(parts[1:], parts[0])
        if isinstance(node, nir.Delay):
            total = self._delayed(name, total, walk)
        elif name != walk.goal and node is not None:
            if walk.mode != "value":
                node = absolute(node, bias=walk.mode == "magnitude")
            frames = apply(node, total.reshape(-1, *total.shape[2:]))
            frames = frames if walk.mode == "value" else np.abs(frames)  # of a node that turns signs too
            total = frames.reshape(*total.shape[:2], *frames.shape[1:])
        walk.memo[name] = total
        return total

    def _emitting(self, name: str, walk: _Walk) -> Array:
        """What leaves a node: of a neuron layer or an input as recorded."""
        if name in self.order or not self._before.get(name):
            return self._recorded(walk.edit.sources.get(name, name), walk)
        return self._value(name, walk)

    @staticmethod
    def _delayed(name: str, values: Array, walk: _Walk) -> Array:
        """Magnitudes behind a delay: the largest so far, however long it is."""
        if walk.mode == "value":
            raise ConversionError(name, "it delays its input", "Its rounding error is estimated.")
        return np.maximum.accumulate(values, axis=0)

    def _recorded(self, node: str, walk: _Walk, state: str | None = None) -> Array:
        """Spikes or a state of a layer, or the input; of a layer that runs later those of the step before."""
        if node in self.order:
            values = self._emitted(node, self._of_layer(self.layers[node], state, walk))
            if self.order[node] >= self.order.get(walk.goal, len(self.order)):
                values = np.concatenate([np.zeros_like(values[:1]), values[:-1]])
        elif node in self.flat.inputs:
            values = self.x[:, walk.samples]
            values = np.zeros_like(values) if walk.mode == "gap" else values
        else:
            raise ConversionError(node, "nothing feeds it", "Its rounding error is estimated.")
        values = values.astype(walk.dtype)
        if walk.mode == "value":
            return values
        values = np.abs(values)
        if self._blurred:
            values[1:] = np.maximum(values[1:], values[:-1].copy())
        return values

    def _emitted(self, name: str, values: Array) -> Array:
        """What leaves a layer, from its recorded spikes."""
        node = self.flat.nodes[name]
        family = find(node.op) if isinstance(node, Extension) else None
        return values if family is None else family.emitted(name, node.arrays, values)

    def _of_layer(self, layer: str, state: str | None, walk: _Walk) -> Array:
        mine = self.trace.nodes[layer]
        if state is None:
            spk = mine.spk[:, walk.samples]
            return np.zeros_like(spk) if walk.mode == "gap" else spk
        if state not in mine.states:
            raise ConversionError(
                layer, f"its {state!r} was not recorded", "Its rounding error is estimated."
            )
        values = mine.states[state][:, walk.samples]
        if walk.mode != "gap" or self.other is None or state not in self.other.nodes[layer].states:
            return values
        return values.astype(np.float64) - self.other.nodes[layer].states[state][:, walk.samples]


def _late_inside(graph: FlatGraph, layers: Mapping[str, int]) -> bool:
    """True if an edge that closes a cycle, and is late by a step, leads to a node other than a recorded layer."""
    try:
        sources = walk(graph).sources
    except GraphError:
        return True
    return any(late and name not in layers for name, pairs in sources.items() for _, late in pairs)


def recurrent_nodes(stages: Stages | None, layer: str, spec: NeuronSpec | None) -> list[nir.NIRNode]:
    """Nodes that carry a layer's own spikes back to it: those of its spec, else on a loop of the graph."""
    if spec is not None and "V" in spec.recurrent:
        return [nir.Scale(np.asarray(spec.recurrent["V"]))]
    if spec is not None and "weight" in spec.recurrent:
        weight = np.asarray(spec.recurrent["weight"])
        if weight.ndim == 2 and "bias" not in spec.recurrent:
            return [nir.Linear(weight)]
        bias = np.asarray(spec.recurrent.get("bias", np.zeros(len(weight), weight.dtype)))
        if weight.ndim == 2:
            return [nir.Affine(weight, bias)]
        return [nir.Conv2d(None, weight, 1, tuple(k // 2 for k in weight.shape[2:]), 1, 1, bias)]
    node = None if stages is None else node_of(stages.flat, layer)
    return [] if stages is None or node is None else [stages.flat.nodes[loop] for loop in stages.loops(node)]


def looped_nodes(graph: FlatGraph | None, layer: str) -> list[nir.NIRNode]:
    """The node of a layer's recurrent weights in a graph, as a list; empty without recurrence."""
    node = None if graph is None else node_of(graph, layer)
    partner = None if graph is None or node is None else loops(graph).get(node)
    return [] if graph is None or partner is None else [graph.nodes[partner]]


def recurrent_current(nodes: list[nir.NIRNode], spk: Array, *, magnitude: bool = False) -> Array:
    """What a layer that emitted ``spk`` ``[T, b, ...]`` receives back, one step later.

    Raises:
        ConversionError: for a node that is not known here.
    """
    late = np.concatenate([np.zeros_like(spk[:1]), spk[:-1]]).astype(np.float64)
    frames = (np.abs(late) if magnitude else late).reshape(-1, *late.shape[2:])
    parts = [apply(absolute(n) if magnitude else n, frames) for n in nodes]
    return sum(parts[1:], parts[0]).reshape(late.shape)
