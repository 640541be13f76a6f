"""The numbers of a neuron, read back from recorded steps of it by least squares.

Decays and whatever else its states are computed from are found by Gauss-Newton on the derivatives of the neuron's own
step; the threshold from what a reset takes away and from where spikes begin.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import jax
import numpy as np

from snnax.errors import SnnaxError
from snnax.interop.compare.equation import LEVEL
from snnax.interop.compare.steps import Steps
from snnax.interop.families.modules import module_from_spec
from snnax.interop.families.registry import families
from snnax.interop.spec import NeuronSpec

Array = np.ndarray

GAIN = "gain"
FIRING = ("threshold", "graded_spikes_factor")
"""Numbers that states show by what a spike does only."""

ROUNDS = 20
"""Of Gauss-Newton; a step that is linear in its numbers needs one."""

BETTER = 100.0
"""How many times smaller the squares have to become for a gain to be believed."""


@dataclass(frozen=True)
class Guess:
    """A neuron, local to some recorded ones, and a factor on its input current.

    Attributes:
        spec: the neuron.
        gain: the factor.
        free: numbers that were fitted, :data:`GAIN` among them.
        each: they were fitted for each neuron, instead of one for all.
        bracket: bounds of the threshold at each neuron, unless a reset shows it.
    """

    spec: NeuronSpec
    gain: float = 1.0
    free: tuple[str, ...] = ()
    each: bool = False
    bracket: tuple[Array, Array] | None = None

    def moved(self, **values: Array) -> Guess:
        """With some numbers replaced, if the neuron takes them."""
        spec = self.spec.with_values(**values)
        return replace(self, spec=spec) if _is_taken(spec) else self

    def violations(self, steps: Steps) -> int:
        """How many recorded steps it cannot have made."""
        return int(steps.scaled(self.gain).violations(self.spec).sum())

    def reduced(self, spec: NeuronSpec, steps: Steps) -> Guess:
        """The guess with everything as in ``spec`` that the recording does not need to be otherwise.

        One thing after the other is put back, in two orders: of numbers that can stand for each other, as two rates
        and a time step, the fewer are kept.
        """
        guess = self
        for option in ("reset_mechanism", "reset_delay"):
            if getattr(guess.spec, option) != getattr(spec, option):
                same = guess.spec.with_options(**{option: getattr(spec, option)})
                guess = guess._or(replace(guess, spec=same), steps)
        names = self.free or tuple(n for n in self.spec.values if n in spec.values)
        found = guess._each_restored(names, spec, steps)
        if len(found.free) > 1:  # what the first names had to keep, the last ones may do without
            found = min(found, guess._each_restored(names[::-1], spec, steps), key=lambda g: len(g.free))
        return found

    def _each_restored(self, names: tuple[str, ...], spec: NeuronSpec, steps: Steps) -> Guess:
        """One number after the other as in ``spec``, where it may be."""
        guess = self
        for name in names:
            guess = guess._or(guess._restored(name, spec, steps), steps)
        return guess

    def _restored(self, name: str, spec: NeuronSpec, steps: Steps) -> Guess:
        """One number as in ``spec``; if it was fitted, the others that were are fitted again."""
        if not self.free:
            return replace(self, spec=self.spec.with_values(**{name: spec.values[name]}))
        free = tuple(n for n in self.free if n != name)
        return fitted(self.spec.with_values(**spec.values), steps, each=self.each, free=free)

    def _or(self, other: Guess, steps: Steps) -> Guess:
        """``other`` if it can have made every recorded step, else this guess."""
        return self if other.violations(steps) else other


def structures(spec: NeuronSpec) -> list[NeuronSpec]:
    """``spec`` with each reset mechanism and delay that its class takes; itself first, then those with one change."""
    kind = spec.family.module
    chooses_delay = any(field.name == "reset_delay" for field in fields(kind))
    found = [
        spec.with_options(reset_mechanism=mechanism, reset_delay=delay)
        for mechanism in dict.fromkeys((spec.reset_mechanism, *kind.reset_mechanisms))
        for delay in ((True, False) if chooses_delay else (spec.reset_delay,))
    ]

    def changes(other: NeuronSpec) -> int:
        return (other.reset_mechanism != spec.reset_mechanism) + (other.reset_delay != spec.reset_delay)

    return [other for other in sorted(found, key=changes) if changes(other) == 0 or _is_taken(other)]


def _is_taken(spec: NeuronSpec) -> bool:
    """Whether the class of a neuron takes its numbers and choices together; only one of the user's own may refuse."""
    unused = () if spec.reset_mechanism == "value" else ("v_reset",)
    values = {name: value for name, value in spec.values.items() if name not in unused}
    if spec.family.own:
        try:
            module_from_spec("", replace(spec, values=values, learn=()), 1)
        except (SnnaxError, ValueError, TypeError):
            return False
    return True


