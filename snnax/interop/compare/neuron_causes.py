"""Why a neuron differs although it gets the same current: changes to a's neuron, tried on b's recorded steps.

The cause is the first change under which every recorded step of ``b`` is what the equation of the changed neuron makes
of the recorded state before it, up to rounding. Of numbers that were fitted, those are put back that need not be
different. :data:`TRIES` lists the changes in the order in which they are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.differences import Finding, Place, differences
from snnax.interop.compare.equation import Equation
from snnax.interop.compare.evidence import Evidence, Judged, cut
from snnax.interop.compare.fitting import Guess, fitted, inferred, structures
from snnax.interop.compare.report import Cause, place
from snnax.interop.compare.stages import edited, looped_nodes, recurrent_current, recurrent_nodes
from snnax.interop.compare.steps import Steps, earliest, pick, take
from snnax.interop.spec import NeuronSpec

Array = np.ndarray
SAMPLES = 8
"""How many samples are looked at, those that part earliest."""


@dataclass(frozen=True)
class NeuronCase:
    """A layer whose neurons part, and the ones that part earliest.

    Attributes:
        place: whose they are.
        spec: the neuron of the reference.
        other: what b's graph says, if anything.
        steps: recorded steps of b's.
        reference: the same of a's.
        feedbacks: recurrent currents ``[T, P]`` that a defect would make of the spikes, each with its cause.
        first: where the sides part first, in words.
    """

    place: Place
    spec: NeuronSpec
    other: NeuronSpec | None
    steps: Steps
    reference: Steps
    feedbacks: tuple[tuple[Cause, Array], ...]
    first: str

    @classmethod
    def of(cls, found: Evidence, name: str, judged: Judged) -> NeuronCase | None:
        """The case of a layer; ``None`` where states or parameters are not known."""
        spec, other = found.specs[name]
        a, b = found.a.nodes[name], found.replay.nodes[name]
        states = set(a.states) & set(b.states)
        if not (set(spec.states) <= states if spec is not None else "mem" in states):
            return None
        samples = earliest(judged.unexplained, SAMPLES)
        picked = pick(judged.unexplained[:, samples])
        feedback, bound = _feedback(found, name, samples)
        levelled = found.equation(name).levelled
        reference, steps = (
            Steps.of(levelled(cut(trace, samples)), picked, feedback, bound) for trace in (a, b)
        )
        local = inferred(reference) if spec is None else steps.local(spec)
        if local is None:
            return None
        spk = cut(a, samples).spk
        return cls(
            Place(found.labels, name, steps.neurons, steps.shape),
            local,
            None if other is None else steps.local(other),
            steps,
            reference,
            tuple((cause, take(values, picked)) for cause, values in _other_feedback(found, name, spk)),
            first_place(found, name, judged),
        )

    @cached_property
    def ties(self) -> tuple[bool, bool]:
        """Whether a, and b, fire at the threshold, not only above it."""
        at_threshold = [_fires_at_threshold(steps, self.spec) for steps in (self.reference, self.steps)]
        return at_threshold[0], at_threshold[1]

    @cached_property
    def base(self) -> NeuronSpec:
        """a's neuron, firing at the threshold if b does."""
        return self.compared(self.spec)

    def compared(self, spec: NeuronSpec) -> NeuronSpec:
        """A neuron, firing at the threshold if b does."""
        return _at_or_above(spec, self.steps) if self.ties[1] else spec

    @property
    def trusted(self) -> bool:
        """Whether a itself does what its parameters say."""
        own = _at_or_above(self.spec, self.reference) if self.ties[0] else self.spec
        return not self.reference.violations(own).any()


def neuron_causes(case: NeuronCase) -> list[Finding]:
    """The threshold comparison, if it is another, and the first try that holds; else what is left to say."""
    found = []
    if case.ties[0] != case.ties[1]:
        fires, other = case.place.labels if case.ties[0] else case.place.labels[::-1]
        text = f"{fires} fires when the membrane equals the threshold (>=), {other} only above it (>)."
        found.append(Finding(Cause("threshold comparison", text)))
    for tries in TRIES:
        for attempt in tries(case):
            if attempt.holds:
                return [*found, *attempt.findings()]
    return [*found, *(_told_apart(case) or _untrusted(case) or _nearest(case))]


# --- The tries: each changes a's neuron, or what it received or emitted ----------------------------


@dataclass(frozen=True)
class Try:
    """A neuron that b's may be.

    Attributes:
        guess: it.
        steps: b's recorded steps, or what of them it has to account for.
        findings: what to say if it made all of them.
    """

    guess: Guess
    steps: Steps
    findings: Callable[[], list[Finding]]

    @property
    def holds(self) -> bool:
        """Whether every step is what the neuron makes of the state before it."""
        return not self.guess.violations(self.steps)


