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

# --- How far two correct computations of one neuron layer may lie apart: the rounding error of sums and steps
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

ROUNDINGS = 6.0
"""Rounding errors in one neuron step on one side: three operations, two parameters rounded on their way
through a file or another framework, and one for a current recorded after a fused multiply-add."""

MANY_TERMS = 64
"""From this many terms on, a neuron's errors have to average out as well."""

RMS_FACTOR = 2.0
"""By how much the root mean square of a neuron's errors may exceed that of independent errors."""

Array = np.ndarray
Gaps = Mapping[str, Array]


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


@dataclass(frozen=True)
class Recursion:
    """Constants of one neuron layer's equation; arrays broadcast over its neurons.

    Attributes:
        decay: factor of the membrane from one step to the next.
        syn_decay: factor of the synaptic current (the excitatory one of Alpha).
        gain: factor of the input current.
        threshold: firing threshold, subtracted at a reset.
        scale: Alpha only: membrane per unit of synaptic current.
        scale_roundings: Alpha only: rounding errors in ``scale``, which two logarithms amplify.
    """

    decay: Array | float = 1.0
    syn_decay: Array | float = 1.0
    gain: Array | float = 1.0
    threshold: Array | float = 0.0
    scale: Array | float = 0.0
    scale_roundings: Array | float = 0.0


def step_bounds(
    rule: Recursion, u: float, gaps: Gaps, sizes: Gaps, gap: Array, size: Array, now: Gaps | None = None
) -> dict[str, Array]:
    r"""Largest difference of each state after one step that both sides computed correctly.

    For a first-order neuron, with the difference :math:`d` of the states and the currents before the step,

    .. math:: d_t \le |\beta| d_{t-1} + |g| d^I_t + c\,u\,(|U_{t-1}| + |g I_t| + \theta),\qquad c = 6.

    Args:
        rule: constants of the equation.
        u: sum of the unit roundoffs of both sides.
        gaps: difference of each state before the step; the keys tell which family it is.
        sizes: larger absolute value of each state before the step.
        gap: difference of the currents.
        size: absolute value of the current.
        now: difference of the states after the step where it is known, which makes the membrane's bound
            tighter in families that compute the membrane from a synaptic current.
    """
    drive, slack, threshold = np.abs(rule.gain) * gap, np.abs(rule.gain) * size, np.abs(rule.threshold)
    if "syn_exc" in gaps:
        return _alpha_bounds(rule, u, gaps, sizes, gap, size)
    bounds: dict[str, Array] = {}
    if "syn" in gaps:
        syn = np.abs(rule.syn_decay)
        bounds["syn"] = syn * gaps["syn"] + drive + ROUNDINGS * u * (sizes["syn"] + slack)
        drive = now["syn"] if now is not None and "syn" in now else bounds["syn"]
        drive = np.minimum(drive, bounds["syn"])
        slack = sizes["syn"] + slack
    bounds["mem"] = (
        np.abs(rule.decay) * gaps["mem"] + drive + ROUNDINGS * u * (sizes["mem"] + slack + threshold)
    )
    return bounds


def _alpha_bounds(
    rule: Recursion, u: float, gaps: Gaps, sizes: Gaps, gap: Array, size: Array
) -> dict[str, Array]:
    """Alpha: two traces of opposite sign, and a membrane that is ``scale`` times their sum."""
    threshold, scale = np.abs(rule.threshold), np.abs(rule.scale)
    roundings = ROUNDINGS + np.abs(rule.scale_roundings)
    exc = np.abs(rule.syn_decay) * gaps["syn_exc"] + gap + ROUNDINGS * u * (sizes["syn_exc"] + size)
    inh = np.abs(rule.decay) * gaps["syn_inh"] + gap + ROUNDINGS * u * (sizes["syn_inh"] + size)
    held = scale * (sizes["syn_exc"] + sizes["syn_inh"] + 2 * size) + sizes["syn_inh"]
    return {
        "syn_exc": exc + ROUNDINGS * u * threshold,
        "syn_inh": inh,
        "mem": scale * (exc + inh) + gaps["syn_inh"] + roundings * u * (held + threshold),
    }


