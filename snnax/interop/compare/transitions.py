"""Single steps of single neurons out of a recording: which equation they obey.

Each step is judged from the recorded state before it, so that a wrong step does not spoil the ones after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from snnax.interop.compare.bounds import smallest_normal, unit_roundoff
from snnax.interop.compare.equation import Equation, Move, before, quantized
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace

Array = np.ndarray


@dataclass(frozen=True)
class Steps:
    """Recorded steps of some neurons, ``[T, P]`` each.

    Attributes:
        before: states before each step.
        after: states after it.
        current: input current.
        spk: spikes.
        feedback: recurrent current of the reference, if there is one.
        feedback_bound: its rounding bound.
        neurons: index of each of the P neurons in the flattened layer.
        shape: shape of the layer.
    """

    before: dict[str, Array]
    after: dict[str, Array]
    current: Array
    spk: Array
    feedback: Array | None
    feedback_bound: Array
    neurons: Array
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        trace: NodeTrace,
        picked: Array,
        dtype: np.dtype,
        feedback: Array | None = None,
        feedback_bound: Array | float = 0.0,
    ) -> Steps:
        """The steps of the neurons ``picked`` ``[P, 2]``: sample and flat index of each."""

        def of_picked(values: Array) -> Array:
            return take(values, picked)

        shape = trace.spk.shape
        bound = of_picked(np.broadcast_to(feedback_bound, shape))
        return cls(
            before={k: of_picked(v).astype(dtype) for k, v in before(trace.states).items()},
            after={k: of_picked(v).astype(dtype) for k, v in trace.states.items()},
            current=of_picked(trace.input).astype(dtype),
            spk=of_picked(trace.spk).astype(np.float64),
            feedback=None if feedback is None else of_picked(feedback).astype(dtype),
            feedback_bound=bound,
            neurons=picked[:, 1],
            shape=shape[2:],
        )

    def local(self, spec: NeuronSpec) -> NeuronSpec:
        """``spec`` with per-neuron numbers picked for these neurons ``[P]``."""
        values = {}
        for name, value in spec.values.items():
            value = np.asarray(value)
            values[name] = (
                value if value.ndim == 0 else np.broadcast_to(value, self.shape).reshape(-1)[self.neurons]
            )
        return spec.with_values(**values)

    def move(self, spec: NeuronSpec) -> Move:
        """All steps again under ``spec``, which is local to these neurons."""
        return Equation.of(spec).step(self.before, self.current, self.feedback)

    def scaled(self, gain: float) -> Steps:
        """The same steps as if the neurons took their input times ``gain``."""
        return (
            self if gain == 1.0 else replace(self, current=(self.current * gain).astype(self.current.dtype))
        )

    def with_feedback(self, feedback: Array) -> Steps:
        """The same steps under another recurrent current ``[T, P]``."""
        return replace(self, feedback=feedback.astype(self.current.dtype))

    def violations(self, spec: NeuronSpec) -> Array:
        """Steps that ``spec`` cannot have made: a state off by more than rounding, or a wrong spike."""
        move, bounds = self.move(spec), self.bounds(spec)
        wrong = np.zeros(self.spk.shape, bool)
        for name, state in move.states.items():
            low, high = self._range(spec, name, state, move.raw[name], bounds[name])
            wrong |= ~((low <= self.after[name]) & (self.after[name] <= high))
        threshold = np.asarray(spec.values["threshold"], np.float64)
        low, high = self._range(spec, "syn", move.charged, move.raw["mem"], bounds["mem"])
        clear = (low > threshold) | (high < threshold)
        missed = (move.spk != 0) != (self.spk != 0)
        uneven = (move.spk != 0) & (self.spk != 0) & (np.abs(move.spk - self.spk) > 1e-5 * np.abs(self.spk))
        if spec.inhibition:
            return wrong
        return wrong | (missed & clear) | uneven

    @staticmethod
    def _range(spec: NeuronSpec, name: str, state: Array, raw: Array, bound: Array) -> tuple[Array, Array]:
        """Smallest and largest value that rounding makes of a state; with a quantizer, whole levels apart."""
        state = state.astype(np.float64)
        if spec.quantizer is None:
            return state - bound, state + bound
        wide = raw.astype(np.float64)
        low, level, high = (quantized(spec.quantizer, wide + d) for d in (-bound, 0.0, bound))
        reset = name == "mem" and not spec.reset_delay and spec.reset_mechanism != "none"
        free = np.abs(np.asarray(spec.values["threshold"], np.float64)) * (reset & (low != high))
        return state + (low - level) - bound - free, state + (high - level) + bound + free

    def bounds(self, spec: NeuronSpec) -> dict[str, Array]:
        """Rounding error of one step on one side."""
        dtype = self.current.dtype
        sizes = {name: np.abs(state.astype(np.float64)) for name, state in self.before.items()}
        size = np.abs(self.current.astype(np.float64))
        if self.feedback is not None:
            size = size + np.abs(self.feedback)
        zero = dict.fromkeys(sizes, np.zeros_like(size))
        found = Equation.of(spec).bounds(
            2 * unit_roundoff(dtype), self.before, self.current, zero, sizes, self.feedback_bound, size
        )
        return {name: bound + 4 * smallest_normal(dtype) for name, bound in found.items()}

    @property
    def fed_back(self) -> Array:
        """Steps whose recurrent current is not that of a silent layer."""
        if self.feedback is None:
            return np.zeros(self.spk.shape, bool)
        return self.feedback != self.feedback[:1]

    @property
    def late(self) -> Array:
        """Spikes of the step before."""
        return np.concatenate([np.zeros_like(self.spk[:1]), self.spk[:-1]])

    @property
    def free(self) -> Array:
        """Steps without any reset, on either kind of delay: no spike now, none in the step before."""
        return (self.spk == 0) & (self.late == 0)


def take(values: Array, picked: Array) -> Array:
    """Entries ``[T, P]`` of ``[T, B, ...]`` at the samples and flat indices ``picked`` ``[P, 2]``."""
    return values.reshape(len(values), values.shape[1], -1)[:, picked[:, 0], picked[:, 1]]


def pick(mask: Array, limit: int = 2048) -> Array:
    """Sample and flat index ``[P, 2]`` of neurons with an entry in a mask ``[T, B, ...]``, earliest first."""
    flat = mask.reshape(len(mask), mask.shape[1], -1)
    first = np.where(flat.any(0), flat.argmax(0), len(flat))
    order = np.argsort(first, axis=None, kind="stable")[: min(limit, int((first < len(flat)).sum()))]
    return np.stack(np.unravel_index(order, first.shape), -1)


# --- Parameters of a neuron, read back from recorded steps by least squares -----------------------


@dataclass(frozen=True)
class Guess:
    """A neuron, local to some recorded ones, and a factor on its input current."""

    spec: NeuronSpec
    gain: float = 1.0

    def violations(self, steps: Steps) -> int:
        """How many recorded steps it cannot have made."""
        return int((steps if self.gain == 1.0 else steps.scaled(self.gain)).violations(self.spec).sum())


def fitted(spec: NeuronSpec, steps: Steps, *, each: bool) -> Guess:
    """The parameters with which a neuron of the structure of ``spec`` comes closest to the recorded steps.

    Args:
        spec: kind, reset mechanism and delay; its numbers are replaced where the recording tells others.
        steps: what was recorded.
        each: decays and thresholds for each neuron, instead of one for all.
    """
    _, groups = np.unique(steps.neurons, return_inverse=True)
    groups = groups if each else np.zeros_like(groups)
    values, gain = _decays(spec, steps, groups)
    guess = Guess(spec.with_values(**values), gain)
    return Guess(guess.spec.with_values(**_firing(guess, steps, groups)), gain)


def structures(spec: NeuronSpec) -> list[NeuronSpec]:
    """``spec`` with each reset mechanism and delay; itself first, then those with one change."""
    found = [
        spec.with_options(reset_mechanism=mechanism, reset_delay=delay)
        for mechanism in ("subtract", "zero", "none")
        for delay in (True, False)
    ]
    return sorted(
        found,
        key=lambda s: (s.reset_mechanism != spec.reset_mechanism) + (s.reset_delay != spec.reset_delay),
    )


def inferred(steps: Steps) -> NeuronSpec | None:
    """The Leaky or Synaptic neuron, local to the recorded ones, that made every recorded step, if one did."""
    kinds = {("mem",): "Leaky", ("mem", "syn"): "Synaptic"}
    kind = kinds.get(tuple(sorted(steps.after)))
    if kind is None:
        return None
    values = dict.fromkeys(("beta", "threshold", "graded_spikes_factor"), np.asarray(1.0))
    base = NeuronSpec(kind, {**values, "alpha": np.asarray(1.0)})
    for structure in structures(base):
        for each in (False, True):
            guess = fitted(structure, steps, each=each)
            if guess.gain == 1.0 and not guess.violations(steps):
                return guess.spec
    return None


def _decays(spec: NeuronSpec, steps: Steps, groups: Array) -> tuple[dict[str, Array], float]:
    """Decay of each state, and the gain, from steps without a reset."""
    before, after = ({k: v.astype(np.float64) for k, v in s.items()} for s in (steps.before, steps.after))
    every = np.ones(steps.spk.shape, bool)
    free = every if spec.reset_mechanism == "none" else steps.free
    x = steps.current.astype(np.float64)
    extra = 0.0 if steps.feedback is None else steps.feedback.astype(np.float64)
    if spec.kind == "Alpha":
        alpha = _slope(before["syn_exc"], after["syn_exc"] - x, free, groups)
        beta = _slope(before["syn_inh"], after["syn_inh"] + x, free, groups)
        return _known(spec, alpha=alpha, beta=beta), 1.0
    second = spec.kind in ("Synaptic", "RSynaptic")
    state, rows = ("syn", every) if second else ("mem", free)
    gain = _gain(before[state], x, after[state] - extra, rows)
    drive = after["syn"] if second else gain * x + extra
    beta = _slope(before["mem"], after["mem"] - drive, free, groups)
    if spec.reset_mechanism == "subtract":
        taken = (steps.late if spec.reset_delay else steps.spk) != 0
        whole = after["mem"] - drive + taken * np.asarray(spec.values["threshold"], np.float64)
        beta = np.where(np.isfinite(beta), beta, _slope(before["mem"], whole, every, groups))
    if second:
        alpha = _slope(before["syn"], after["syn"] - extra - gain * x, every, groups)
        return _known(spec, alpha=alpha, beta=beta), gain
    if spec.kind != "Lapicque":
        return _known(spec, beta=beta), gain
    step = np.asarray(spec.values["time_step"], np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        capacity = step / gain + np.zeros_like(beta)
        resistance = step / ((1 - beta) * capacity)
    return _known(spec, R=resistance, C=capacity), 1.0


def _known(spec: NeuronSpec, **values: Array) -> dict[str, Array]:
    """Fitted values, with the reference's where the recording told none."""
    return {k: np.where(np.isfinite(v), v, np.asarray(spec.values[k], np.float64)) for k, v in values.items()}