Tries = Callable[[NeuronCase], Iterator[Try]]


def _same_neuron(case: NeuronCase) -> Iterator[Try]:
    """b's neuron is a's: then the graphs may tell another choice, or a's is wrong."""
    yield Try(Guess(case.base), case.steps, lambda: _told_apart(case) or _untrusted(case))


def _other_spec(case: NeuronCase) -> Iterator[Try]:
    """b's neuron is what its graph says."""
    spec, other = case.spec, case.other
    if other is None or (spec.kind, spec.inhibition) != (other.kind, other.inhibition):
        return  # whose spikes are not those of its equation alone
    if differences(case.place, spec, other):
        yield _changed(case, Guess(case.compared(other)))


def _other_recurrence(case: NeuronCase) -> Iterator[Try]:
    """b's spikes come back to it by other weights, or at another time."""
    for cause, current in case.feedbacks:
        yield Try(Guess(case.base), case.steps.with_feedback(current), partial(list, [Finding(cause)]))


def _other_start(case: NeuronCase) -> Iterator[Try]:
    """b does what a does from the second step on."""
    if len(case.steps.spk) > 1:
        rest = case.steps.part(slice(1, None))
        yield Try(Guess(case.base), rest, lambda: [Finding(_initial_state(case))])


def _late_spikes(case: NeuronCase) -> Iterator[Try]:
    """b emits the spike of each step one step later."""
    a, b = case.place.labels
    layer = case.place.layer
    text = f"{b}'s {layer} emits its spikes one step after its membrane crosses the threshold, {a}'s at once."
    if case.spec.reset_delay and len(case.steps.spk) > 1 and not case.steps.spk[0].any():
        early = case.steps.part(slice(None, -1), slice(1, None))
        yield Try(Guess(case.base), early, lambda: [Finding(Cause("delay", text))])


def _other_reset(case: NeuronCase) -> Iterator[Try]:
    """b resets by another mechanism, or at another time."""
    for spec in structures(case.base)[1:]:
        yield _changed(case, Guess(spec))


def _other_numbers(case: NeuronCase) -> Iterator[Try]:
    """b has other decays, another gain or threshold, and perhaps another reset."""
    for spec in structures(case.base):
        for each in (False, True):
            yield _changed(case, fitted(spec, case.steps, each=each))


def _changed(case: NeuronCase, guess: Guess) -> Try:
    def findings() -> list[Finding]:
        smallest = guess.reduced(case.base, case.steps)
        return _guessed(case, smallest) or _told_apart(case)

    return Try(guess, case.steps, findings)


TRIES: tuple[Tries, ...] = (
    _same_neuron,
    _other_spec,
    _other_recurrence,
    _other_start,
    _late_spikes,
    _other_reset,
    _other_numbers,
)
"""In this order; of those that hold the first one is the cause."""


# --- What is said ----------------------------------------------------------------------------------


def _guessed(case: NeuronCase, guess: Guess) -> list[Finding]:
    """How a guess differs from a's neuron."""
    a, b = case.place.labels
    found = [_bracketed(case, guess, f) for f in differences(case.place, case.base, guess.spec)]
    if guess.gain != 1.0:
        text = f"{b}'s {case.place.layer} multiplies its input by {guess.gain:.6g}, {a}'s takes it as it is."
        at = sum(bool(finding.decays) or "reset" in finding.cause.kind for finding in found)
        found.insert(at, Finding(Cause("gain", text)))
    return found


def _bracketed(case: NeuronCase, guess: Guess, finding: Finding) -> Finding:
    """A finding; of a threshold of which the recording tells no more than bounds, these, at the neuron furthest off."""
    if guess.bracket is None or finding.cause.kind != "threshold":
        return finding
    a, b = case.place.labels
    mine, theirs = (np.asarray(s.values["threshold"], float).ravel() for s in (case.base, guess.spec))
    far = int(np.abs(theirs - mine).argmax()) if theirs.size > 1 else 0
    low, high = (float(bound[far]) for bound in guess.bracket)
    if np.isinf(high):
        words = f"above {low:.6g}"
    elif np.isinf(low):
        words = f"up to {high:.6g}"
    else:
        words = f"between {low:.6g} and {high:.6g}"
    text = f"{b} has a threshold {words} (its steps tell no more) where {a} has {mine[far % mine.size]:.6g}."
    return replace(finding, cause=replace(finding.cause, text=text))


def _told_apart(case: NeuronCase) -> list[Finding]:
    """Another class of neuron, inhibition or quantizer on b's side, as its graph says."""
    if case.other is None:
        return []
    found = differences(case.place, case.spec, case.other)
    return [f.guessed() for f in found if f.cause.kind in ("neuron class", "inhibition", "quantizer")]


