"""Recorded steps of single neurons, replayed by an equation: which of them it can have made.

Each step is judged from the recorded state before it, so that a wrong step does not spoil the ones after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnax.interop.compare.bounds import float_type, smallest_normal, unit_roundoff
from snnax.interop.compare.equation import Equation, Move, quantized
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
        cls, trace: NodeTrace, picked: Array, feedback: Array | None, feedback_bound: Array | float
    ) -> Steps:
        """The steps of the neurons ``picked`` ``[P, 2]``: sample and flat index of each."""
        dtype, shape = float_type(trace), trace.spk.shape

        def of_picked(values: Array) -> Array:
            return take(values, picked)

        return cls(
            before={k: of_picked(v).astype(dtype) for k, v in trace.before().items()},
            after={k: of_picked(v).astype(dtype) for k, v in trace.states.items()},
            current=of_picked(trace.input).astype(dtype),
            spk=of_picked(trace.spk).astype(np.float64),
            feedback=None if feedback is None else of_picked(feedback).astype(dtype),
            feedback_bound=of_picked(np.broadcast_to(feedback_bound, shape)),
            neurons=picked[:, 1],
            shape=shape[2:],
        )

    # --- the same steps under a change of what came in or went out ----------------------------------

    def scaled(self, gain: float) -> Steps:
        """As if the neurons took their input times ``gain``."""
        if gain == 1.0:
            return self
        return replace(self, current=(self.current * gain).astype(self.current.dtype))

    def with_feedback(self, feedback: Array) -> Steps:
        """Under another recurrent current ``[T, P]``."""
        return replace(self, feedback=feedback.astype(self.current.dtype))

    def part(self, rows: slice, spk: slice | None = None) -> Steps:
        """Some of the steps, perhaps with the spikes of others."""
        cut = {
            key: None if (values := getattr(self, key)) is None else values[rows]
            for key in ("current", "feedback", "feedback_bound")
        }
        states = {key: {k: v[rows] for k, v in getattr(self, key).items()} for key in ("before", "after")}
        given: dict[str, Any] = {**cut, **states, "spk": self.spk[rows if spk is None else spk]}
        return replace(self, **given)

    # --- the steps again ------------------------------------------------------------------------------

    def local(self, spec: NeuronSpec) -> NeuronSpec:
        """``spec`` with per-neuron numbers picked for these neurons ``[P]``."""
        values = {}
        for name, value in spec.values.items():
            value = np.asarray(value)
            each = value if value.ndim == 0 else np.broadcast_to(value, self.shape).reshape(-1)
            values[name] = each if value.ndim == 0 else each[self.neurons]
        return spec.with_values(**values)

    def equation(self, spec: NeuronSpec) -> Equation:
        """The equation of a neuron, which is local to these.

        Each number is given for each neuron: whatever is tried then runs in the same compiled programs.
        """
        count = self.neurons.shape
        return Equation.of(spec.with_values(**{n: np.broadcast_to(v, count) for n, v in spec.values.items()}))

    def move(self, spec: NeuronSpec) -> Move:
        """All steps again under ``spec``, which is local to these neurons."""
        return self.equation(spec).step(self.before, self.current, self.feedback)

    def violations(self, spec: NeuronSpec) -> Array:
        """Steps that ``spec`` cannot have made: a state off by more than rounding, or a wrong spike."""
        move, bounds = self.move(spec), self._bounds(spec)
        wrong = np.zeros(self.spk.shape, bool)
        for name, state in move.states.items():
            reset = name == spec.states[-1] and not spec.reset_delay and spec.reset_mechanism != "none"
            low, high = _range(spec, state, move.raw[name], bounds[name], reset=reset)
            wrong |= ~((low <= self.after[name]) & (self.after[name] <= high))
        if spec.inhibition:
            return wrong
        mem, threshold = Equation.of(spec).membrane, np.asarray(spec.values["threshold"], np.float64)
        low, high = _range(spec, move.charged, move.raw[mem], bounds[mem])
        clear = (low > threshold) | (high < threshold)
        missed = (move.spk != 0) != (self.spk != 0)
        uneven = (move.spk != 0) & (self.spk != 0) & (np.abs(move.spk - self.spk) > 1e-5 * np.abs(self.spk))
        return wrong | (missed & clear) | uneven

    def _bounds(self, spec: NeuronSpec) -> dict[str, Array]:
        """How far apart two correct computations of one step may end."""
        dtype = self.current.dtype
        sizes = {name: np.abs(state.astype(np.float64)) for name, state in self.before.items()}
        size = np.abs(self.current.astype(np.float64))
        size = size if self.feedback is None else size + np.abs(self.feedback)
        zero = dict.fromkeys(sizes, np.zeros_like(size))
        found = self.equation(spec).bounds(
            2 * unit_roundoff(dtype), self.before, self.current, zero, sizes, self.feedback_bound, size
        )
        return {name: bound + 4 * smallest_normal(dtype) for name, bound in found.items()}

    # --- which steps tell what --------------------------------------------------------------------------

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


def _range(
    spec: NeuronSpec, state: Array, raw: Array, bound: Array, *, reset: bool = False
) -> tuple[Array, Array]:
    """Smallest and largest value that rounding makes of a state; with a quantizer, whole levels apart."""
    state = state.astype(np.float64)
    if spec.quantizer is None:
        return state - bound, state + bound
    wide = raw.astype(np.float64)
    low, level, high = (quantized(spec.quantizer, wide + d) for d in (-bound, 0.0, bound))
    free = np.abs(np.asarray(spec.values["threshold"], np.float64)) * (reset & (low != high))
    return state + (low - level) - bound - free, state + (high - level) + bound + free


def take(values: Array, picked: Array) -> Array:
    """Entries ``[T, P]`` of ``[T, B, ...]`` at the samples and flat indices ``picked`` ``[P, 2]``."""
    return values.reshape(len(values), values.shape[1], -1)[:, picked[:, 0], picked[:, 1]]


def earliest(mask: Array, most: int) -> Array:
    """At most ``most`` samples of a mask ``[T, B, ...]``, in their order: those that have an entry earliest."""
    hit = mask.reshape(*mask.shape[:2], -1).any(-1)
    first = np.where(hit.any(0), hit.argmax(0), len(hit))
    return np.sort(np.argsort(first, kind="stable")[:most])


def pick(mask: Array, limit: int = 2048) -> Array:
    """Sample and flat index ``[P, 2]`` of neurons with an entry in a mask ``[T, B, ...]``, earliest first."""
    flat = mask.reshape(len(mask), mask.shape[1], -1)
    first = np.where(flat.any(0), flat.argmax(0), len(flat))
    order = np.argsort(first, axis=None, kind="stable")[: min(limit, int((first < len(flat)).sum()))]
    return np.stack(np.unravel_index(order, first.shape), -1)
