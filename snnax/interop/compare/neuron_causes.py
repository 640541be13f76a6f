"""Why a neuron differs although it gets the same current: other equations tried on its recorded steps.

The cause is the change to a's neuron, as small as possible, under which every recorded step of ``b`` is what
the equations of :mod:`snnax.dynamics` make of the recorded state before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.bounds import float_type
from snnax.interop.compare.evidence import Evidence, Judged, cut
from snnax.interop.compare.report import Cause
from snnax.interop.compare.stages import edited, looped_nodes, recurrent_current, recurrent_nodes
from snnax.interop.compare.transitions import Guess, Steps, fitted, inferred, pick, structures, take
from snnax.interop.spec import NeuronSpec

# --- Recurrent currents that a defect would make of a layer's recorded spikes ---------------------

Array = np.ndarray


def feedback_of(found: Evidence, name: str, samples: Array) -> tuple[Array | None, Array | float]:
    """a's recurrent current of a layer in some samples ``[T, b, ...]``, and its rounding bound."""
    low, high = int(samples.min()), int(samples.max()) + 1
    bound = found.bounds.of(name, slice(low, high), found.specs[name][0])
    shape = found.a.nodes[name].spk[:, low:high].shape
    feedback = None if bound.feedback is None else bound.feedback[:, samples - low]
    return feedback, np.broadcast_to(bound.feedback_bound, shape)[:, samples - low]


def recurrent_alternatives(found: Evidence, name: str, spk: Array) -> Iterator[tuple[Cause, Array]]:
    """Causes, each with the recurrent current ``[T, b, ...]`` that it makes of a's spikes."""
    a, b = found.labels
    nodes = recurrent_nodes(found.stages, name, found.specs[name][0])
    if len(nodes) != 1:
        return
    (node,) = nodes
    try:
        given = recurrent_current(nodes, spk)
        bias = getattr(node, "bias", None)
        weight = np.asarray(getattr(node, "weight", np.zeros(0)))
        if bias is not None and np.any(bias):
            silent = recurrent_current([edited(node, bias=np.zeros_like(bias))], spk)
            text = f"{b} leaves out the recurrent bias of {name}, which {a} adds at"
            yield Cause("recurrent bias", f"{text} each step."), silent
            yield (
                Cause("recurrent bias", f"{text} the first step, too."),
                np.concatenate([silent[:1], given[1:]]),
            )
        if weight.ndim == 2:
            twin = recurrent_current([edited(node, weight=weight.T)], spk)
            text = f"{b} uses the recurrent weights of {name} with inputs and outputs swapped."
            yield Cause("weights", text), twin
        yield Cause("weights", f"{b} leaves out the recurrent weights of {name}."), np.zeros_like(given)
        late = np.concatenate([given[:1], given[:-1]])
        yield Cause("delay", f"{b} feeds the spikes of {name} back a step later than {a}."), late
        theirs = looped_nodes(found.graph_b, found.names[name])
        if theirs:
            text = f"the recurrent weights of {name} in {b} are not those in {a}."
            yield Cause("weights", text), recurrent_current(theirs, spk)
    except (ConversionError, ValueError, IndexError):
        return


# --- Causes in plain words, with the values of both sides -----------------------------------------

_RESETS = {
    "subtract": "subtracts the threshold after a spike",
    "zero": "sets the membrane to zero after a spike",
    "none": "does not reset after a spike",
}
_DELAYS = {
    True: "one step after the spike (reset_delay=True)",
    False: "in the step of the spike (reset_delay=False)",
}


