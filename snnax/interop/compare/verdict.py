"""Which differences between two recordings of one neuron layer are rounding, and which are not.

Layer by layer both recordings were made with the same spikes going in; end to end each side ran on its own, and a
layer is judged up to the step that a flip of an earlier layer can reach.

*Neurons that do not mix* are held to each other. At each neuron the first step at which the two sides part is judged:
one has a spike and the other has none, a quantizer sent the two states to different levels, or the membrane that the
next reset looks at is above threshold on one side only. It is *explained* if up to then currents and states differed by
no more than their rounding bounds, and both membranes lie within their bound of the threshold but neither exactly at it
(a side that fires at the threshold has another comparison, not another rounding). All spikes in which the same neuron
differs later follow from that and are explained with it; so do, with inhibition, those of the other neurons of the
layer in that sample. Of neurons that are never reset each step is judged by itself.

*Layers whose neurons mix* are run again on what each side recorded (:mod:`~snnax.interop.compare.cells`).

Everything else is *unexplained*: also a state or current further apart than its bound, though no spike differs, a
number that is not finite, two spikes of different height, and a step that starts from another state than it should.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnax.interop.compare.bounds import float_type, smallest_normal, unit_roundoff
from snnax.interop.compare.cells import Cell, per_sample
from snnax.interop.compare.equation import Equation, Move, quantized
from snnax.interop.trace import NodeTrace

Array = np.ndarray


@dataclass(frozen=True)
class Layer:
    """Two recordings of a neuron layer ``[T, b, ...]`` and what is known about it.

    Attributes:
        a: recording of the reference.
        b: recording that is judged.
        equation: the neuron of the reference.
        bound: largest difference of two correct computations of each current.
        rms: largest root mean square of that difference over steps and samples at each neuron, or ``None``.
        feedback: recurrent current of the reference, if it has one.
        feedback_bound: largest difference of two correct computations of it.
        horizon: for each sample, the first step whose currents need not agree any more.
        cell: the layer itself where its neurons mix; then each side is held to it alone.
    """

    a: NodeTrace
    b: NodeTrace
    equation: Equation
    bound: Array
    rms: Array | None = None
    feedback: Array | None = None
    feedback_bound: Array | float = 0.0
    horizon: Array | None = None
    cell: Cell | None = None

    def known(self, steps: int) -> Array:
        """Whether the currents of each step ``[T, b, 1...]`` have to agree."""
        rank = self.a.spk.ndim
        at = np.arange(steps).reshape(-1, *(1,) * (rank - 1))
        return at < (steps if self.horizon is None else self.horizon.reshape(1, -1, *(1,) * (rank - 2)))


@dataclass(frozen=True)
class Wide:
    """A recording in float64, which holds float32 and bfloat16 exactly.

    Attributes:
        input: current.
        spk: spikes.
        states: states after each step.
        before: states before each step.
        rest: what each state starts from, one number.
        finite: neuron-steps whose current, spike and states after the step are all finite.
    """

    input: Array
    spk: Array
    states: Mapping[str, Array]
    before: Mapping[str, Array]
    rest: Mapping[str, float]
    finite: Array

    @classmethod
    def of(cls, trace: NodeTrace) -> Wide:
        """Widen a recording."""
        current, spk = trace.input.astype(np.float64), trace.spk.astype(np.float64)
        states, before = (
            {name: state.astype(np.float64) for name, state in found.items()}
            for found in (trace.states, trace.before())
        )
        finite = np.isfinite(current) & np.isfinite(spk)
        for state in states.values():
            finite = finite & np.isfinite(state)
        return cls(current, spk, states, before, trace.rest, finite)

    def found(self, state: str) -> Array:
        """A state as each next step finds it, ``[T, ...]``; in the last row as the last step left it."""
        return np.concatenate([self.before[state][1:], self.states[state][-1:]])


# --- What the states of two recordings say about each step: whether rounding accounts for how they differ


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
        mem, charged = layer.equation.membrane, _charged(layer, a, b)
        if not charged:
            return cls(none, none.copy(), none.copy(), none.copy(), none.copy())
        bad, rounded = none.copy(), none.copy()
        delayed = layer.equation.delayed
        spiked = (a.spk != 0) != (b.spk != 0)
        for name in common:
            off = _exceeds(a.states[name] - b.states[name], bounds[name])
            bad |= off if delayed or name != mem else off & ~spiked
        if len(charged) == 2 and not delayed:
            bad |= _exceeds(charged[0] - charged[1], bounds[mem])
        if layer.equation.levels is not None and common:
            rounded = _rounded(layer, (a, b), bounds, bad)
            bad &= ~rounded
        near, tie = _near(layer, a, b, charged, bounds[mem])
        tie &= spiked
        crossing = none
        if layer.equation.known and mem in common:
            limits = [layer.equation.limit(float_type(t)) for t in (layer.a, layer.b)]
            crossing = (a.found(mem) > limits[0]) != (b.found(mem) > limits[1])
            if all(t.told is not None and mem in t.told.starts for t in (layer.a, layer.b)):
                # what the next step finds is held to the program, on each side to what that side did before
                near = near | (crossing & ~spiked)
            elif not delayed:
                stored = [
                    np.abs(w.states[mem] - t) <= bounds[mem] for w, t in zip((a, b), limits, strict=True)
                ]
                near = np.where(crossing & ~spiked, stored[0] & stored[1], near)
        return cls(bad, near, crossing, rounded, tie)


def _charged(layer: Layer, a: Wide, b: Wide) -> list[Array]:
    """Membranes that were compared with the threshold, of each side that recorded its states.

    With a delayed reset that is the recorded membrane; else the step is taken again without its reset.
    """
    mem, sides = layer.equation.membrane, []
    for trace, wide in ((layer.a, a), (layer.b, b)):
        if mem not in wide.states:
            continue
        if layer.equation.delayed or not set(layer.equation.names) <= set(wide.states):
            sides.append(wide.states[mem])
            continue
        dtype = float_type(trace)
        sides.append(_again(layer, trace).charged.astype(dtype).astype(np.float64))
    return sides


def _again(layer: Layer, trace: NodeTrace) -> Move:
    """Each step again from the recorded state before it, by the reference's equation."""
    dtype = float_type(trace)
    states = {name: state.astype(dtype) for name, state in trace.before().items()}
    feedback = None if layer.feedback is None else layer.feedback.astype(dtype)
    return layer.equation.step(states, trace.input.astype(dtype), feedback)


