"""Why a layer is unexplained: what is not finite, then its current, then its neuron."""

from __future__ import annotations

import numpy as np

from snnax.interop.compare.cells import Cell
from snnax.interop.compare.current_causes import CurrentCase, current_causes
from snnax.interop.compare.evidence import Evidence, Judged, cut
from snnax.interop.compare.neuron_causes import Finding, Wording, case_of, neuron_causes
from snnax.interop.compare.report import Cause
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace

Array = np.ndarray
FRAMES = 512
"""How many frames (steps times samples) a hypothesis about a current is tried on."""


def diagnose(found: Evidence, name: str, judged: Judged) -> tuple[Finding, ...]:
    """Likely causes of what is unexplained at a layer, the likeliest first."""
    a, b = found.a.nodes[name], found.replay.nodes[name]
    for trace, label in ((b, found.labels[1]), (a, found.labels[0])):
        text = _not_finite(trace, label)
        if text is not None:
            return (Finding(Cause("unknown", text)),)
    if Cell.of(found.specs[name][0]) is not None:
        return tuple(cell_causes(found, name, judged) or [Finding(_unknown(found, name))])
    findings: list[Finding] = []
    if judged.bad_current.any():
        samples = _samples(judged.bad_current, len(found.x))
        left, right = cut(a, samples), cut(b, samples)
        case = CurrentCase(
            name, found, samples, left.input.astype(np.float64), right.input.astype(np.float64),
            judged.bound[:, samples].astype(np.float64),
        )  # fmt: skip
        findings += [Finding(cause) for cause in current_causes(case)]
    neuron = case_of(found, name, judged)
    findings += neuron_causes(neuron) if neuron is not None else _by_graph(found, name)
    if not findings:
        findings.append(Finding(_unknown(found, name)))
    return tuple(findings)


def cell_causes(found: Evidence, name: str, judged: Judged) -> list[Finding]:
    """Causes of a layer with weights of its own: its input, or the first thing in which its two specs differ."""
    a, b = found.labels
    if judged.bad_current.any():
        text = f"the input of {b}'s {name} is not that of {a}'s: look at the weights of the layers before it."
        return [Finding(Cause("current", text, certain=False))]
    left, right = found.specs[name]
    if left is None or right is None:
        return []
    if judged.at_tie.any():
        return [
            Finding(Cause("threshold comparison", f"{b}'s {name} fires at the threshold, not only above it."))
        ]
    if texts := _differences(left, right):
        return [
            Finding(Cause(k, f"{b}'s {name} {text.replace('{a}', a)}", certain=False)) for k, text in texts
        ]
    sides = zip((a, b), (found.a.nodes[name], found.replay.nodes[name]), strict=True)
    wrong = [label for label, trace in sides if Cell(left).strays(trace)]
    return [Finding(_numerics(label, name, left)) for label in wrong]


def _numerics(label: str, name: str, spec: NeuronSpec) -> Cause:
    text = f"{label}'s {name} does not compute what its own weights say, to rounding."
    return Cause("numerics", f"{text} {spec.family.torch_rounding}".rstrip(), certain=False)


def _differences(left: NeuronSpec, right: NeuronSpec) -> list[tuple[str, str]]:
    """Kind of cause, and words, for each thing in which two specs differ; ``{a}`` stands for the reference."""
    found = []
    mine, theirs = left.choices, right.choices
    if left.kind != right.kind or mine != theirs:
        found.append(("neuron class", f"is a {right.kind} of {theirs}, {{a}}'s a {left.kind} of {mine}."))
    for group, kind in (("values", ""), ("weights", "weights")):
        mine, theirs = getattr(left, group), getattr(right, group)
        for key in mine.keys() & theirs.keys():
            u, v = (np.asarray(w, np.float64) for w in (mine[key], theirs[key]))
            if u.shape != v.shape and kind:
                found.append((kind, f"has {key} of shape {v.shape}, {{a}}'s is of shape {u.shape}."))
            elif not np.allclose(u, v, rtol=1e-6, atol=0):
                gap = float(np.abs(u - v).max())
                found.append((kind or key, f"has another {key}: it differs from {{a}}'s by up to {gap:.3g}."))
    for option in ("reset_mechanism", "output"):
        if getattr(left, option) != getattr(right, option):
            found.append((option.replace("_", " "), f"has {option}={getattr(right, option)!r}, {{a}}'s "
                          f"{getattr(left, option)!r}."))  # fmt: skip
    if left.quantizer != right.quantizer:
        found.append(("quantizer", "rounds its states to other levels than {a}'s, or not at all."))
    return found


def _samples(mask: Array, steps: int) -> Array:
    """The samples that part earliest, as many as fit into :data:`FRAMES`."""
    any_neuron = mask.reshape(*mask.shape[:2], -1).any(-1)
    first = np.where(any_neuron.any(0), any_neuron.argmax(0), steps)
    many = int(np.clip(FRAMES // steps, 1, 8))
    return np.sort(np.argsort(first, kind="stable")[:many])


def _not_finite(trace: NodeTrace, label: str) -> str | None:
    """Words for the first recorded value that is NaN or infinite."""
    for what, values in (("current", trace.input), *trace.states.items(), ("spikes", trace.spk)):
        wrong = ~np.isfinite(values.astype(np.float64))
        if wrong.any():
            at = np.unravel_index(int(wrong.argmax()), wrong.shape)
            kind = "NaN" if np.isnan(values[at]) else "infinite"
            return f"{what} of {trace.name} in {label} is {kind} from step {int(at[0])} on."
    return None


def _by_graph(found: Evidence, name: str) -> list[Finding]:
    """Where single steps cannot be tried: the first parameter in which the two graphs differ."""
    left, right = found.specs[name]
    if left is None or right is None:
        return []
    a, b = found.labels
    shape = found.a.nodes[name].spk.shape[2:]
    kinds = {"beta": "beta", "alpha": "alpha", "threshold": "threshold", "graded_spikes_factor": "gain"}
    for key, kind in kinds.items():
        u, v = left.values.get(key), right.values.get(key)
        if u is not None and v is not None and not np.allclose(u, v, rtol=1e-6, atol=0):
            u, v = (np.broadcast_to(w, shape).ravel() for w in (u, v))
            words = Wording(found.labels, name, np.arange(u.size), shape)
            return [Finding(Cause(kind, words.compared(f"has {key}", u, v), certain=False))]
    for option in ("reset_mechanism", "reset_delay"):
        u, v = getattr(left, option), getattr(right, option)
        if u != v:
            kind = option.replace("_", " ")
            return [Finding(Cause(kind, f"{b} has {option}={v!r} where {a} has {u!r}.", certain=False))]
    return []


def _unknown(found: Evidence, name: str) -> Cause:
    a, b = found.labels
    return Cause(
        "unknown",
        f"{b}'s {name} differs from {a}'s by more than rounding, and no hypothesis about its "
        "current, decay, threshold or reset reproduces it; compare its parameters on both sides.",
        certain=False,
    )
