r"""How far two correct computations of one neuron layer may lie apart: the rounding error of sums and steps.

Everything takes and returns NumPy arrays and knows no framework. With the unit roundoff :math:`u` (half of
machine epsilon) a computed sum :math:`\hat y` of :math:`K` products differs from the exact one by

.. math:: |\hat y - y| \le g_K(u) \sum_i |w_i s_i| = g_K(u)\,M,

whatever the order of summation. :math:`g_K` is the smaller of the certain :math:`\gamma_K = Ku/(1-Ku)` and
the probabilistic :math:`\tilde\gamma_K = \exp(\lambda\sqrt{K}u + Ku^2/(1-u)) - 1` of Higham and Mary ("A new
approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019), which holds with a
probability of at least :math:`1 - 2K\exp(-\lambda^2(1-u)^2/2)` per sum for independent errors of mean zero.
With :math:`\lambda = 8` that fails for fewer than one in :math:`10^{10}` sums of a thousand terms; below 64
terms the certain bound is the smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

LAMBDA = 8.0
"""Constant of the probabilistic bound."""

ROUNDINGS = 6.0
"""Rounding errors in one neuron step on one side: three operations, two parameters rounded on their way
through a file or another framework, and one for a current recorded after a fused multiply-add."""

MANY_TERMS = 64
"""From this many terms on, a neuron's errors have to average out as well."""

RMS_FACTOR = 2.0
"""By how much the root mean square of a neuron's errors may exceed that of independent errors."""

Array = np.ndarray
Gaps = Mapping[str, Array]


def unit_roundoff(dtype: np.dtype) -> float:
    """Largest relative error of one rounding: 6.0e-8 for float32, 1.1e-16 for float64.

    Example:
        >>> unit_roundoff(np.dtype("float32")) == 2.0**-24
        True
    """
    return float(jnp.finfo(dtype).eps) / 2


def smallest_normal(dtype: np.dtype) -> float:
    """Numbers below this may be flushed to zero by one side and kept by the other."""
    return float(jnp.finfo(dtype).tiny)


def growth(terms: float, u: float, repeats: float = 1.0) -> float:
    """``g_K(u)``: relative error of a sum of ``terms`` products, against the sum of their absolute values.

    Args:
        terms: number of products.
        u: unit roundoff.
        repeats: how often the same weight comes on average. Adding the same number again rounds the same way
            again, so that the errors of ``repeats`` terms count as one.

    Example:
        >>> round(growth(25, 2.0**-24) / 2.0**-24), round(growth(2500, 2.0**-24) / 2.0**-24)
        (25, 400)
    """
    if terms <= 0:
        return 0.0
    certain = terms * u / (1 - terms * u) if terms * u < 1 else np.inf
    likely = np.expm1(LAMBDA * np.sqrt(terms * repeats) * u + terms * u * u / (1 - u))
    return float(min(certain, likely))


def current_bound(
    magnitude: Array, terms: float, us: tuple[float, float], tiny: float = 0.0, repeats: float = 1.0
) -> Array:
    """Largest difference of two correct computations of one current.

    Args:
        magnitude: ``M``, sum of the absolute values of all terms of each current, any shape.
        terms: ``K``, number of terms that are rounded and added, all stages in a row together.
        us: unit roundoff of each side.
        tiny: added, for what one side flushes to zero.
        repeats: see :func:`growth`.
    """
    return sum(growth(terms, u, repeats) for u in us) * magnitude + tiny


def rms_bound(magnitude: Array, terms: float, us: tuple[float, float], repeats: float = 1.0) -> Array | None:
    r"""Largest root mean square over steps and samples of the difference of two correct computations.

    No partial sum exceeds :math:`M`, and a rounding error that is uniform in :math:`\pm u` has the variance
    :math:`u^2/3`, so independent errors of a sum of K terms have a root mean square of at most
    :math:`\sqrt{K/3}\,u M`. That is much less than their largest value, and shows a small error that is
    always there, as a weight in half precision. Twice as much is granted.

    Args:
        magnitude: ``M`` of each current ``[T, b, ...]``.
        terms: ``K``; with few terms there is no average to rely on, and the bound is ``None``.
        us: unit roundoff of each side.
        repeats: see :func:`growth`.

    Returns:
        One bound for each neuron ``[1, 1, ...]``, or ``None``.
    """
    if terms < MANY_TERMS:
        return None
    mean = np.sqrt((magnitude * magnitude).mean((0, 1), keepdims=True))
    return np.asarray(RMS_FACTOR * sum(us) * np.sqrt(terms * repeats / 3) * mean)


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