def _near(layer: Layer, a: Wide, b: Wide, charged: list[Array], bound: Array) -> tuple[Array, Array]:
    """Whether each side's membrane is within ``bound`` of its threshold, and whether a side fired exactly at it."""
    if not layer.equation.known:
        if len(charged) < 2:
            return np.zeros(a.spk.shape, bool), np.zeros(a.spk.shape, bool)
        ahead = np.where(a.spk != 0, charged[0] > charged[1], charged[1] > charged[0])
        return ahead & (np.abs(charged[0] - charged[1]) <= bound), np.zeros(a.spk.shape, bool)
    near, tie = np.ones(a.spk.shape, bool), np.zeros(a.spk.shape, bool)
    sides = [(w, t) for w, t in ((a, layer.a), (b, layer.b)) if layer.equation.membrane in w.states]
    for (wide, trace), mem in zip(sides, charged, strict=True):
        limit = layer.equation.limit(float_type(trace))
        close = np.abs(mem - limit) <= bound
        if layer.equation.levels is not None and set(layer.equation.names) <= set(wide.states):
            low, high = _levels(layer, _again(layer, trace).raw[layer.equation.membrane], bound)
            close |= (low <= limit) & (limit < high)
        if layer.equation.inhibition and mem.shape[-1] > 1:
            close |= _contested(mem, bound)
        near &= close
        level = mem == limit
        if (wide.spk[level] != 0).all():
            tie |= level & (wide.spk != 0)
    limits = [layer.equation.limit(float_type(trace)) for _, trace in sides]
    same = len(charged) == 2 and np.array_equal(limits[0], limits[1])
    if same and layer.equation.delayed and not layer.equation.inhibition:
        tie |= charged[0] == charged[1]
    return near, tie


def _contested(mem: Array, bound: Array) -> Array:
    """Under inhibition: the best of the other neurons of the layer is within the bounds of both."""
    largest = np.partition(mem, -2, axis=-1)[..., -2:]
    best, second = largest[..., 1:], largest[..., :1]
    rival = np.where(mem == best, second, best)
    return np.abs(mem - rival) <= bound + bound.max(-1, keepdims=True)


def _rounded(layer: Layer, sides: tuple[Wide, Wide], bounds: Mapping[str, Array], bad: Array) -> Array:
    """States further apart that were within their bounds before they were rounded to a level."""
    a, b = sides
    if not set(bounds) <= set(a.states) & set(b.states):
        return np.zeros_like(bad)
    left, right = (_again(layer, trace).raw for trace in (layer.a, layer.b))
    fine = bad.copy()
    for name, bound in bounds.items():
        apart = np.abs(a.states[name] - b.states[name]) > bound
        low, high = _levels(layer, left[name], bound)
        fine &= np.abs(left[name].astype(np.float64) - right[name]) <= bound
        fine &= ~apart | (low != high) | ((a.spk != 0) != (b.spk != 0))
    return fine


def _levels(layer: Layer, raw: Array, bound: Array) -> tuple[Array, Array]:
    """Lowest and highest level that a state may be rounded to, given the error that it has."""
    wide, levels = raw.astype(np.float64), layer.equation.levels
    return quantized(levels, wide - bound), quantized(levels, wide + bound)


