"""Why a layer is unexplained: what is not finite, then its current, then its neuron."""

from __future__ import annotations

import numpy as np

from snnax.interop.compare.current_case import CurrentCase
from snnax.interop.compare.current_causes import current_causes
from snnax.interop.compare.entries import Cause
from snnax.interop.compare.evidence import Evidence, Judged, cut
from snnax.interop.compare.neuron_causes import case_of, neuron_causes
from snnax.interop.compare.wording import Finding, Wording
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