def inferred(steps: Steps) -> NeuronSpec | None:
    """The neuron, local to the recorded ones, that made every recorded step; of a family that may be assumed."""
    for family in families().values():
        if not family.assumed or set(family.states) != set(steps.after):
            continue
        base = NeuronSpec(family.kind, {name: np.ones(()) for name in family.values})
        for structure in structures(base):
            for each in (False, True):
                guess = fitted(structure, steps, each=each, free=family.values)
                if not guess.violations(steps):
                    return guess.spec
    return None


def fitted(spec: NeuronSpec, steps: Steps, *, each: bool, free: tuple[str, ...] | None = None) -> Guess:
    """The numbers with which a neuron comes closest to the recorded steps.

    Args:
        spec: its kind, reset mechanism and delay; its numbers stay where the recording does not tell them.
        steps: what was recorded.
        each: numbers for each neuron, instead of one for all.
        free: which numbers; ``None``: all, and the gain.
    """
    free = (GAIN, *spec.values) if free is None else free
    guess = _fitted_once(spec, steps, each, free)
    if spec.family.own:  # whose states may show where the threshold is crossed, which is known only now
        guess = _fitted_once(guess.spec, steps, each, free)
    return guess


def _fitted_once(spec: NeuronSpec, steps: Steps, each: bool, free: tuple[str, ...]) -> Guess:
    """Numbers that states show without a spike, then the threshold, then numbers that only a reset shows."""
    _, groups = np.unique(steps.neurons, return_inverse=True)
    groups = groups if each else np.zeros_like(groups)
    names, gain = [name for name in free if name in spec.values and name not in FIRING], 1.0
    rows = _telling(spec, steps, groups)
    solved = _solved(spec, steps, names, groups, rows)
    if GAIN in free:
        other = _solved(spec, steps, [*names, GAIN], groups, rows)
        found = float(np.median(other.values[GAIN]))
        if other.squares * BETTER < solved.squares and abs(found - 1) > 1e-5 and found != 0:
            gain = found
            solved = _solved(spec, steps.scaled(gain), names, groups, rows)
    guess = Guess(spec.with_values(**solved.values), gain, free, each)
    firing, bracket = _firing(guess, steps, groups)
    guess = guess.moved(**{k: v for k, v in firing.items() if k in free})
    if "threshold" in free:
        guess = replace(guess, bracket=bracket)
    late = [*solved.untold]
    if spec.family.own and "threshold" in free:  # which may subtract more than that
        late.append("threshold")
    if late and spec.reset_mechanism != "none":
        exact = _solved(guess.spec, steps.scaled(gain), late, groups, ~steps.free).values
        told = not np.array_equal(
            exact.get("threshold", guess.spec.values["threshold"]), guess.spec.values["threshold"]
        )
        guess = replace(guess.moved(**exact), bracket=None if told else guess.bracket)
    return guess


@dataclass(frozen=True)
class _Solved:
    """Numbers by least squares.

    Attributes:
        values: numbers at each neuron ``[P]``, by name.
        squares: the sum of squares that they leave over.
        untold: names of those that change nothing in the steps that were looked at, as one that only a reset shows.
    """

    values: dict[str, Array]
    squares: float
    untold: list[str]


def _solved(spec: NeuronSpec, steps: Steps, names: list[str], groups: Array, rows: Array) -> _Solved:
    """Numbers at each neuron, by least squares over the steps ``rows`` ``[T, P]`` of the neurons of each group.

    A number that the neuron does not take, as a negative time constant, ends the search at those before it.
    """
    start = {n: np.asarray(1.0 if n == GAIN else spec.values[n], np.float64) for n in names}
    scale = {n: np.where(v == 0, 1.0, np.abs(v)) + np.zeros(groups.shape) for n, v in start.items()}
    trial = {n: v + np.zeros(groups.shape) for n, v in start.items()}
    found, squares, untold = trial, np.inf, names
    for _ in range(ROUNDS):
        if not _is_taken(spec.with_values(**{n: v for n, v in trial.items() if n != GAIN})):
            break
        slopes, rest = _linear(spec, steps, trial, rows)
        found, squares = trial, float((rest * rest).sum())
        if not names or not np.isfinite(squares):
            break
        untold = [n for n, slope in zip(names, slopes, strict=True) if not slope.any()]
        slopes = slopes * np.stack([scale[n] for n in names])[:, None, None]
        products = np.einsum("istp,jstp->pij", slopes, slopes), np.einsum("istp,stp->pi", slopes, rest)
        matrix, side = (np.zeros((groups.max() + 1, *p.shape[1:])) for p in products)
        np.add.at(matrix, groups, products[0])
        np.add.at(side, groups, products[1])
        change = (np.linalg.pinv(matrix, rcond=1e-12, hermitian=True) @ side[..., None])[..., 0]
        if not np.isfinite(change).all():
            break
        trial = {n: found[n] + scale[n] * change[groups, i] for i, n in enumerate(names)}
        if np.abs(change).max() < 1e-13:
            break
    return _Solved(found, squares, untold)