@dataclass(frozen=True)
class Verdict:
    """Masks ``[T, b, ...]`` over the neuron-steps of a layer, and the bound of its membrane.

    Attributes:
        mismatch: one side has a spike and the other has none, or spikes differ in height.
        explained: mismatches that are rounding, or follow from it.
        proved: those of them where rounding alone decides, each shown by its own numbers; the others follow.
        unexplained: mismatches, states and currents that are not.
        bad_current: currents further apart than their bound.
        bad_start: steps that do not start from what the operations between two steps make of what was recorded.
        at_tie: first mismatches where a side fired at the threshold, neither above nor below it.
        mem_bound: bound of the membrane.
        current_bound: bound of the current; where only the mean error gave a current away, that of the mean.
    """

    mismatch: Array
    explained: Array
    proved: Array
    unexplained: Array
    bad_current: Array
    bad_start: Array
    at_tie: Array
    mem_bound: Array
    current_bound: Array


def judge(layer: Layer) -> Verdict:
    """Judge each neuron's first difference, or each step of a layer whose neurons mix, as the module's text says."""
    return _judge_neurons(layer) if layer.cell is None else _judge_cell(layer, layer.cell)


def _judge_neurons(layer: Layer) -> Verdict:
    """Hold the two sides to each other: they may part where rounding does it."""
    a, b = (Wide.of(trace) for trace in (layer.a, layer.b))
    types = float_type(layer.a), float_type(layer.b)
    u = sum(unit_roundoff(t) for t in types)
    bad_current, limit, current_gap = _currents(layer)
    bad_start = misplaced(layer.a) | misplaced(layer.b)
    size = np.maximum(np.abs(a.input), np.abs(b.input))
    if layer.feedback is not None:
        size = size + np.abs(layer.feedback)
    gap = current_gap + layer.feedback_bound + _unrounded(layer) * size
    tiny = 4 * max(smallest_normal(t) for t in types)
    bounds = _bounds(layer, a, b, u, _tame(gap), _tame(size))
    bounds = {name: bound + tiny for name, bound in bounds.items()}

    states = StateMasks.of(layer, a, b, bounds)
    height = (a.spk != 0) & (b.spk != 0) & _exceeds(a.spk - b.spk, 4 * u * np.abs(a.spk))
    flip = (a.spk != 0) != (b.spk != 0)
    never_rounding = height | ~(a.finite & b.finite)
    # what counts as parting, and where rounding alone may do it
    event = flip | states.crossing | states.rounded
    allowed = (states.near | states.rounded) & ~states.tie
    if layer.equation.inhibition:
        after_a_flip = np.logical_or.accumulate(
            (event & allowed & ~bad_current).any(-1, keepdims=True), axis=0
        )
        allowed |= after_a_flip & flip & ~states.tie

    steps = np.arange(len(flip)).reshape(-1, *(1,) * (flip.ndim - 1))
    known = layer.known(len(flip))
    event, bad_current, never_rounding = (
        event & known,
        bad_current & known,
        (never_rounding & known) | bad_start,
    )
    states.bad &= known
    first_event = _first(event)
    judged = event & (steps == first_event)
    if not layer.equation.resets and layer.equation.levels is None:
        first_event, judged = np.full_like(first_event, len(flip)), event
    not_rounding = judged & ~allowed
    first_bad = _first(bad_current | never_rounding | not_rounding | (states.bad & (steps <= first_event)))
    after_first_bad = steps >= first_bad
    unexplained = (
        (after_first_bad & (flip | states.bad)) | bad_current | never_rounding | not_rounding
    ) & known
    mismatch = flip | height
    explained = mismatch & ~unexplained
    return Verdict(
        mismatch=mismatch,
        explained=explained,
        proved=explained & judged & (states.near | states.rounded),
        unexplained=unexplained,
        bad_current=bad_current,
        bad_start=bad_start,
        at_tie=judged & states.tie,
        mem_bound=bounds[layer.equation.membrane],
        current_bound=limit,
    )


def _currents(layer: Layer) -> tuple[Array, Array, Array]:
    """Currents that differ by more than they may, by how much they may, and by how much they do as far as they may.

    A current that is computed from states is held to the program, on each side to what that side's neurons did: then
    all by which the two differ comes from there.
    """
    inputs = [trace.input.astype(np.float64) for trace in (layer.a, layer.b)]
    gap = np.abs(inputs[0] - inputs[1])
    told = [
        (trace.told.input, trace.told.slack[""])
        for trace in (layer.a, layer.b)
        if trace.told is not None and trace.told.input is not None
    ]
    if len(told) == 2:
        off = [~(np.abs(x - meant) <= slack) for x, (meant, slack) in zip(inputs, told, strict=True)]
        limit = np.maximum(gap, told[0][1] + told[1][1])
        return off[0] | off[1], limit, gap
    bad, limit = ~(gap <= layer.bound), layer.bound
    if layer.rms is not None and layer.horizon is None:
        mean = np.sqrt((gap * gap).mean((0, 1), keepdims=True))
        always = (mean > layer.rms) & (gap > layer.rms)
        limit = np.where(always & ~bad, layer.rms, layer.bound)
        bad |= always
    return bad, limit, np.minimum(np.where(bad, layer.bound, gap), layer.bound)


