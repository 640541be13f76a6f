"""In which choices, numbers, weights and levels the neurons of two sides differ, each in words.

All that is said of two neurons is said here, whether the graphs tell them apart or a recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnax.interop.compare.report import Cause
from snnax.interop.spec import NeuronSpec

Array = np.ndarray

ROUNDING = 1e-6
"""Relative difference of two numbers that a file or another framework may make."""

RESETS = {
    "subtract": "subtracts the threshold after a spike",
    "value": "sets the membrane to its reset value after a spike",
    "zero": "sets the membrane to zero after a spike",
    "none": "does not reset after a spike",
    "nir": "sets the membrane to v_reset after a spike",
}
OWN_RESETS = {"subtract": "subtracts after a spike"}
"""Of classes whose step is their own: what they subtract need not be the threshold."""

DELAYS = {
    True: "one step after the spike (reset_delay=True)",
    False: "in the step of the spike (reset_delay=False)",
}
NUMBERS = {
    "beta": ("beta", "decays with beta"),
    "1 - dt/(RC)": ("beta", "decays with 1 - dt/(RC) ="),
    "alpha": ("alpha", "has synaptic decay alpha"),
    "dt/C": ("gain", "multiplies its input by dt/C ="),
    "threshold": ("threshold", "has threshold"),
    "graded_spikes_factor": ("gain", "emits spikes of height"),
}
"""Kind of cause, and words, for numbers that have some of their own, in the order in which they are told."""

DECAYS = ("beta", "1 - dt/(RC)", "alpha")
MEANT = {"graded_spikes_factor": np.ones(())}
"""Numbers that a neuron has where it is not given them."""


@dataclass(frozen=True)
class Finding:
    """A cause and, for decays, values of both sides ``(a, b)`` by which a wrong time step is recognised."""

    cause: Cause
    decays: tuple[tuple[float, float], ...] = ()

    def guessed(self) -> Finding:
        """The same, not certain."""
        return replace(self, cause=replace(self.cause, certain=False))


@dataclass(frozen=True)
class Place:
    """Whose neurons are spoken of.

    Attributes:
        labels: names of the sides.
        layer: name of the layer.
        neurons: flat index in the layer of each neuron that arrays of numbers are of.
        shape: shape of the layer.
    """

    labels: tuple[str, str]
    layer: str
    neurons: Array
    shape: tuple[int, ...]

    @classmethod
    def whole(cls, labels: tuple[str, str], layer: str, shape: tuple[int, ...]) -> Place:
        """All neurons of a layer."""
        return cls(labels, layer, np.arange(int(np.prod(shape))), shape)

    def compared(self, what: str, left: Any, right: Any) -> str:
        """``B <what> 0.85 where A has 0.9.``; of values by neuron, those furthest apart."""
        a, b = self.labels
        left, right = (self._each(np.asarray(value, float)) for value in (left, right))
        far = int(np.abs(left - right).argmax())
        words = apart(left[far], right[far])
        if np.ptp(left) == 0 and np.ptp(right) == 0:
            return f"{b} {what} {words[1]} where {a} has {words[0]}."
        neuron = ", ".join(str(int(i)) for i in np.unravel_index(int(self.neurons[far]), self.shape))
        return f"{b} {what} {words[1]} where {a} has {words[0]} at neuron ({neuron}), the one furthest off."

    def _each(self, values: Array) -> Array:
        if values.size == 1:
            return np.broadcast_to(values.ravel(), self.neurons.shape)
        return values if values.shape == self.neurons.shape else np.broadcast_to(values, self.shape).ravel()


def differences(place: Place, a: NeuronSpec, b: NeuronSpec, rtol: float = 0.0) -> list[Finding]:
    """Each thing in which b's neuron is another than a's; of another class only that it is one.

    Args:
        place: whose they are; numbers are one for all or one for each of its neurons.
        a: the neuron of the reference.
        b: the other one.
        rtol: relative difference of numbers that is none.
    """
    left, right = place.labels
    if a.kind != b.kind:
        text = f"{right}'s {place.layer} is {_a(b.kind)}, {left}'s {_a(a.kind)}."
        return [Finding(Cause("neuron class", text))]
    found = [Finding(Cause(kind, text)) for kind, text in _choices(place, a, b)]
    found += list(_numbers(place, a, b, rtol))
    for name in a.weights.keys() & b.weights.keys():
        text = _weights(name, np.asarray(a.weights[name]), np.asarray(b.weights[name]))
        if text:
            found.append(Finding(Cause("weights", f"{right}'s {place.layer} {text}".replace("{a}", left))))
    if a.quantizer != b.quantizer:
        text = f"{right}'s {place.layer} rounds its states to other levels than {left}'s, or not at all."
        found.append(Finding(Cause("quantizer", text)))
    return found


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIO' else 'a'} {kind}"


def _choices(place: Place, a: NeuronSpec, b: NeuronSpec) -> Iterator[tuple[str, str]]:
    """Kind of cause and words for what is no number: resets, inhibition, and what is specific to a family."""
    left, right = place.labels
    mine, theirs = (_meant(spec) for spec in (a, b))
    special = []
    for key in dict.fromkeys((*mine, *theirs)):
        u, v = mine.get(key), theirs.get(key)
        if u == v:
            continue
        if key == "reset_mechanism" and {u, v} <= {*RESETS}:
            what = [
                OWN_RESETS.get(str(m), RESETS[str(m)]) if a.family.own else RESETS[str(m)] for m in (v, u)
            ]
            yield "reset mechanism", f"{right} {what[0]} where {left} {what[1]}."
        elif key == "reset_delay":
            yield "reset delay", f"{right} resets {DELAYS[bool(v)]} where {left} resets {DELAYS[bool(u)]}."
        elif key in ("inhibition", "dt", "output"):
            yield key, f"{right}'s {place.layer} has {key}={v!r}, {left}'s {u!r}."
        else:
            special.append(key)
    if special:
        words = (", ".join(f"{key}={of.get(key)!r}" for key in special) for of in (theirs, mine))
        yield (
            "neuron class",
            f"{right}'s {place.layer} has {next(words)}, {left}'s has {next(words)}.",
        )


def _meant(spec: NeuronSpec) -> dict[str, Any]:
    """The choices that what it computes depends on; ``output`` only where it decides what is emitted."""
    names: tuple[str, ...] = ("reset_mechanism", "reset_delay", "inhibition")
    if spec.family.native:  # whose choices say all of it
        names = ()
    if spec.family.sequence:
        names = (*names, "output")
    return {**{name: getattr(spec, name) for name in names}, **spec.choices}


def _numbers(place: Place, a: NeuronSpec, b: NeuronSpec, rtol: float) -> Iterator[Finding]:
    mine, theirs = ({**MEANT, **spec.family.told(spec.values)} for spec in (a, b))
    for name in dict.fromkeys((*NUMBERS, *mine)):
        if name not in mine or name not in theirs:
            continue
        u, v = (np.asarray(numbers[name], np.float64) for numbers in (mine, theirs))
        if np.allclose(v, u, rtol=rtol, atol=0.0):
            continue
        kind, what = NUMBERS.get(name, (name, f"has {name}"))
        decays = _pairs(u, v) if name in DECAYS else ()
        yield Finding(Cause(kind, place.compared(what, u, v)), decays)


def _weights(name: str, a: Array, b: Array) -> str:
    if a.shape != b.shape:
        return f"has {name} of shape {b.shape}, {{a}}'s is of shape {a.shape}."
    if np.allclose(a, b, rtol=ROUNDING, atol=0):
        return ""
    gap = float(np.abs(a.astype(np.float64) - b).max())
    return f"has another {name}: it differs from {{a}}'s by up to {gap:.3g}."


def _pairs(left: Array, right: Array) -> tuple[tuple[float, float], ...]:
    both = np.stack(np.broadcast_arrays(left, right), -1).reshape(-1, 2)
    return tuple((float(p), float(q)) for p, q in both[:64])


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


# --- Wrong decays that all come from one wrong time step ------------------------------------------


def settle(
    findings: dict[str, tuple[Finding, ...]], labels: tuple[str, str]
) -> dict[str, tuple[Finding, ...]]:
    """Findings by layer, in which decays that one wrong time step accounts for are told as that.

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
        tens = np.log10(factor)
        if several or (round(tens) != 0 and abs(tens - round(tens)) < 1e-3):
            return factor
    return None
