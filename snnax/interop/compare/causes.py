"""How the causes of an unexplained layer are found.

The first two of these end the search; what 3 and 4 find is told in this order, the likeliest first:

1. a recorded number that is not finite;
2. a step that starts from something else than the operations between two steps make of what was recorded;
3. where the current differs although the same spikes went in: hypotheses about the layers before, each of which
   predicts b's current (:mod:`~snnax.interop.compare.current_causes`). Of a layer whose neurons mix it is only said
   that the current differs, and 4 is left out;
4. whether b's neuron is a's: changes to a's neuron, each tried by taking b's recorded steps again, one by one, with the
   equation of the changed neuron (:mod:`~snnax.interop.compare.neuron_causes`). Of a layer whose neurons mix, and where
   states or parameters are not known, the things in which the two specs differ
   (:mod:`~snnax.interop.compare.differences`), which are guesses;
5. if nothing was found, "unknown", with the first place where the sides part.
"""

from __future__ import annotations

import numpy as np

from snnax.interop.compare.cells import Cell
from snnax.interop.compare.current_causes import CurrentCase, current_causes
from snnax.interop.compare.differences import ROUNDING, Finding, Place, apart, differences
from snnax.interop.compare.evidence import Evidence, Judged, cut
from snnax.interop.compare.neuron_causes import NeuronCase, first_place, neuron_causes
from snnax.interop.compare.report import Cause
from snnax.interop.compare.steps import earliest
from snnax.interop.compare.verdict import misplaced
from snnax.interop.trace import NodeTrace

FRAMES = 512
"""How many frames (steps times samples) a hypothesis about a current is tried on; one whole sample is the least."""
MOST_SAMPLES = 8
"""And samples at most: those that part earliest."""


def diagnose(found: Evidence, name: str, judged: Judged) -> tuple[Finding, ...]:
    """Likely causes of what is unexplained at a layer, the likeliest first."""
    sides = (found.replay.nodes[name], found.labels[1]), (found.a.nodes[name], found.labels[0])
    for trace, label in sides:
        text = _not_finite(trace, label)
        if text is not None:
            return (Finding(Cause("unknown", text)),)
    if judged.bad_start.any():
        return (Finding(_between_steps(found, name)),)
    cell, findings = Cell.of(found.specs[name][0]), []
    if judged.bad_current.any():
        findings += _current(found, name, judged, cell)
    if cell is not None:
        findings += [] if findings else _layer(found, name, judged, cell)
    else:
        case = NeuronCase.of(found, name, judged)
        findings += _specs(found, name) if case is None else neuron_causes(case)
    return tuple(findings) or (Finding(_unknown(found, name, judged)),)


def _not_finite(trace: NodeTrace, label: str) -> str | None:
    """Words for the first recorded value that is NaN or infinite."""
    for what, values in (("current", trace.input), *trace.states.items(), ("spikes", trace.spk)):
        wrong = ~np.isfinite(values.astype(np.float64))
        if wrong.any():
            at = np.unravel_index(int(wrong.argmax()), wrong.shape)
            kind = "NaN" if np.isnan(values[at]) else "infinite"
            return f"{what} of {trace.name} in {label} is {kind} from step {int(at[0])} on."
    return None


def _between_steps(found: Evidence, name: str) -> Cause:
    """Which side changes a state otherwise between two steps, where first and by how much."""
    texts = []
    for trace, label in zip((found.a.nodes[name], found.replay.nodes[name]), found.labels, strict=True):
        wrong = misplaced(trace)
        if trace.told is None or not wrong.any():
            continue
        at = np.unravel_index(int(wrong.argmax()), wrong.shape)
        line = f", at {trace.told.line}," if trace.told.line else ""
        for state, meant in trace.told.starts.items():
            start = trace.before()[state]
            if (
                start.shape == wrong.shape
                and abs(float(start[at]) - float(meant[at])) > trace.told.slack[state][at[0]].max()
            ):
                neuron = ", ".join(str(int(i)) for i in at[2:])
                words = apart(float(start[at]), float(meant[at]))
                texts.append(
                    f"{label}'s {name} starts step {int(at[0])} of sample {int(at[1])} at neuron ({neuron}) from "
                    f"{state}={words[0]}; what forward does between two steps{line} makes {words[1]} of what was "
                    f"recorded in {label}."
                )
    return Cause(
        "between steps", " ".join(texts) or f"the steps of {name} start from other states than they should."
    )


def _current(found: Evidence, name: str, judged: Judged, cell: Cell | None) -> list[Finding]:
    """Why the current differs; of a layer with weights of its own only that it does."""
    a, b = found.labels
    if cell is not None:
        text = f"the input of {b}'s {name} is not that of {a}'s: look at the weights of the layers before it."
        return [Finding(Cause("current", text, certain=False))]
    samples = earliest(judged.bad_current, int(np.clip(FRAMES // len(found.x), 1, MOST_SAMPLES)))
    left, right = (
        cut(trace.nodes[name], samples).input.astype(np.float64) for trace in (found.a, found.replay)
    )
    case = CurrentCase(name, found, samples, left, right, judged.bound[:, samples].astype(np.float64))
    return [Finding(cause) for cause in current_causes(case)]


def _layer(found: Evidence, name: str, judged: Judged, cell: Cell) -> list[Finding]:
    """Of a layer whose neurons mix: a tie, the things in which the two specs differ, or a side that strays."""
    b = found.labels[1]
    if found.specs[name][1] is None:
        return []
    if judged.at_tie.any():
        text = f"{b}'s {name} fires at the threshold, not only above it."
        return [Finding(Cause("threshold comparison", text))]
    if differing := _specs(found, name):
        return differing
    sides = zip(found.labels, (found.a.nodes[name], found.replay.nodes[name]), strict=True)
    wrong = [label for label, trace in sides if cell.strays(trace)]
    text = (
        f"'s {name} does not compute what its own weights say, to rounding. {cell.spec.family.torch_rounding}"
    )
    return [Finding(Cause("numerics", f"{label}{text}".rstrip(), certain=False)) for label in wrong]


def _specs(found: Evidence, name: str) -> list[Finding]:
    """What the graphs say of the two neurons, where nothing can be tried."""
    left, right = found.specs[name]
    if left is None or right is None:
        return []
    place = Place.whole(found.labels, name, found.a.nodes[name].spk.shape[2:])
    return [finding.guessed() for finding in differences(place, left, right, ROUNDING)]


def _unknown(found: Evidence, name: str, judged: Judged) -> Cause:
    a, b = found.labels
    return Cause(
        "unknown",
        f"{b}'s {name} differs from {a}'s by more than rounding, first {first_place(found, name, judged)}; no "
        "hypothesis about its current, decay, threshold or reset reproduces it; compare its parameters on both sides.",
        certain=False,
    )