def _telling(spec: NeuronSpec, steps: Steps, groups: Array) -> Array:
    """Steps ``[T, P]`` from which the numbers are taken: those without a spike, whatever the reset.

    Of neurons that are never reset all steps, and of those that have no other: at rest no step tells a decay.
    """
    if spec.reset_mechanism == "none":
        return np.ones(steps.spk.shape, bool)
    some = np.zeros(groups.max() + 1, bool)
    moving = np.any([state != 0 for state in steps.before.values()], 0)
    np.logical_or.at(some, groups, (steps.free & moving).any(0))
    return np.where(some[groups], steps.free, True)


def _linear(spec: NeuronSpec, steps: Steps, found: dict[str, Array], rows: Array) -> tuple[Array, Array]:
    """Derivatives of the states ``[numbers, states, T, P]`` at some numbers, and recorded states less computed ones.

    Both are 0 in the steps that are not among ``rows`` ``[T, P]``.
    """
    gain = found.get(GAIN, 1.0)
    equation = steps.equation(spec.with_values(**{n: v for n, v in found.items() if n != GAIN}))
    reset = rows & ~steps.free
    after, slopes = equation.slopes(steps.before, steps.current * gain, steps.feedback, resets=False)
    if spec.reset_mechanism != "none" and reset.any():
        with_reset = equation.slopes(steps.before, steps.current * gain, steps.feedback, resets=True)
        after, slopes = jax.tree.map(lambda w, f: np.where(reset, w, f), with_reset, (after, slopes))
    slopes = {**slopes, GAIN: {k: v * steps.current for k, v in slopes[""].items()}}
    states = [s for s in after if s != LEVEL]  # which was computed from them, not recorded
    missing = np.stack([(steps.after[s].astype(np.float64) - after[s]) * rows for s in states])
    if not found:
        return np.zeros((0, *missing.shape)), missing
    return np.stack([np.stack([slopes[n][s] * rows for s in states]) for n in found]), missing


def _firing(guess: Guess, steps: Steps, groups: Array) -> tuple[dict[str, Array], tuple[Array, Array] | None]:
    """The threshold, and the height of a spike; bounds of the threshold, unless a reset shows it.

    With a reset that subtracts, the threshold is what the reset takes off, if no silent membrane lies above that and
    none that fired below it. Else it stays as it is if that holds of it; else it is the simplest number of which it
    holds.
    """
    spec, found = guess.spec, {}
    fired = steps.spk != 0
    heights = steps.spk[fired]
    if heights.size and "graded_spikes_factor" in spec.values:
        found["graded_spikes_factor"] = np.asarray(np.median(heights))
    threshold = np.broadcast_to(np.asarray(spec.values["threshold"], np.float64), groups.shape)
    amount = np.full(groups.shape, np.nan)
    if spec.reset_mechanism == "subtract":
        amount = _amount(guess, steps, groups)
    equation = steps.equation(spec)
    levelled = equation.membrane == LEVEL  # by the numbers of this guess, not by those of the reference
    charged = (equation.level_of(steps.after) if levelled else steps.after[equation.membrane]).astype(
        np.float64
    )
    if not spec.reset_delay:
        trial = spec.with_values(threshold=np.where(np.isfinite(amount), amount, threshold))
        charged = steps.scaled(guess.gain).move(trial).charged.astype(np.float64)
    low, high = np.full(groups.max() + 1, -np.inf), np.full(groups.max() + 1, np.inf)
    np.maximum.at(low, groups, np.where(fired, -np.inf, charged).max(0))
    np.minimum.at(high, groups, np.where(fired, charged, np.inf).min(0))
    between = np.array([simplest(*ends) for ends in zip(low, high, strict=True)])[groups]
    between = np.where(np.isfinite(between), between, threshold)
    slack = 1e-5 * np.maximum(np.abs(threshold), 1e-30)

    def fits(value: Array) -> Array:
        return (value >= low[groups] - slack) & (value <= high[groups] + slack)

    found["threshold"] = np.where(fits(amount), amount, np.where(fits(threshold), threshold, between))
    return found, None if fits(amount).all() else (low[groups], high[groups])


def _amount(guess: Guess, steps: Steps, groups: Array) -> Array:
    """What a reset takes off the membrane: median over the steps with one reset, at each neuron ``[P]``."""
    spec, mem = guess.spec.with_options(reset_mechanism="none", reset_delay=True), guess.spec.states[-1]
    taken_off = steps.scaled(guess.gain).move(spec).states[mem].astype(np.float64) - steps.after[mem]
    resets = (steps.late != 0) if guess.spec.reset_delay else (steps.spk != 0) & (steps.late == 0)
    medians = np.full(groups.max() + 1, np.nan)
    for group in np.unique(groups):
        values = taken_off[resets & (groups == group)]
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