@dataclass(frozen=True)
class Finding:
    """A cause and, for decays, values of both sides ``(a, b)`` by which a wrong time step is recognised."""

    cause: Cause
    decays: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Wording:
    """Says how b's neuron differs from a's.

    Attributes:
        labels: names of the sides.
        layer: name of the layer.
        neurons: flat index in the layer of each neuron that the values are of.
        shape: shape of the layer.
    """

    labels: tuple[str, str]
    layer: str
    neurons: Array
    shape: tuple[int, ...]

    def findings(self, spec: NeuronSpec, guess: Guess) -> tuple[Finding, ...]:
        """One finding for each way in which ``guess``, b's neuron, differs from ``spec``, a's."""
        a, b = self.labels
        other, found = guess.spec, []
        if other.reset_mechanism != spec.reset_mechanism:
            text = f"{b} {_RESETS[other.reset_mechanism]} where {a} {_RESETS[spec.reset_mechanism]}."
            found.append(Finding(Cause("reset mechanism", text)))
        if other.reset_delay != spec.reset_delay:
            text = f"{b} resets {_DELAYS[other.reset_delay]} where {a} resets {_DELAYS[spec.reset_delay]}."
            found.append(Finding(Cause("reset delay", text)))
        found += self._circuit(spec, other) if spec.kind == "Lapicque" else self._decays(spec, other)
        if guess.gain != 1.0:
            text = f"{b}'s {self.layer} multiplies its input by {guess.gain:.6g}, {a}'s takes it as it is."
            found.append(Finding(Cause("gain", text)))
        limits = spec.values["threshold"], other.values["threshold"]
        if _differ(*limits):
            found.append(Finding(Cause("threshold", self.compared("has threshold", *limits))))
        heights = [s.values.get("graded_spikes_factor", 1.0) for s in (spec, other)]
        if _differ(*heights):
            found.append(Finding(Cause("gain", self.compared("emits spikes of height", *heights))))
        return tuple(found)

    def compared(self, what: str, left: Any, right: Any) -> str:
        """``B <what> 0.85 where A has 0.9.``; of values by neuron, those furthest apart."""
        a, b = self.labels
        left, right = np.broadcast_arrays(*np.atleast_1d(np.asarray(left, float), np.asarray(right, float)))
        far = int(np.abs(left - right).argmax())
        words = apart(left[far], right[far])
        if np.ptp(left) == 0 and np.ptp(right) == 0:
            return f"{b} {what} {words[1]} where {a} has {words[0]}."
        neuron = ", ".join(str(int(i)) for i in np.unravel_index(int(self.neurons[far]), self.shape))
        return f"{b} {what} {words[1]} where {a} has {words[0]} at neuron ({neuron}), the one furthest off."

    def _decays(self, spec: NeuronSpec, other: NeuronSpec) -> list[Finding]:
        found = []
        for name, what in (("beta", "decays with beta"), ("alpha", "has synaptic decay alpha")):
            known = name in spec.values and name in other.values
            if known and _differ(spec.values[name], other.values[name]):
                left, right = spec.values[name], other.values[name]
                text = self.compared(what, left, right)
                found.append(Finding(Cause(name, text), _pairs(left, right)))
        return found

    def _circuit(self, spec: NeuronSpec, other: NeuronSpec) -> list[Finding]:
        """Lapicque: the decay and gain that R, C and the time step make."""
        pairs, found = [], []
        for values in (spec.values, other.values):
            R, C, dt = (np.asarray(values[name], np.float64) for name in ("R", "C", "time_step"))
            pairs.append((1 - dt / (R * C), dt / C))
        decays, gains = zip(*pairs, strict=True)
        if _differ(*decays):
            text = self.compared("decays with 1 - dt/(RC) =", *decays)
            found.append(Finding(Cause("beta", text), _pairs(*decays)))
        if _differ(*gains):
            text = self.compared("multiplies its input by dt/C =", *gains)
            found.append(Finding(Cause("gain", text)))
        return found


def tie_text(labels: tuple[str, str], first: bool) -> str:
    """Which side fires at the threshold."""
    fires, other = labels if first else labels[::-1]
    return f"{fires} fires when the membrane equals the threshold (>=), {other} only above it (>)."


