"""Causes in plain words, with the values of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax.interop.compare.entries import Cause
from snnax.interop.compare.fitting import Guess
from snnax.interop.compare.stepping import recursion
from snnax.interop.nodes.spec import NeuronSpec

Array = np.ndarray
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
        left, right, found = recursion(spec), recursion(other), []
        if _differ(left.decay, right.decay):
            text = self.compared("decays with 1 - dt/(RC) =", left.decay, right.decay)
            found.append(Finding(Cause("beta", text), _pairs(left.decay, right.decay)))
        if _differ(left.gain, right.gain):
            text = self.compared("multiplies its input by dt/C =", left.gain, right.gain)
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
