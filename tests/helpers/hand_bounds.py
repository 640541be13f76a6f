"""The rounding bound of one step worked out by hand, family by family: what the judge's own is held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnax.interop.compare.equation import ROUNDINGS
from snnax.interop.spec import NeuronSpec

Array = np.ndarray
Gaps = Mapping[str, Array]


@dataclass(frozen=True)
class Recursion:
    """Constants of one neuron layer's equation; arrays broadcast over its neurons.

    Attributes:
        decay: factor of the membrane from one step to the next.
        syn_decay: factor of the synaptic current (the excitatory one of Alpha).
        gain: factor of the input current.
        threshold: firing threshold, subtracted at a reset.
        scale: Alpha only: membrane per unit of synaptic current.
        scale_roundings: Alpha only: rounding errors in ``scale``, which two logarithms amplify.
    """

    decay: Array | float = 1.0
    syn_decay: Array | float = 1.0
    gain: Array | float = 1.0
    threshold: Array | float = 0.0
    scale: Array | float = 0.0
    scale_roundings: Array | float = 0.0


def step_bounds(
    rule: Recursion, u: float, gaps: Gaps, sizes: Gaps, gap: Array, size: Array, now: Gaps | None = None
) -> dict[str, Array]:
    r"""Largest difference of each state after one step that both sides computed correctly.

    For a first-order neuron, with the difference :math:`d` of the states and the currents before the step,

    .. math:: d_t \le |\beta| d_{t-1} + |g| d^I_t + c\,u\,(|U_{t-1}| + |g I_t| + \theta),\qquad c = 6.

    Args:
        rule: constants of the equation.
        u: sum of the unit roundoffs of both sides.
        gaps: difference of each state before the step; the keys tell which family it is.
        sizes: larger absolute value of each state before the step.
        gap: difference of the currents.
        size: absolute value of the current.
        now: difference of the states after the step where it is known, which makes the membrane's bound
            tighter in families that compute the membrane from a synaptic current.
    """
    drive, slack, threshold = np.abs(rule.gain) * gap, np.abs(rule.gain) * size, np.abs(rule.threshold)
    if "syn_exc" in gaps:
        return _alpha_bounds(rule, u, gaps, sizes, gap, size)
    bounds: dict[str, Array] = {}
    if "syn" in gaps:
        syn = np.abs(rule.syn_decay)
        bounds["syn"] = syn * gaps["syn"] + drive + ROUNDINGS * u * (sizes["syn"] + slack)
        drive = now["syn"] if now is not None and "syn" in now else bounds["syn"]
        drive = np.minimum(drive, bounds["syn"])
        slack = sizes["syn"] + slack
    bounds["mem"] = (
        np.abs(rule.decay) * gaps["mem"] + drive + ROUNDINGS * u * (sizes["mem"] + slack + threshold)
    )
    return bounds


def _alpha_bounds(
    rule: Recursion, u: float, gaps: Gaps, sizes: Gaps, gap: Array, size: Array
) -> dict[str, Array]:
    """Alpha: two traces of opposite sign, and a membrane that is ``scale`` times their sum."""
    threshold, scale = np.abs(rule.threshold), np.abs(rule.scale)
    roundings = ROUNDINGS + np.abs(rule.scale_roundings)
    exc = np.abs(rule.syn_decay) * gaps["syn_exc"] + gap + ROUNDINGS * u * (sizes["syn_exc"] + size)
    inh = np.abs(rule.decay) * gaps["syn_inh"] + gap + ROUNDINGS * u * (sizes["syn_inh"] + size)
    held = scale * (sizes["syn_exc"] + sizes["syn_inh"] + 2 * size) + sizes["syn_inh"]
    return {
        "syn_exc": exc + ROUNDINGS * u * threshold,
        "syn_inh": inh,
        "mem": scale * (exc + inh) + gaps["syn_inh"] + roundings * u * (held + threshold),
    }


def accumulated(
    rule: Recursion, u: float, states: tuple[str, ...], known: Gaps, gap: Array, size: Array
) -> dict[str, Array]:
    """The same bound carried on from step to step, where the states of one side were not recorded.

    Args:
        rule: constants of the equation.
        u: sum of the unit roundoffs of both sides.
        states: names of the neuron's states.
        known: absolute values of the states ``[T, ...]`` that one side recorded; the others are estimated
            from the current as if the neuron were never reset.
        gap: difference of the currents ``[T, ...]``.
        size: absolute value of the current ``[T, ...]``.
    """
    zero = np.zeros_like(size[0])
    gaps, sizes = dict.fromkeys(states, zero), dict.fromkeys(states, zero)
    rows: dict[str, list[Array]] = {state: [] for state in states}
    for t in range(len(size)):
        gaps = step_bounds(rule, u, gaps, sizes, gap[t], size[t])
        grown = _grow(rule, states, sizes, size[t])
        sizes = {state: known[state][t] if state in known else grown[state] for state in states}
        for state in states:
            rows[state].append(gaps[state])
    return {state: np.stack(values) for state, values in rows.items()}


def _grow(rule: Recursion, states: tuple[str, ...], sizes: Gaps, size: Array) -> dict[str, Array]:
    """Largest absolute value of each state after a step without reset."""
    drive = np.abs(rule.gain) * size
    grown: dict[str, Array] = {}
    for state in states:
        if state == "mem":
            scale = np.abs(rule.scale) if "syn_exc" in states else 1.0
            grown["mem"] = np.abs(rule.decay) * sizes["mem"] + scale * drive
        else:
            decay = np.abs(rule.decay if state == "syn_inh" else rule.syn_decay)
            grown[state] = decay * sizes[state] + np.abs(rule.gain) * size
            drive = drive + decay * sizes[state]
    return grown


def recursion(spec: NeuronSpec | None) -> Recursion:
    """Constants for the rounding bound; of an unknown neuron: no decay, no threshold."""
    if spec is None:
        return Recursion()

    def number(name: str) -> Array:
        return np.asarray(spec.values.get(name, 1.0), np.float64)

    if spec.kind == "Lapicque":
        resistance, capacity, dt = number("R"), number("C"), number("time_step")
        return Recursion(1 - dt / (resistance * capacity), gain=dt / capacity, threshold=number("threshold"))
    beta, syn = np.clip(number("beta"), 0, 1), np.clip(number("alpha"), 0, 1)
    if spec.kind != "Alpha":
        return Recursion(beta, syn, threshold=number("threshold"))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_a, log_b = np.log(syn), np.log(beta)
        scale = log_a / (log_b - log_a) + 1
        roundings = 4 * (np.abs(log_a) + np.abs(log_b)) / np.abs(log_b - log_a)
    finite = np.isfinite(scale) & np.isfinite(roundings)
    return Recursion(
        beta, syn, threshold=number("threshold"), scale=np.where(finite, scale, 1.0),
        scale_roundings=np.where(finite, roundings, 4.0),
    )  # fmt: skip
