"""The rounding bound of each layer's currents, from the best source that the sides offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare import stages
from snnax.interop.compare.stages import Stages, recurrent_current, recurrent_nodes
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace, Trace

# --- How far two correct computations of one neuron layer may lie apart: the rounding error of sums
# Everything takes and returns NumPy arrays and knows no framework. With the unit roundoff :math:`u` (half of
# machine epsilon) a computed sum :math:`\hat y` of :math:`K` products differs from the exact one by
#
# .. math:: |\hat y - y| \le g_K(u) \sum_i |w_i s_i| = g_K(u)\,M,
#
# whatever the order of summation. :math:`g_K` is the smaller of the certain :math:`\gamma_K = Ku/(1-Ku)` and
# the probabilistic :math:`\tilde\gamma_K = \exp(\lambda\sqrt{K}u + Ku^2/(1-u)) - 1` of Higham and Mary ("A new
# approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019), which holds with a
# probability of at least :math:`1 - 2K\exp(-\lambda^2(1-u)^2/2)` per sum for independent errors of mean zero.
# With :math:`\lambda = 8` that fails for fewer than one in :math:`10^{10}` sums of a thousand terms; below 64
# terms the certain bound is the smaller one.

LAMBDA = 8.0
"""Constant of the probabilistic bound."""

MANY_TERMS = 64
"""From this many terms on, a neuron's errors have to average out as well."""

RMS_FACTOR = 2.0
"""By how much the root mean square of a neuron's errors may exceed that of independent errors."""

Array = np.ndarray


def unit_roundoff(dtype: np.dtype) -> float:
    """Largest relative error of one rounding: 6.0e-8 for float32, 1.1e-16 for float64.

    Example:
        >>> unit_roundoff(np.dtype("float32")) == 2.0**-24
        True
    """
    return float(jnp.finfo(dtype).eps) / 2


def smallest_normal(dtype: np.dtype) -> float:
    """Numbers below this may be flushed to zero by one side and kept by the other."""
    return float(jnp.finfo(dtype).tiny)


def growth(terms: float, u: float, repeats: float = 1.0) -> float:
    """``g_K(u)``: relative error of a sum of ``terms`` products, against the sum of their absolute values.

    Args:
        terms: number of products.
        u: unit roundoff.
        repeats: how often the same weight comes on average. Adding the same number again rounds the same way
            again, so that the errors of ``repeats`` terms count as one.

    Example:
        >>> round(growth(25, 2.0**-24) / 2.0**-24), round(growth(2500, 2.0**-24) / 2.0**-24)
        (25, 400)
    """
    if terms <= 0:
        return 0.0
    certain = terms * u / (1 - terms * u) if terms * u < 1 else np.inf
    likely = np.expm1(LAMBDA * np.sqrt(terms * repeats) * u + terms * u * u / (1 - u))
    return float(min(certain, likely))


def current_bound(
    magnitude: Array, terms: float, us: tuple[float, float], tiny: float = 0.0, repeats: float = 1.0
) -> Array:
    """Largest difference of two correct computations of one current.

    Args:
        magnitude: ``M``, sum of the absolute values of all terms of each current, any shape.
        terms: ``K``, number of terms that are rounded and added, all stages in a row together.
        us: unit roundoff of each side.
        tiny: added, for what one side flushes to zero.
        repeats: see :func:`growth`.
    """
    return sum(growth(terms, u, repeats) for u in us) * magnitude + tiny


def rms_bound(magnitude: Array, terms: float, us: tuple[float, float], repeats: float = 1.0) -> Array | None:
    r"""Largest root mean square over steps and samples of the difference of two correct computations.

    No partial sum exceeds :math:`M`, and a rounding error that is uniform in :math:`\pm u` has the variance
    :math:`u^2/3`, so independent errors of a sum of K terms have a root mean square of at most
    :math:`\sqrt{K/3}\,u M`. That is much less than their largest value, and shows a small error that is
    always there, as a weight in half precision. Twice as much is granted.

    Args:
        magnitude: ``M`` of each current ``[T, b, ...]``.
        terms: ``K``; with few terms there is no average to rely on, and the bound is ``None``.
        us: unit roundoff of each side.
        repeats: see :func:`growth`.

    Returns:
        One bound for each neuron ``[1, 1, ...]``, or ``None``.
    """
    if terms < MANY_TERMS:
        return None
    mean = np.sqrt((magnitude * magnitude).mean((0, 1), keepdims=True))
    return np.asarray(RMS_FACTOR * sum(us) * np.sqrt(terms * repeats / 3) * mean)


def float_type(trace: NodeTrace) -> np.dtype:
    """Precision of a layer's states: that of its membrane, else of its current."""
    array = trace.states.get("mem", trace.input)
    return array.dtype if array.dtype.kind not in "biu" else np.dtype(np.float32)


def coarsest_type(trace: NodeTrace) -> np.dtype:
    """The least precise type that a layer's currents went through."""
    current = trace.input.dtype
    types = [float_type(trace), *([current] if current.kind not in "biu" else [])]
    return max(types, key=unit_roundoff)


Magnitudes = Mapping[str, tuple[Array, Any]]
DEFAULT_TERMS = 1024
"""Fan-in that is assumed at least where nothing tells it."""


@dataclass(frozen=True)
class Bound:
    """Largest difference of two correct computations of a layer's currents ``[T, b, ...]``.

    Attributes:
        current: of the current that was recorded.
        rms: of its root mean square over steps and samples, for each neuron; ``None`` if nothing bounds that.
        feedback: the recurrent current, which is not recorded, computed from a's spikes; ``None`` without recurrence,
            and where its weights are not known.
        feedback_bound: of the recurrent current; estimated where that is not known, 0 without recurrence.
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
        return Bound(bound + self._state_gap(name, samples, size.shape), rms, feedback, extra, total.source)

    def _sum(self, name: str, samples: slice, size: Array) -> _Sum:
        """Magnitude and number of the terms of a layer's currents, from the best source there is."""
        if name in self._magnitudes:
            magnitude, terms = self._magnitudes[name]
            magnitude = np.asarray(magnitude)[:, samples]
            if magnitude.shape == size.shape:
                return _Sum(magnitude, float(np.max(terms)), self._repeats(name), "weights")
        if self._stages is not None:
            known = self._stages.known(name, size.shape, samples, mode="magnitude", dtype=np.float32)
            if known is not None:
                terms = self._stages.terms(name)
                return _Sum(known.astype(np.float64), terms, self._repeats(name), "weights")
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

    def _state_gap(self, name: str, samples: slice, shape: tuple[int, ...]) -> Array | float:
        """What differences of states, judged at their own layer, make of a current computed from them."""
        if self._stages is None or not self._stages.reads_states:
            return 0.0
        gap = self._stages.known(name, shape, samples, mode="gap")
        return 0.0 if gap is None else gap

    def _terms_before(self, name: str) -> float:
        """An estimate of the fan-in: the size of the layer that ran before, but at least :data:`DEFAULT_TERMS`."""
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
        if not nodes and (spec is None or not spec.family.is_joined):
            return None, 0.0
        try:
            value, magnitude = (recurrent_current(nodes, spk, magnitude=m) for m in (False, True))
            if value.shape == spk.shape:
                return value, current_bound(magnitude, sum(stages.terms(n) for n in nodes) + 1, us)
        except (ConversionError, ValueError, IndexError):
            pass
        width = float(np.prod(spk.shape[2:]))
        largest = np.abs(np.nan_to_num(node.states.get("mem", node.input).astype(np.float64))).max(
            initial=0.0
        )
        return None, current_bound(np.full((), largest * np.sqrt(width)), width, us)
