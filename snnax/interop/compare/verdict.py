"""Which differences between two recordings of one neuron layer are rounding, and which are not.

Both recordings were made with the same spikes going in. At each neuron the first step at which the two part
is judged: a spike that one side has and the other has not is *explained* if up to then currents and states
differed by no more than rounding allows, and both membranes lie within that of the threshold. What the same
neuron does later follows from that flip. Everything else is *unexplained*: a state or current further apart
than its bound, too, though it flips no spike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnax.interop.compare import stepping
from snnax.interop.compare.layer import Layer, Wide, float_type
from snnax.interop.compare.rounding import Recursion, accumulated, smallest_normal, step_bounds, unit_roundoff
from snnax.interop.compare.states import StateMasks

Array = np.ndarray


@dataclass(frozen=True)
class Verdict:
    """Masks ``[T, b, ...]`` over the neuron-steps of a layer, and the bound of its membrane.

    Attributes:
        mismatch: one side has a spike and the other has none, or spikes differ in height.
        explained: mismatches that are rounding, or follow from it.
        unexplained: mismatches, states and currents that are not.
        bad_current: currents further apart than their bound.
        at_tie: first mismatches where a side fired at the threshold, neither above nor below it.
        mem_bound: bound of the membrane.
        current_bound: bound of the current; where only the mean error gave a current away, that of the mean.
    """

    mismatch: Array
    explained: Array
    unexplained: Array
    bad_current: Array
    at_tie: Array
    mem_bound: Array
    current_bound: Array


def judge(layer: Layer) -> Verdict:
    """Judge each neuron's first difference; see the module."""
    a, b = (Wide.of(trace) for trace in (layer.a, layer.b))
    types = float_type(layer.a), float_type(layer.b)
    u = sum(unit_roundoff(t) for t in types)
    rule = stepping.recursion(layer.spec)
    current_gap = np.abs(a.input - b.input)
    bad_current, limit = ~(current_gap <= layer.bound), layer.bound
    if layer.rms is not None and layer.horizon is None:
        mean = np.sqrt((current_gap * current_gap).mean((0, 1), keepdims=True))
        always = (mean > layer.rms) & (current_gap > layer.rms)
        limit = np.where(always & ~bad_current, layer.rms, layer.bound)
        bad_current |= always
    size = np.maximum(np.abs(a.input), np.abs(b.input))
    if layer.feedback is not None:
        size = size + np.abs(layer.feedback)
    gap = np.minimum(np.where(bad_current, layer.bound, current_gap), layer.bound) + layer.feedback_bound
    tiny = 4 * max(smallest_normal(t) for t in types)
    bounds = _bounds(
        layer, a, b, rule, u, np.where(np.isfinite(gap), gap, 0), np.where(np.isfinite(size), size, 0)
    )
    bounds = {name: bound + tiny for name, bound in bounds.items()}

    states = StateMasks.of(layer, a, b, bounds)
    height = (a.spk != 0) & (b.spk != 0) & (np.abs(a.spk - b.spk) > 4 * u * np.abs(a.spk))
    flip = (a.spk != 0) != (b.spk != 0)
    broken = height | ~(a.finite & b.finite)
    event = flip | states.crossing | states.rounded
    allowed = (states.near | states.rounded) & ~states.tie
    if layer.spec is not None and layer.spec.inhibition:
        shifted = np.logical_or.accumulate((event & allowed & ~bad_current).any(-1, keepdims=True), axis=0)
        allowed |= shifted & flip & ~states.tie

    steps = np.arange(len(flip)).reshape(-1, *(1,) * (flip.ndim - 1))
    if layer.horizon is not None:
        known = steps < layer.horizon.reshape(1, -1, *(1,) * (flip.ndim - 2))
        event, bad_current, broken = event & known, bad_current & known, broken & known
        states.bad &= known
    first_event = _first(event)
    judged = event & (steps == first_event)
    if layer.spec is not None and layer.spec.reset_mechanism == "none" and layer.spec.quantizer is None:
        first_event, judged = np.full_like(first_event, len(flip)), event
    refused = judged & ~allowed
    first_bad = _first(bad_current | broken | refused | (states.bad & (steps <= first_event)))
    guilty = steps >= first_bad
    unexplained = (guilty & (flip | states.bad)) | bad_current | broken | refused
    if layer.horizon is not None:
        unexplained &= known
    mismatch = flip | height
    return Verdict(
        mismatch=mismatch,
        explained=mismatch & ~unexplained,
        unexplained=unexplained,
        bad_current=bad_current,
        at_tie=judged & states.tie,
        mem_bound=bounds["mem"],
        current_bound=limit,
    )


def _first(mask: Array) -> Array:
    """First step at which each neuron's entry is true ``[1, b, ...]``; the number of steps if never."""
    return np.where(mask.any(0), mask.argmax(0), len(mask))[None]


def _bounds(
    layer: Layer, a: Wide, b: Wide, rule: Recursion, u: float, gap: Array, size: Array
) -> dict[str, Array]:
    """Bound of each state after each step; from the recorded states before it where both sides have them."""
    names = layer.spec.states if layer.spec is not None else tuple(a.states) or ("mem",)
    if all(name in a.states and name in b.states for name in names):
        now = {name: _tame(np.abs(a.states[name] - b.states[name])) for name in names}
        sizes = {name: _tame(np.maximum(np.abs(a.states[name]), np.abs(b.states[name]))) for name in names}
        return step_bounds(rule, u, stepping.before(now), stepping.before(sizes), gap, size, now)
    known = {
        name: np.abs(_tame(side.states[name])) for side in (b, a) for name in names if name in side.states
    }
    return accumulated(rule, u, names, known, gap, size)


def _tame(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0.0)