def settle(
    findings: dict[str, tuple[Finding, ...]], labels: tuple[str, str]
) -> dict[str, tuple[Finding, ...]]:
    """Wrong decays that all come from one wrong time step, said as that.

    With the Euler step ``1 - beta = dt/tau``, with the exact one ``-ln(beta) = dt/tau``: either way a factor
    that all decays share, if several differ, or a power of ten, if it is one decay.
    """
    pairs = np.array([p for layer in findings.values() for f in layer for p in f.decays], float)
    factor = _common_factor(pairs.reshape(-1, 2))
    if factor is None:
        return findings

    def said(finding: Finding) -> Finding:
        if not finding.decays:
            return finding
        text = (
            f"{finding.cause.text[:-1]}: what a time step {factor:.4g} times that of {labels[0]} makes of it."
        )
        return Finding(Cause("dt", text, finding.cause.certain), finding.decays)

    return {name: tuple(map(said, layer)) for name, layer in findings.items()}


def _common_factor(pairs: Array) -> float | None:
    inside = (pairs > 1e-6) & (pairs < 1 - 1e-6)
    if not len(pairs) or not inside.all():
        return None
    several = np.ptp(pairs[:, 0]) > 1e-3
    for rates in (1 - pairs, -np.log(pairs)):
        factors = rates[:, 1] / rates[:, 0]
        factor = float(np.median(factors))
        if np.abs(factors / factor - 1).max() > 2e-3 or abs(factor - 1) < 1e-3:
            continue
        if several or abs(np.log10(factor) - round(np.log10(factor))) < 1e-3:
            return factor
    return None


def _pairs(left: Any, right: Any) -> tuple[tuple[float, float], ...]:
    both = np.stack(np.broadcast_arrays(np.asarray(left, float), np.asarray(right, float)), -1).reshape(-1, 2)
    return tuple((float(p), float(q)) for p, q in both[:64])


def _differ(left: Any, right: Any) -> bool:
    return not bool((np.asarray(left, float) == np.asarray(right, float)).all())


def apart(left: float, right: float) -> tuple[str, str]:
    """Two numbers in as many digits as tell them apart, six at least.

    Example:
        >>> apart(0.9, 0.85), apart(0.9, 0.90000004)
        (('0.9', '0.85'), ('0.9', '0.90000004'))
    """
    for digits in (6, 9, 12, 17):
        words = f"{left:.{digits}g}", f"{right:.{digits}g}"
        if words[0] != words[1]:
            break
    return words


SAMPLES = 8
"""How many samples are looked at."""


@dataclass(frozen=True)
class NeuronCase:
    """A layer whose neurons part.

    Attributes:
        layer: its name.
        labels: names of the sides.
        spec: the neuron of the reference, local to the neurons looked at.
        other: what b's graph says, if anything.
        steps: recorded steps of b's neurons.
        reference: the same of a's.
        feedbacks: recurrent currents ``[T, P]`` that a defect would make of the spikes, each with its cause.
    """

    layer: str
    labels: tuple[str, str]
    spec: NeuronSpec
    other: NeuronSpec | None
    steps: Steps
    reference: Steps
    feedbacks: tuple[tuple[Cause, Array], ...]

    @property
    def wording(self) -> Wording:
        """How to speak about its neurons."""
        return Wording(self.labels, self.layer, self.steps.neurons, self.steps.shape)


def case_of(found: Evidence, name: str, judged: Judged) -> NeuronCase | None:
    """Steps of the neurons that part earliest; ``None`` where states or parameters are not known."""
    spec, other = found.specs[name]
    a, b = found.a.nodes[name], found.replay.nodes[name]
    states = set(a.states) & set(b.states)
    if not (set(spec.states) <= states if spec is not None else "mem" in states):
        return None
    picked = pick(judged.unexplained)
    samples = np.unique(picked[:, 0])[:SAMPLES]
    picked = picked[np.isin(picked[:, 0], samples)]
    picked[:, 0] = np.searchsorted(samples, picked[:, 0])
    a, b = cut(a, samples), cut(b, samples)
    feedback, bound = feedback_of(found, name, samples)
    steps = Steps.of(b, picked, float_type(b), feedback, bound)
    reference = Steps.of(a, picked, float_type(a), feedback, bound)
    local = inferred(reference) if spec is None else steps.local(spec)
    if local is None:
        return None
    alternatives = [
        (cause, take(values, picked)) for cause, values in recurrent_alternatives(found, name, a.spk)
    ]
    theirs = None if other is None else steps.local(other)
    return NeuronCase(name, found.labels, local, theirs, steps, reference, tuple(alternatives))