def _unrounded(layer: Layer) -> float:
    """By how much, relative to a current in half precision, what a neuron gets may differ from what was recorded.

    Compilers leave out a rounding between two operations.
    """
    types = [t.input.dtype for t in (layer.a, layer.b) if t.input.dtype.kind not in "biu"]
    coarse = max((unit_roundoff(t) for t in types), default=0.0)
    return 2 * coarse if coarse > max(unit_roundoff(float_type(t)) for t in (layer.a, layer.b)) else 0.0


def misplaced(trace: NodeTrace) -> Array:
    """The neuron-steps that start from another state than they should."""
    found = np.zeros(trace.spk.shape, bool)
    for name, start in trace.before().items():
        if trace.told is not None and name in trace.told.starts:
            apart = ~(np.abs(start - trace.told.starts[name]) <= trace.told.slack[name])
            found |= per_sample(apart & np.isfinite(trace.told.starts[name]), found.shape)
    return found


def _judge_cell(layer: Layer, cell: Cell) -> Verdict:
    """Hold each side to the layer by itself: they may part if both compute it, each from its own states."""
    spikes = [trace.spk.astype(np.float64) for trace in (layer.a, layer.b)]
    types = [float_type(trace) for trace in (layer.a, layer.b)]
    us = [unit_roundoff(t) for t in types]
    sides = [
        cell.held(trace, max(us)) for trace in (layer.a, layer.b)
    ]  # parameters are as coarse as one side's
    shape = spikes[0].shape
    bad_current, limit, _ = _currents(layer)
    bad_current = per_sample(bad_current, shape) & layer.known(len(bad_current))
    bad_start = misplaced(layer.a) | misplaced(layer.b)
    fires = sides[0].fires and sides[1].fires
    flip = fires & ((spikes[0] != 0) != (spikes[1] != 0))
    apart = _exceeds(spikes[0] - spikes[1], 4 * sum(us) * np.abs(spikes[0]) + sides[0].bound)
    height = fires & (spikes[0] != 0) & (spikes[1] != 0) & apart
    tie = flip & (sides[0].tie | sides[1].tie)
    unexplained = sides[0].off | sides[1].off | sides[0].astray | sides[1].astray | height | bad_current | tie
    unexplained |= bad_start
    mismatch = flip | height
    return Verdict(
        mismatch=mismatch,
        explained=mismatch & ~unexplained,
        proved=mismatch & ~unexplained,
        unexplained=unexplained,
        bad_current=bad_current,
        bad_start=bad_start,
        at_tie=tie,
        mem_bound=np.maximum(sides[0].bound, sides[1].bound),
        current_bound=per_sample(np.broadcast_to(limit, layer.a.input.shape), shape),
    )


def _exceeds(gap: Array, bound: Array) -> Array:
    """Whether a difference is larger than its bound; NaN is, and so is any difference where the bound is NaN."""
    return ~(np.abs(gap) <= bound) & (gap != 0)


def _first(mask: Array) -> Array:
    """First step at which each neuron's entry is true ``[1, b, ...]``; the number of steps if never."""
    return np.where(mask.any(0), mask.argmax(0), len(mask))[None]


def _bounds(layer: Layer, a: Wide, b: Wide, u: float, gap: Array, size: Array) -> dict[str, Array]:
    """Bound of each state after each step; from the recorded states before it where both sides have them."""
    equation, names = layer.equation, layer.equation.names
    if all(name in a.states and name in b.states for name in names):
        starts = {name: (_tame(a.before[name]), _tame(b.before[name])) for name in names}
        apart = {name: np.abs(left - right) for name, (left, right) in starts.items()}
        for name in names:
            if a.rest.get(name) != b.rest.get(name):
                apart[name][:1] = 0.0  # they have to start alike
        sizes = {name: np.maximum(np.abs(left), np.abs(right)) for name, (left, right) in starts.items()}
        point = {name: left for name, (left, _) in starts.items()}
        return equation.bounds(u, point, _tame(a.input), apart, sizes, gap, size)
    known = {
        name: np.abs(_tame(side.states[name])) for side in (b, a) for name in names if name in side.states
    }
    return equation.bounds_along(u, known, gap, size)


def _tame(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0.0)
