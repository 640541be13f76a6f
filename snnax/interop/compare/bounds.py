"""The rounding bound of each layer's currents, from the best source that the sides offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare import stateless
from snnax.interop.compare.layer import coarsest_type
from snnax.interop.compare.rounding import current_bound, rms_bound, smallest_normal, unit_roundoff
from snnax.interop.compare.stages import Stages, recurrent_current, recurrent_nodes
from snnax.interop.nodes.spec import NeuronSpec
from snnax.interop.trace import Trace

Array = np.ndarray
Magnitudes = Mapping[str, tuple[Array, Any]]
DEFAULT_TERMS = 1024
"""Fan-in that is assumed where nothing tells it."""


@dataclass(frozen=True)
class Bound:
    """Largest difference of two correct computations of a layer's currents ``[T, b, ...]``.

    Attributes:
        current: of the current that was recorded.
        rms: of its root mean square over steps and samples, for each neuron; ``None`` if nothing bounds that.
        feedback: the recurrent current, which is not recorded; ``None`` without recurrence.
        feedback_bound: of the recurrent current.
        source: ``"weights"``: from the weights in front of the layer; ``"estimate"``: from the currents.
    """

    current: Array
    rms: Array | None
    feedback: Array | None
    feedback_bound: Array | float
    source: str


@dataclass(frozen=True)
class _Sum:
    """``M``, ``K``, how often a weight comes, and where that is from."""

    magnitude: Array
    terms: float
    repeats: float
    source: str


class Bounds:
    """Bounds for the layers of ``a`` and ``b``, both fed with the spikes that ``a`` recorded.

    Args:
        a: recording of the reference.
        b: recording of the other side under the same names.
        stages: the reference's stages, if it has a graph.
        magnitudes: what a side computed itself: ``M`` and ``K`` of each layer.
    """

    def __init__(
        self, a: Trace, b: Trace, stages: Stages | None, magnitudes: Magnitudes | None = None
    ) -> None:
        self._a, self._b, self._stages = a, b, stages
        self._magnitudes = magnitudes or {}
        self._known_repeats: dict[str, float] = {}

    def of(self, name: str, samples: slice, spec: NeuronSpec | None) -> Bound:
        """Bound of one layer for some samples."""
        a, b = self._a.nodes[name], self._b.nodes[name]
        types = coarsest_type(a), coarsest_type(b)
        us = unit_roundoff(types[0]), unit_roundoff(types[1])
        tiny = max(smallest_normal(t) for t in types)
        size = np.abs(a.input[:, samples].astype(np.float64))
        total = self._sum(name, samples, size)
        feedback, extra = self._feedback(name, samples, spec, us)
        magnitude = np.maximum(total.magnitude, size)
        bound = current_bound(magnitude, total.terms, us, tiny * (1 + total.terms), total.repeats)
        independent = total.source == "weights" and self._stages is not None and not self._stages.reads_states
        rms = rms_bound(magnitude, total.terms, us, total.repeats) if independent else None
        return Bound(bound + self._state_gap(name, samples), rms, feedback, extra, total.source)

    def _sum(self, name: str, samples: slice, size: Array) -> _Sum:
        """Magnitude and number of the terms of a layer's currents, from the best source there is."""
        if name in self._magnitudes:
            magnitude, terms = self._magnitudes[name]
            magnitude = np.asarray(magnitude)[:, samples]
            if magnitude.shape == size.shape:
                return _Sum(magnitude, float(np.max(terms)), self._repeats(name), "weights")
        if self._stages is not None:
            try:
                magnitude = self._stages.current(name, samples, mode="magnitude", dtype=np.float32)
                terms = self._stages.terms(name)
            except (ConversionError, ValueError, IndexError):
                magnitude, terms = np.zeros(0), 0
            if magnitude.shape == size.shape:
                return _Sum(magnitude.astype(np.float64), terms, self._repeats(name), "weights")
        terms = self._terms_before(name)
        largest = size.max(initial=0.0, where=np.isfinite(size))
        return _Sum(np.full_like(size, largest * np.sqrt(terms)), terms, 1.0, "estimate")

    def _repeats(self, name: str) -> float:
        if name not in self._known_repeats:
            try:
                known = 1.0 if self._stages is None else self._stages.repeats(name)
            except ConversionError:
                known = 1.0
            self._known_repeats[name] = known
        return self._known_repeats[name]

    def _state_gap(self, name: str, samples: slice) -> Array | float:
        """What differences of states, judged at their own layer, make of a current computed from them."""
        if self._stages is None or not self._stages.reads_states:
            return 0.0
        try:
            return self._stages.current(name, samples, mode="gap")
        except (ConversionError, ValueError, IndexError):
            return 0.0

    def _terms_before(self, name: str) -> float:
        """Size of the layer that ran before, as an upper end of the fan-in."""
        order = list(self._a.nodes)
        at = order.index(name)
        before = self._a.nodes[order[at - 1]].spk.shape[2:] if at else ()
        return float(max(np.prod(before, dtype=float), DEFAULT_TERMS))

    def _feedback(
        self, name: str, samples: slice, spec: NeuronSpec | None, us: tuple[float, float]
    ) -> tuple[Array | None, Array | float]:
        node = self._a.nodes[name]
        spk = node.spk[:, samples]
        nodes = recurrent_nodes(self._stages, name, spec)
        if not nodes and (spec is None or not spec.kind.startswith("R")):
            return None, 0.0
        try:
            value, magnitude = (recurrent_current(nodes, spk, magnitude=m) for m in (False, True))
            if value.shape == spk.shape:
                return value, current_bound(magnitude, sum(stateless.terms(n) for n in nodes) + 1, us)
        except (ConversionError, ValueError, IndexError):
            pass
        width = float(np.prod(spk.shape[2:]))
        largest = np.abs(np.nan_to_num(node.states.get("mem", node.input).astype(np.float64))).max(
            initial=0.0
        )
        return None, current_bound(np.full((), largest * np.sqrt(width)), width, us)