def accumulated(
    rule: Recursion, u: float, states: tuple[str, ...], known: Gaps, gap: Array, size: Array
) -> dict[str, Array]:
    """The same bound carried on from step to step, where the states of one side were not recorded.

    Args:
        rule: constants of the equation.
        u: sum of the unit roundoffs of both sides.
        states: names of the neuron's states.
        known: absolute values of the states ``[T, ...]`` that one side recorded; the others are estimated
            from the current as if the neuron were never reset.
        gap: difference of the currents ``[T, ...]``.
        size: absolute value of the current ``[T, ...]``.
    """
    zero = np.zeros_like(size[0])
    gaps, sizes = dict.fromkeys(states, zero), dict.fromkeys(states, zero)
    rows: dict[str, list[Array]] = {state: [] for state in states}
    for t in range(len(size)):
        gaps = step_bounds(rule, u, gaps, sizes, gap[t], size[t])
        grown = _grow(rule, states, sizes, size[t])
        sizes = {state: known[state][t] if state in known else grown[state] for state in states}
        for state in states:
            rows[state].append(gaps[state])
    return {state: np.stack(values) for state, values in rows.items()}


def _grow(rule: Recursion, states: tuple[str, ...], sizes: Gaps, size: Array) -> dict[str, Array]:
    """Largest absolute value of each state after a step without reset."""
    drive = np.abs(rule.gain) * size
    grown: dict[str, Array] = {}
    for state in states:
        if state == "mem":
            scale = np.abs(rule.scale) if "syn_exc" in states else 1.0
            grown["mem"] = np.abs(rule.decay) * sizes["mem"] + scale * drive
        else:
            decay = np.abs(rule.decay if state == "syn_inh" else rule.syn_decay)
            grown[state] = decay * sizes[state] + np.abs(rule.gain) * size
            drive = drive + decay * sizes[state]
    return grown


# --- Two recordings of one neuron layer, and what is known about it -------------------------------


@dataclass(frozen=True)
class Layer:
    """Two recordings of a neuron layer ``[T, b, ...]`` and what is known about it.

    Attributes:
        a: recording of the reference.
        b: recording that is judged.
        spec: the neuron of the reference, if known.
        bound: largest difference of two correct computations of each current.
        rms: largest root mean square of that difference at each neuron, or ``None``.
        feedback: recurrent current of the reference, if it has one.
        feedback_bound: largest difference of two correct computations of it.
        horizon: for each sample, the first step whose currents need not agree any more.
    """

    a: NodeTrace
    b: NodeTrace
    spec: NeuronSpec | None
    bound: Array
    rms: Array | None = None
    feedback: Array | None = None
    feedback_bound: Array | float = 0.0
    horizon: Array | None = None


def float_type(trace: NodeTrace) -> np.dtype:
    """Precision of a layer's states: that of its membrane, else of its current."""
    array = trace.states.get("mem", trace.input)
    return array.dtype if array.dtype.kind not in "biu" else np.dtype(np.float32)


def coarsest_type(trace: NodeTrace) -> np.dtype:
    """The least precise type that a layer's currents went through."""
    current = trace.input.dtype
    types = [float_type(trace), *([current] if current.kind not in "biu" else [])]
    return max(types, key=unit_roundoff)


@dataclass(frozen=True)
class Wide:
    """A recording in float64, which holds float32 and bfloat16 exactly."""

    input: Array
    spk: Array
    states: Mapping[str, Array]
    finite: Array

    @classmethod
    def of(cls, trace: NodeTrace) -> Wide:
        """Widen a recording."""
        current, spk = trace.input.astype(np.float64), trace.spk.astype(np.float64)
        states = {name: state.astype(np.float64) for name, state in trace.states.items()}
        finite = np.isfinite(current) & np.isfinite(spk)
        for state in states.values():
            finite = finite & np.isfinite(state)
        return cls(current, spk, states, finite)


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
                return value, current_bound(magnitude, sum(stages.terms(n) for n in nodes) + 1, us)
        except (ConversionError, ValueError, IndexError):
            pass
        width = float(np.prod(spk.shape[2:]))
        largest = np.abs(np.nan_to_num(node.states.get("mem", node.input).astype(np.float64))).max(
            initial=0.0
        )
        return None, current_bound(np.full((), largest * np.sqrt(width)), width, us)