def _untrusted(case: NeuronCase) -> list[Finding]:
    """That side a itself does not do what its parameters say, if so."""
    if case.trusted:
        return []
    text = (
        f"what {case.place.labels[0]} recorded at {case.place.layer} is not what its own parameters make of its "
        "states and currents; they are wrong in its graph, or it computes another equation."
    )
    return [Finding(Cause("unknown", text, certain=False))]


def _nearest(case: NeuronCase) -> list[Finding]:
    """The guess that leaves the fewest steps open, if it explains most of them; else that nothing does."""
    a, b = case.place.labels
    if case.feedbacks and not (case.steps.violations(case.base) & ~case.steps.fed_back).any():
        text = (
            f"the recurrent weights of {case.place.layer} differ: {b}'s steps are {a}'s wherever no spike "
            "is fed back."
        )
        return [Finding(Cause("weights", text, certain=False))]
    guesses = [t.guess for tries in (_other_spec, _other_reset, _other_numbers) for t in tries(case)]
    best = min(guesses, key=lambda guess: guess.violations(case.steps))
    wrong = Guess(case.base).violations(case.steps)
    if best.violations(case.steps) < wrong / 10:
        return [finding.guessed() for finding in _guessed(case, best)]
    text = (
        f"{b}'s {case.place.layer} takes {wrong} steps that no reset, decay, threshold or gain makes of its "
        f"state and current, first {case.first}."
    )
    return [Finding(Cause("unknown", text, certain=False))]


def first_place(found: Evidence, name: str, judged: Judged) -> str:
    """Where a layer is unexplained first: step, sample, neuron, and what both sides have there."""
    spot = judged.divergence(found, name, found.replay, judged.unexplained)
    return "" if spot is None else place(spot, found.labels)


def _initial_state(case: NeuronCase) -> Cause:
    a, b = case.place.labels
    move = case.steps.move(case.spec)
    gaps = {
        name: float(np.abs(case.steps.after[name][0] - state[0]).max()) for name, state in move.states.items()
    }
    name = max(gaps, key=lambda key: gaps[key])
    return Cause(
        "initial state",
        f"{b}'s {case.place.layer} starts from another state than zero ({name} is off by up to "
        f"{gaps[name]:.4g} after the first step) and then does what {a}'s does; reset its hidden state "
        "before the run.",
    )


def _at_or_above(spec: NeuronSpec, steps: Steps) -> NeuronSpec:
    """A neuron that also fires at its threshold: one whose threshold is the number below it."""
    dtype = steps.current.dtype
    threshold = np.asarray(spec.values["threshold"]).astype(dtype)
    return spec.with_values(threshold=np.nextafter(threshold, np.asarray(-np.inf, dtype)))


def _fires_at_threshold(steps: Steps, spec: NeuronSpec) -> bool:
    """Whether membranes that meet the threshold exactly fire, each time."""
    dtype = steps.current.dtype
    charged = steps.after[Equation.of(spec).membrane] if spec.reset_delay else steps.move(spec).charged
    level = charged.astype(dtype) == np.asarray(spec.values["threshold"]).astype(dtype)
    return bool(level.any()) and bool((steps.spk[level] != 0).all())


# --- Recurrent currents that a defect would make of a layer's recorded spikes ----------------------


def _feedback(found: Evidence, name: str, samples: Array) -> tuple[Array | None, Array | float]:
    """a's recurrent current of a layer in some samples ``[T, b, ...]``, and its rounding bound."""
    low, high = int(samples.min()), int(samples.max()) + 1
    bound = found.bounds.of(name, slice(low, high), found.specs[name][0])
    shape = found.a.nodes[name].spk[:, low:high].shape
    feedback = None if bound.feedback is None else bound.feedback[:, samples - low]
    return feedback, np.broadcast_to(bound.feedback_bound, shape)[:, samples - low]


def _other_feedback(found: Evidence, name: str, spk: Array) -> Iterator[tuple[Cause, Array]]:
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
            late = np.concatenate([silent[:1], given[1:]])
            yield Cause("recurrent bias", f"{text} the first step, too."), late
        if weight.ndim == 2:
            twin = recurrent_current([edited(node, weight=weight.T)], spk)
            text = f"{b} uses the recurrent weights of {name} with inputs and outputs swapped."
            yield Cause("weights", text), twin
        yield Cause("weights", f"{b} leaves out the recurrent weights of {name}."), np.zeros_like(given)
        late = np.concatenate([given[:1], given[:-1]])
        yield Cause("delay", f"{b} feeds the spikes of {name} back a step later than {a}."), late
        theirs = looped_nodes(found.graphs[1], found.names[name])
        if theirs:
            text = f"the recurrent weights of {name} in {b} are not those in {a}."
            yield Cause("weights", text), recurrent_current(theirs, spk)
    except (ConversionError, ValueError, IndexError):
        return
