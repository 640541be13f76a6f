"""The rounding bound of each layer's currents, from the best source that the sides offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.rounding import current_bound, smallest_normal, unit_roundoff
from snnax.interop.compare.stages import Stages
from snnax.interop.compare.verdict import float_type
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
        feedback: the recurrent current, which is not recorded; ``None`` without recurrence.
        feedback_bound: of the recurrent current.
        source: ``"weights"``: from the weights in front of the layer; ``"estimate"``: from the currents alone.
    """

    current: Array
    feedback: Array | None
    feedback_bound: Array | float
    source: str


class Bounds:
    """Bounds for the layers of ``a`` and ``b``, both fed with the spikes that ``a`` recorded.

    Args:
        a: recording of the reference.
        b: recording of the other side under the same names.
        stages: the reference's stages, if it has a graph.
        magnitudes: what a side computed itself: ``M`` and ``K`` of each layer.
    """

    def __init__(self, a: Trace, b: Trace, stages: Stages | None, magnitudes: Magnitudes | None = None) -> None:
        self._a, self._b, self._stages = a, b, stages
        self._magnitudes = magnitudes or {}

    def of(self, name: str, samples: slice, spec: NeuronSpec | None) -> Bound:
        """Bound of one layer for some samples."""
        a, b = self._a.nodes[name], self._b.nodes[name]
        types = float_type(a), float_type(b)
        us = unit_roundoff(types[0]), unit_roundoff(types[1])
        tiny = max(smallest_normal(t) for t in types)
        size = np.abs(a.input[:, samples].astype(np.float64))
        magnitude, terms, source = self._magnitude(name, samples, size)
        feedback, extra = self._feedback(name, samples, spec, us)
        bound = current_bound(np.maximum(magnitude, size), terms, us, tiny * (1 + terms))
        return Bound(bound, feedback, extra, source)

    def _magnitude(self, name: str, samples: slice, size: Array) -> tuple[Array, float, str]:
        if name in self._magnitudes:
            magnitude, terms = self._magnitudes[name]
            magnitude = np.asarray(magnitude)[:, samples]
            if magnitude.shape == size.shape:
                return magnitude, float(np.max(terms)), "weights"
        if self._stages is not None and name in self._stages.graph.nodes:
            try:
                magnitude = self._stages.current(name, samples, magnitude=True, dtype=np.float32)
            except (ConversionError, ValueError):
                magnitude = np.zeros(0)
            if magnitude.shape == size.shape:
                return magnitude.astype(np.float64), self._stages.terms(name), "weights"
        terms = self._terms_before(name)
        largest = size.max(initial=0.0, where=np.isfinite(size))
        return np.full_like(size, largest * np.sqrt(terms)), terms, "estimate"

    def _terms_before(self, name: str) -> float:
        """Size of the layer that ran before, as an upper end of the fan-in."""
        order = list(self._a.nodes)
        at = order.index(name)
        before = self._a.nodes[order[at - 1]].spk.shape[2:] if at else ()
        return float(max(np.prod(before, dtype=float), DEFAULT_TERMS))

    def _feedback(
        self, name: str, samples: slice, spec: NeuronSpec | None, us: tuple[float, float]
    ) -> tuple[Array | None, Array | float]:
        if self._stages is None or name not in self._stages.graph.nodes:
            return None, 0.0
        spk = self._a.nodes[name].spk[:, samples]
        try:
            value = self._stages.feedback(name, spec, spk)
            magnitude = self._stages.feedback(name, spec, spk, magnitude=True)
        except (ConversionError, ValueError):
            return None, 0.0
        if value is None or magnitude is None or value.shape != spk.shape:
            return None, 0.0
        return value, current_bound(magnitude, self._stages.feedback_terms(name, spec), us)
