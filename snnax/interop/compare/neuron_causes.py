"""Why a neuron differs although it gets the same current: other equations tried on its recorded steps.

The cause is the change to a's neuron, as small as possible, under which every recorded step of ``b`` is what
the equations of :mod:`snnax.dynamics` make of the recorded state before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snnax.interop.compare import recurrent_causes as recurrent
from snnax.interop.compare.entries import Cause
from snnax.interop.compare.evidence import Evidence, Judged, cut
from snnax.interop.compare.fitting import Guess, fitted, inferred, structures
from snnax.interop.compare.layer import float_type
from snnax.interop.compare.transitions import Steps, pick, take
from snnax.interop.compare.wording import Finding, Wording, tie_text
from snnax.interop.nodes.spec import NeuronSpec

Array = np.ndarray
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
    feedback, bound = recurrent.feedback_of(found, name, samples)
    steps = Steps.of(b, picked, float_type(b), feedback, bound)
    reference = Steps.of(a, picked, float_type(a), feedback, bound)
    local = inferred(reference) if spec is None else steps.local(spec)
    if local is None:
        return None
    alternatives = [
        (cause, take(values, picked)) for cause, values in recurrent.alternatives(found, name, a.spk)
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
