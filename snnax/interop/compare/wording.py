"""Causes in plain words, with the values of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax.interop.compare.fitting import Guess
from snnax.interop.compare.report import Cause
from snnax.interop.compare.stepping import recursion
from snnax.interop.nodes.spec import NeuronSpec

Array = np.ndarray
_RESETS = {
    "subtract": "subtracts the threshold",
    "zero": "sets the membrane to zero",
    "none": "does not reset",
}


@dataclass(frozen=True)
class Finding:
    """A cause and, for decays, the values of both sides ``(a, b)`` by which a wrong time step is recognised."""

    cause: Cause
    decays: tuple[tuple[float, float], ...] = ()


def say_guess(layer: str, labels: tuple[str, str], spec: NeuronSpec, guess: Guess) -> tuple[Finding, ...]:
    """One finding for each way in which ``guess``, b's neuron, differs from ``spec``, a's."""
    a, b = labels
    other, findings = guess.spec, []
    if other.reset_mechanism != spec.reset_mechanism:
        text = f"{b} {_RESETS[other.reset_mechanism]} at a reset where {a} {_RESETS[spec.reset_mechanism]}."
        findings.append(Finding(Cause("reset mechanism", text)))
    if other.reset_delay != spec.reset_delay:
        late = "one step after the spike (reset_delay=True)", "in the step of the spike (reset_delay=False)"
        mine, yours = (late[0], late[1]) if spec.reset_delay else (late[1], late[0])
        findings.append(Finding(Cause("reset delay", f"{b} resets {yours} where {a} resets {mine}.")))
    if spec.kind == "Lapicque":
        findings += _circuit(labels, spec, other)
    for name in ("beta", "alpha"):
        if name in spec.values and _differ(spec.values[name], other.values[name]):
            left, right = spec.values[name], other.values[name]
            what = "decays with beta" if name == "beta" else "has synaptic decay alpha"
            text = f"{b} {what} {say(right)} where {a} has {say(left)}."
            findings.append(Finding(Cause(name, text), _pairs(left, right)))
    if guess.gain != 1.0:
        text = f"{b}'s {layer} multiplies its input current by {guess.gain:.6g}, {a}'s takes it as it is."
        findings.append(Finding(Cause("gain", text)))
    if _differ(spec.values["threshold"], other.values["threshold"]):
        left, right = spec.values["threshold"], other.values["threshold"]
        findings.append(
            Finding(Cause("threshold", f"{b} has threshold {say(right)} where {a} has {say(left)}."))
        )
    if _differ(spec.values.get("graded_spikes_factor", 1.0), other.values.get("graded_spikes_factor", 1.0)):
        left, right = (s.values.get("graded_spikes_factor", 1.0) for s in (spec, other))
        findings.append(
            Finding(Cause("gain", f"{b} emits spikes of height {say(right)}, {a} of height {say(left)}."))
        )
    return tuple(findings)


def _circuit(labels: tuple[str, str], spec: NeuronSpec, other: NeuronSpec) -> list[Finding]:
    """Lapicque: the decay and gain that R, C and the time step make."""
    a, b = labels
    left, right, findings = recursion(spec), recursion(other), []
    if _differ(left.decay, right.decay):
        text = f"{b} decays with 1 - dt/(RC) = {say(right.decay)} where {a} has {say(left.decay)}."
        findings.append(Finding(Cause("beta", text), _pairs(left.decay, right.decay)))
    if _differ(left.gain, right.gain):
        text = f"{b} multiplies its input by dt/C = {say(right.gain)} where {a} has {say(left.gain)}."
        findings.append(Finding(Cause("gain", text)))
    return findings


def tie_text(labels: tuple[str, str], first: bool) -> str:
    """Which side fires at the threshold."""
    fires, other = labels if first else labels[::-1]
    return f"{fires} fires when the membrane equals the threshold (>=), {other} only above it (>)."


def settle(
    findings: dict[str, tuple[Finding, ...]], labels: tuple[str, str]
) -> dict[str, tuple[Finding, ...]]:
    """Wrong decays that all come from one wrong time step, said as that.

    With the Euler step ``1 - beta = dt/tau``, with the exact one ``-ln(beta) = dt/tau``: either way a factor that all
    decays share, if several differ, or a power of ten, if it is one decay.
    """
    pairs = np.array([p for layer in findings.values() for f in layer for p in f.decays], float).reshape(
        -1, 2
    )
    factor = _common_factor(pairs)
    if factor is None:
        return findings
    a, b = labels

    def said(finding: Finding) -> Finding:
        if not finding.decays:
            return finding
        text = f"{finding.cause.text[:-1]}: what a time step of {factor:.4g} times that of {a} makes of it."
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
    return not np.allclose(
        np.asarray(left, float), np.asarray(right, float), rtol=1e-7, atol=0, equal_nan=True
    )


def say(value: Any) -> str:
    """A number, or the range of several.

    Example:
        >>> say(0.90000001), say([0.5, 0.75])
        ('0.9', '0.5 to 0.75 (by neuron)')
    """
    value = np.asarray(value, float)
    low, high = float(value.min()), float(value.max())
    return f"{low:.6g}" if f"{low:.6g}" == f"{high:.6g}" else f"{low:.6g} to {high:.6g} (by neuron)"