def _slope(x: Array, y: Array, rows: Array, groups: Array) -> Array:
    """``k`` in ``y = k x`` for each group of neurons, at each neuron ``[P]``; NaN where nothing tells."""
    weight = np.where(rows, x, 0.0)
    power, product = (np.bincount(groups, (weight * v).sum(0)) for v in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(product / np.where(power > 0, power, np.nan))[groups]


def _gain(state: Array, x: Array, y: Array, rows: Array) -> float:
    """``g`` in ``y = k * state + g x`` with a ``k`` for each neuron; 1 where the recording cannot tell it."""
    s, x, y = (np.where(rows, v, 0.0) for v in (state, x, y))
    power = (s * s).sum(0)
    power = np.where(power > 0, power, 1.0)
    rest_x, rest_y = x - s * ((s * x).sum(0) / power), y - s * ((s * y).sum(0) / power)
    size = float((rest_x * rest_x).sum())
    if size <= 1e-9 * float((x * x).sum()) or size == 0:
        return 1.0
    gain = float((rest_x * rest_y).sum()) / size
    return 1.0 if abs(gain - 1) < 1e-5 or not np.isfinite(gain) or gain == 0 else gain


def _firing(guess: Guess, steps: Steps, groups: Array) -> dict[str, Array]:
    """Threshold, from what a reset takes away and from where spikes begin; and the height of a spike."""
    spec, found = guess.spec, {}
    fired = steps.spk != 0
    heights = steps.spk[fired]
    if heights.size and "graded_spikes_factor" in spec.values:
        found["graded_spikes_factor"] = np.asarray(np.median(heights))
    threshold = np.broadcast_to(np.asarray(spec.values["threshold"], np.float64), groups.shape)
    amount = np.full(groups.shape, np.nan)
    if spec.reset_mechanism == "subtract" and spec.kind != "Alpha":
        amount = _amount(guess, steps, groups)
    charged = steps.after["mem"].astype(np.float64)
    if not spec.reset_delay:
        trial = spec.with_values(threshold=np.where(np.isfinite(amount), amount, threshold))
        charged = steps.scaled(guess.gain).move(trial).charged.astype(np.float64)
    low, high = np.full(groups.max() + 1, -np.inf), np.full(groups.max() + 1, np.inf)
    np.maximum.at(low, groups, np.where(fired, -np.inf, charged).max(0))
    np.minimum.at(high, groups, np.where(fired, charged, np.inf).min(0))
    between = np.array([simplest(*ends) for ends in zip(low, high, strict=True)])[groups]
    slack = 1e-5 * np.maximum(np.abs(threshold), 1e-30)

    def fits(value: Array) -> Array:
        return (value >= low[groups] - slack) & (value <= high[groups] + slack)

    found["threshold"] = np.where(fits(amount), amount, np.where(fits(threshold), threshold, between))
    return found


def _amount(guess: Guess, steps: Steps, groups: Array) -> Array:
    """What a reset takes off the membrane: median over the steps with one reset, at each neuron ``[P]``."""
    spec = guess.spec.with_options(reset_mechanism="none", reset_delay=True)
    after = steps.after["mem"].astype(np.float64)
    gap = steps.scaled(guess.gain).move(spec).states["mem"].astype(np.float64) - after
    rows = (steps.late != 0) if guess.spec.reset_delay else (steps.spk != 0) & (steps.late == 0)
    medians = np.full(groups.max() + 1, np.nan)
    for group in np.unique(groups):
        values = gap[rows & (groups == group)]
        medians[group] = np.median(values) if values.size else np.nan
    return medians[groups]


def simplest(low: float, high: float) -> float:
    """The number with the fewest digits in ``[low, high)``.

    Example:
        >>> simplest(1.2374, 1.2612)
        1.25
        >>> simplest(0.97, 1.04)
        1.0
    """
    if not np.isfinite(low) and not np.isfinite(high):
        return np.nan
    if not np.isfinite(low) or not np.isfinite(high) or low >= high:
        return float(low if np.isfinite(low) else high)
    for digits in range(9):
        for unit in (1.0, 0.5, 0.25):
            grid = unit * 10.0**-digits
            value = np.ceil(low / grid) * grid
            if low <= value < high:
                return float(round(value, digits + 2))
    return float((low + high) / 2)