def neuron_causes(case: NeuronCase) -> tuple[Finding, ...]:
    """The smallest change to a's neuron that makes it b's; empty if b's neuron is a's."""
    findings: list[Finding] = []
    spec = case.spec
    ties = [_fires_at_threshold(steps, spec) for steps in (case.reference, case.steps)]
    if ties[0] != ties[1]:
        findings.append(Finding(Cause("threshold comparison", tie_text(case.labels, ties[0]))))
    if ties[1]:
        spec = _at_or_above(spec, case.steps.current.dtype)
    own = _at_or_above(case.spec, case.reference.current.dtype) if ties[0] else case.spec
    trusted = not Guess(own).violations(case.reference)
    if not Guess(spec).violations(case.steps):
        return (*findings, *(_choices(case) or _untrusted(case, trusted)))
    for cause, feedback in case.feedbacks:
        if not Guess(spec).violations(case.steps.with_feedback(feedback)):
            return (*findings, Finding(cause))
    if _only_first_step(case, spec):
        return (*findings, Finding(_initial_state(case)))
    late = _late_spikes(case)
    if late is not None:
        return (*findings, Finding(late))
    for guess in _guesses(case, spec):
        if not guess.violations(case.steps):
            smallest = _reduced(guess, spec, case.steps)
            return (*findings, *(case.wording.findings(spec, smallest) or _choices(case)))
    return (*findings, *(_choices(case) or _untrusted(case, trusted) or _best(case, spec)))


def _choices(case: NeuronCase) -> list[Finding]:
    """Another class of neuron, inhibition or quantizer on b's side, as its graph says."""
    a, b = case.labels
    other = case.other
    if other is None:
        return []
    words = [
        ("neuron class", f"{b}'s {case.layer} is a {other.kind}, {a}'s a {case.spec.kind}."),
        (
            "inhibition",
            f"{b}'s {case.layer} has inhibition={other.inhibition}, {a}'s {case.spec.inhibition}.",
        ),
        ("quantizer", f"{b}'s {case.layer} rounds its states to other levels than {a}'s, or not at all."),
    ]
    differ = (
        other.kind != case.spec.kind,
        other.inhibition != case.spec.inhibition,
        other.quantizer != case.spec.quantizer,
    )
    return [Finding(Cause(*word, certain=False)) for word, other in zip(words, differ, strict=True) if other]


def _guesses(case: NeuronCase, spec: NeuronSpec) -> Iterator[Guess]:
    """Neurons to try: one other choice, what b's graph says, other numbers, then both."""
    others = structures(spec)
    for other in others[1:]:
        yield Guess(other)
    if case.other is not None and case.other.kind == spec.kind:
        yield Guess(case.other)
    for other in others:
        for each in (False, True):
            yield fitted(other, case.steps, each=each)


def _reduced(guess: Guess, spec: NeuronSpec, steps: Steps) -> Guess:
    """``guess`` with everything put back to ``spec`` that the recording does not need."""
    if guess.gain != 1.0 and not Guess(guess.spec).violations(steps):
        guess = Guess(guess.spec)
    for option in ("reset_mechanism", "reset_delay"):
        trial = Guess(guess.spec.with_options(**{option: getattr(spec, option)}), guess.gain)
        guess = guess if trial.violations(steps) else trial
    for name in guess.spec.values:
        if name in spec.values:
            trial = Guess(guess.spec.with_values(**{name: spec.values[name]}), guess.gain)
            guess = guess if trial.violations(steps) else trial
    return guess


