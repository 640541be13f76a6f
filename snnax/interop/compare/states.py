"""What the states of two recordings say about each step: whether rounding accounts for how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnax.interop.compare import stepping
from snnax.interop.compare.layer import Layer, Wide, float_type
from snnax.interop.nodes.spec import NeuronSpec
from snnax.interop.trace import NodeTrace

Array = np.ndarray


@dataclass
class StateMasks:
    """What the states of both sides say, mask by mask ``[T, b, ...]``.

    Attributes:
        bad: a state is further apart than its bound.
        near: both membranes lie within their bound of the threshold.
        crossing: the membrane that the next step's reset looks at is above threshold on one side only.
        rounded: a quantizer sent states that rounding alone kept apart to neighbouring levels.
        tie: a side fired with its membrane at the threshold, or only the spikes differ, not the membranes.
    """

    bad: Array
    near: Array
    crossing: Array
    rounded: Array
    tie: Array

    @classmethod
    def of(cls, layer: Layer, a: Wide, b: Wide, bounds: Mapping[str, Array]) -> StateMasks:
        """Hold the states of both sides to their bounds."""
        none = np.zeros(a.spk.shape, bool)
        common = [name for name in bounds if name in a.states and name in b.states]
        charged = _charged(layer, a, b)
        if not charged:
            return cls(none, none.copy(), none.copy(), none.copy(), none.copy())
        bad, rounded = none.copy(), none.copy()
        delayed = layer.spec is None or layer.spec.reset_delay
        spiked = (a.spk != 0) != (b.spk != 0)
        for name in common:
            off = np.abs(a.states[name] - b.states[name]) > bounds[name]
            bad |= off if delayed or name != "mem" else off & ~spiked
        if len(charged) == 2 and not delayed:
            bad |= np.abs(charged[0] - charged[1]) > bounds["mem"]
        if layer.spec is not None and layer.spec.quantizer is not None and common:
            rounded = _rounded(layer.spec, layer, (a, b), bounds, bad)
            bad &= ~rounded
        near, tie = _near(layer, a, b, charged, bounds["mem"])
        tie &= spiked
        crossing = none
        if layer.spec is not None and "mem" in common:
            limits = [_threshold(layer.spec, float_type(t)) for t in (layer.a, layer.b)]
            crossing = (a.states["mem"] > limits[0]) != (b.states["mem"] > limits[1])
            if not delayed:
                stored = [
                    np.abs(w.states["mem"] - t) <= bounds["mem"] for w, t in zip((a, b), limits, strict=True)
                ]
                near = np.where(crossing & ~spiked, stored[0] & stored[1], near)
        return cls(bad, near, crossing, rounded, tie)


def _threshold(spec: NeuronSpec, dtype: np.dtype) -> Array:
    """The threshold as a layer of that precision holds it."""
    return np.asarray(spec.values["threshold"]).astype(dtype).astype(np.float64)


def _charged(layer: Layer, a: Wide, b: Wide) -> list[Array]:
    """Membranes that were compared with the threshold, of each side that recorded its states.

    With a delayed reset that is the recorded membrane; else the step is taken again without its reset.
    """
    sides = []
    for trace, wide in ((layer.a, a), (layer.b, b)):
        if "mem" not in wide.states:
            continue
        if layer.spec is None or layer.spec.reset_delay or not set(layer.spec.states) <= set(wide.states):
            sides.append(wide.states["mem"])
            continue
        dtype = float_type(trace)
        sides.append(_again(layer.spec, layer, trace).charged.astype(dtype).astype(np.float64))
    return sides


def _again(spec: NeuronSpec, layer: Layer, trace: NodeTrace) -> stepping.Move:
    """Each step again from the recorded state before it, by the reference's equation."""
    dtype = float_type(trace)
    states = {name: state.astype(dtype) for name, state in stepping.before(trace.states).items()}
    feedback = None if layer.feedback is None else layer.feedback.astype(dtype)
    return stepping.step(spec, states, trace.input.astype(dtype), feedback)


def _near(layer: Layer, a: Wide, b: Wide, charged: list[Array], bound: Array) -> tuple[Array, Array]:
    """Whether each side's membrane is within ``bound`` of its threshold, and whether a side fired at it."""
    if layer.spec is None:
        if len(charged) < 2:
            return np.zeros(a.spk.shape, bool), np.zeros(a.spk.shape, bool)
        ahead = np.where(a.spk != 0, charged[0] > charged[1], charged[1] > charged[0])
        return ahead & (np.abs(charged[0] - charged[1]) <= bound), np.zeros(a.spk.shape, bool)
    near, tie = np.ones(a.spk.shape, bool), np.zeros(a.spk.shape, bool)
    sides = [(w, t) for w, t in ((a, layer.a), (b, layer.b)) if "mem" in w.states]
    for (wide, trace), mem in zip(sides, charged, strict=True):
        limit = _threshold(layer.spec, float_type(trace))
        close = np.abs(mem - limit) <= bound
        if layer.spec.quantizer is not None and set(layer.spec.states) <= set(wide.states):
            low, high = _levels(layer.spec, _again(layer.spec, layer, trace).raw["mem"], bound)
            close |= (low <= limit) & (limit < high)
        if layer.spec.inhibition and mem.shape[-1] > 1:
            close |= _contested(mem, bound)
        near &= close
        level = mem == limit
        if (wide.spk[level] != 0).all():
            tie |= level & (wide.spk != 0)
    limits = [_threshold(layer.spec, float_type(trace)) for _, trace in sides]
    same = len(charged) == 2 and np.array_equal(limits[0], limits[1])
    if same and layer.spec.reset_delay and not layer.spec.inhibition:
        tie |= charged[0] == charged[1]
    return near, tie


def _contested(mem: Array, bound: Array) -> Array:
    """Under inhibition: the best of the other neurons of the layer is within the bounds of both."""
    two = np.partition(mem, -2, axis=-1)[..., -2:]
    best, second = two[..., 1:], two[..., :1]
    rival = np.where(mem == best, second, best)
    return np.abs(mem - rival) <= bound + bound.max(-1, keepdims=True)


def _rounded(
    spec: NeuronSpec, layer: Layer, sides: tuple[Wide, Wide], bounds: Mapping[str, Array], bad: Array
) -> Array:
    """States further apart that were within their bounds before they were rounded to a level."""
    a, b = sides
    if not set(bounds) <= set(a.states) & set(b.states):
        return np.zeros_like(bad)
    left, right = (_again(spec, layer, trace).raw for trace in (layer.a, layer.b))
    fine = bad.copy()
    for name, bound in bounds.items():
        apart = np.abs(a.states[name] - b.states[name]) > bound
        low, high = _levels(spec, left[name], bound)
        fine &= np.abs(left[name].astype(np.float64) - right[name]) <= bound
        fine &= ~apart | (low != high) | ((a.spk != 0) != (b.spk != 0))
    return fine


def _levels(spec: NeuronSpec, raw: Array, bound: Array) -> tuple[Array, Array]:
    """Lowest and highest level that a state may be rounded to, given the error that it has."""
    wide = raw.astype(np.float64)
    return stepping.quantized(spec, wide - bound), stepping.quantized(spec, wide + bound)
