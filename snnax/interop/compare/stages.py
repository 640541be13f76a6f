"""The stateless stage in front of each neuron layer, evaluated on recorded spikes.

A stage is everything between the neuron layers (or the network's input) that feed a neuron and that neuron. With
absolute weights and inputs it gives the magnitude that rounding errors are measured against; with edited nodes or
other sources it answers "what if the kernel were transposed".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare import stateless
from snnax.interop.nodes.spec import NeuronSpec
from snnax.interop.trace import Trace

Array = np.ndarray


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


class Stages:
    """The stages of one graph, fed by one recording.

    Args:
        graph: the network.
        trace: a run of it; its nodes are those of ``graph`` under the same names.
        x: the input of that run ``[T, B, ...]``.
    """

    def __init__(self, graph: nir.NIRGraph, trace: Trace, x: Array) -> None:
        self.graph = graph
        self.trace = trace
        self.x = np.asarray(x)
        self.order = {name: i for i, name in enumerate(trace.nodes)}
        self._before: dict[str, list[str]] = {}
        for source, target in graph.edges:
            self._before.setdefault(target, []).append(source)

    def sources(self, node: str) -> tuple[str, ...]:
        """Neuron layers and input nodes that feed ``node`` through stateless nodes only."""
        return tuple(dict.fromkeys(s for before in self.before(node) for s in self._origins(before)))

    def before(self, node: str) -> list[str]:
        """Direct predecessors; of a neuron layer without those that carry its own spikes back to it."""
        before = self._before.get(node, [])
        return [b for b in before if node not in self.order or self._origins(b) != (node,)]

    def loops(self, node: str) -> list[str]:
        """Predecessors of a neuron layer that carry nothing but its own spikes back to it."""
        return [b for b in self._before.get(node, []) if b != node and self._origins(b) == (node,)]

    def nodes(self, node: str) -> list[str]:
        """Names of the stateless nodes of the stage in front of ``node``, from its sources on."""
        found: list[str] = []
        self._collect(node, found, set())
        return found

    def _collect(self, node: str, found: list[str], seen: set[str]) -> None:
        for before in self.before(node):
            if before not in self.order and before not in seen and self._before.get(before):
                seen.add(before)
                self._collect(before, found, seen)
                found.append(before)

    def terms(self, node: str) -> int:
        """Number of rounded terms behind one current of ``node``: the fan-ins of its stage, added up."""
        nodes = self.nodes(node)
        sums = sum(max(len(self.before(name)) - 1, 0) for name in [*nodes, node])
        return sum(stateless.terms(self.graph.nodes[name]) for name in nodes) + sums

    def current(
        self,
        node: str,
        samples: Any = slice(None),
        edit: Edit | None = None,
        *,
        magnitude: bool = False,
        dtype: Any = np.float64,
    ) -> Array:
        """Current of ``node`` ``[T, b, ...]`` computed from the recording.

        Args:
            node: a neuron layer, or an output node.
            samples: which samples of the batch.
            edit: change to try out.
            magnitude: use absolute values throughout.
            dtype: precision.

        Raises:
            ConversionError: where the stage has a node that is not known here.
        """
        return self._value(node, node, samples, edit or Edit(), magnitude, dtype, {})

    def feedback(
        self, node: str, spec: NeuronSpec | None, spk: Array, *, magnitude: bool = False, dtype: Any = np.float64
    ) -> Array | None:
        """Recurrent current of ``node`` from the spikes ``[T, b, ...]`` that it emitted; ``None`` without recurrence."""
        late = np.concatenate([np.zeros_like(spk[:1]), spk[:-1]]).astype(dtype)
        late = np.abs(late) if magnitude else late
        frames = late.reshape(-1, *late.shape[2:])
        if spec is not None and "V" in spec.recurrent:
            gain = np.asarray(spec.recurrent["V"], dtype)
            return late * (np.abs(gain) if magnitude else gain)
        nodes = [self.graph.nodes[name] for name in self.loops(node)]
        if spec is not None and "weight" in spec.recurrent:
            nodes = [_recurrent_node(spec.recurrent)]
        parts = [stateless.apply(stateless.absolute(n) if magnitude else n, frames) for n in nodes]
        return sum(parts[1:], parts[0]).reshape(late.shape) if parts else None

    def feedback_terms(self, node: str, spec: NeuronSpec | None) -> int:
        """Number of rounded terms behind one recurrent current."""
        if spec is not None and "weight" in spec.recurrent:
            return stateless.terms(_recurrent_node(spec.recurrent))
        return sum(stateless.terms(self.graph.nodes[name]) for name in self.loops(node)) + 1

    def _origins(self, name: str, seen: frozenset[str] = frozenset()) -> tuple[str, ...]:
        if name in self.order or name in seen or not self._before.get(name):
            return (name,)
        found = (o for b in self._before[name] for o in self._origins(b, seen | {name}))
        return tuple(dict.fromkeys(found))

    def _value(self, name: str, goal: str, samples: Any, edit: Edit, magnitude: bool, dtype: Any, memo: Any) -> Array:
        if name in memo:
            if memo[name] is None:
                raise ConversionError(name, "it is part of a loop without a neuron", "Its error is estimated.")
            return memo[name]
        if name != goal and (name in self.order or not self._before.get(name)):
            return self._recorded(edit.sources.get(name, name), goal, samples, magnitude, dtype)
        before = [b for b in self.before(name) if (b, name) not in edit.without]
        if not before:
            raise ConversionError(name, "nothing feeds it", "Its rounding error is estimated.")
        memo[name] = None
        parts = [self._value(b, goal, samples, edit, magnitude, dtype, memo) for b in before]
        total = sum(parts[1:], parts[0])
        if name != goal:
            node = edit.nodes.get(name, self.graph.nodes[name])
            frames = total.reshape(-1, *total.shape[2:])
            frames = stateless.apply(stateless.absolute(node) if magnitude else node, frames)
            total = frames.reshape(*total.shape[:2], *frames.shape[1:])
        memo[name] = total
        return total

    def _recorded(self, name: str, goal: str, samples: Any, magnitude: bool, dtype: Any) -> Array:
        """Spikes of a layer, or the input; of a layer that runs later in a step those of the step before."""
        if name not in self.order:
            if not isinstance(self.graph.nodes[name], nir.Input):
                raise ConversionError(name, "nothing feeds it", "Its rounding error is estimated.")
            values = self.x[:, samples]
        else:
            values = self.trace.nodes[name].spk[:, samples]
            if self.order[name] >= self.order.get(goal, len(self.order)):
                values = np.concatenate([np.zeros_like(values[:1]), values[:-1]])
        values = values.astype(dtype)
        return np.abs(values) if magnitude else values


def _recurrent_node(weights: Mapping[str, Array]) -> nir.NIRNode:
    """Recurrent weights in torch's layout as the node that applies them."""
    weight = np.asarray(weights["weight"])
    bias = np.asarray(weights.get("bias", np.zeros(len(weight), weight.dtype)))
    if weight.ndim == 2:
        return nir.Affine(weight, bias)
    return nir.Conv2d(None, weight, 1, tuple(k // 2 for k in weight.shape[2:]), 1, 1, bias)