def _untrusted(case: NeuronCase, trusted: bool) -> list[Finding]:
    """That side a itself does not do what its parameters say, if so."""
    if trusted:
        return []
    text = (
        f"what {case.labels[0]} recorded at {case.layer} is not what its own parameters make of its states "
        "and currents; they are wrong in its graph, or it computes another equation."
    )
    return [Finding(Cause("unknown", text, certain=False))]


def _best(case: NeuronCase, spec: NeuronSpec) -> list[Finding]:
    """The guess that leaves the fewest steps open, if it explains most of them; else that nothing does."""
    a, b = case.labels
    if case.feedbacks and not (case.steps.violations(spec) & ~case.steps.fed_back).any():
        text = (
            f"the recurrent weights of {case.layer} differ: {b}'s steps are {a}'s wherever no spike "
            "is fed back."
        )
        return [Finding(Cause("weights", text, certain=False))]
    before = Guess(spec).violations(case.steps)
    best = min(_guesses(case, spec), key=lambda guess: guess.violations(case.steps))
    if best.violations(case.steps) < before / 10:
        return [
            Finding(Cause(f.cause.kind, f.cause.text, certain=False), f.decays)
            for f in case.wording.findings(spec, best)
        ]
    text = (
        f"{b}'s {case.layer} takes {before} steps that no reset, decay, threshold or gain makes of "
        "its state and current."
    )
    return [Finding(Cause("unknown", text, certain=False))]


def _at_or_above(spec: NeuronSpec, dtype: np.dtype) -> NeuronSpec:
    """A neuron that also fires at its threshold: one whose threshold is the number below it."""
    threshold = np.asarray(spec.values["threshold"]).astype(dtype)
    return spec.with_values(threshold=np.nextafter(threshold, np.asarray(-np.inf, dtype)))


def _fires_at_threshold(steps: Steps, spec: NeuronSpec) -> bool:
    """Whether membranes that meet the threshold exactly fire, each time."""
    dtype = steps.current.dtype
    charged = steps.after["mem"] if spec.reset_delay else steps.move(spec).charged
    level = charged.astype(dtype) == np.asarray(spec.values["threshold"]).astype(dtype)
    return bool(level.any()) and bool((steps.spk[level] != 0).all())


def _only_first_step(case: NeuronCase, spec: NeuronSpec) -> bool:
    wrong = case.steps.violations(spec)
    return len(wrong) > 1 and not wrong[1:].any()


def _initial_state(case: NeuronCase) -> Cause:
    a, b = case.labels
    move = case.steps.move(case.spec)
    gaps = {
        name: float(np.abs(case.steps.after[name][0] - state[0]).max()) for name, state in move.states.items()
    }
    name = max(gaps, key=lambda key: gaps[key])
    return Cause(
        "initial state",
        f"{b}'s {case.layer} starts from another state than zero ({name} is off by up to "
        f"{gaps[name]:.4g} after the first step) and then does what {a}'s does; reset its hidden state "
        "before the run.",
    )


def _late_spikes(case: NeuronCase) -> Cause | None:
    """b emits the spike of each step one step later."""
    steps, dtype = case.steps, case.steps.current.dtype
    limit = np.asarray(case.spec.values["threshold"]).astype(dtype)
    above = (steps.after["mem"] > limit).astype(np.float64)
    late = bool((np.sign(np.abs(steps.spk[1:])) == above[:-1]).all()) and not steps.spk[0].any()
    if not late or not case.spec.reset_delay or np.array_equal(above, np.sign(np.abs(steps.spk))):
        return None
    a, b = case.labels
    return Cause(
        "delay",
        f"{b}'s {case.layer} emits its spikes one step after its membrane crosses the threshold, "
        f"{a}'s at once.",
    )
