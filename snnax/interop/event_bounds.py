r"""How far time steps may move the spikes of a neuron, to first order in the step.

A neuron in time steps obeys the same equation, but is looked at only at the ends of the steps: its spike at :math:`s_k`
is seen up to :math:`dt` later, and its voltage is reset then. What this, and inputs that are uncertain by
:math:`\epsilon_i`, do to its next spike is at most

.. math:: \beta_k = dt + \frac{1}{\dot V(s_k^-)} \left( e^{-(s_k - s_{k-1})/\tau_m} |\dot V(s_{k-1}^+)|\, \beta_{k-1}
    + \sum_i \left| \frac{\partial V(s_k)}{\partial t_i} \right| \epsilon_i \right).

A spike that grazes the threshold has a small slope and a large bound, as it should.
"""

from __future__ import annotations

import numpy as np

from snnax.event.neuron import LIFParameters

__all__ = ["step_bounds"]

Array = np.ndarray


def step_bounds(
    inputs: Array, uncertain: Array, weights: Array, spikes: Array, parameters: LIFParameters, dt: float
) -> Array:
    """The bounds of all spikes of a layer.

    Args:
        inputs: when its inputs arrive, ``[B, E]``; ``inf`` for none.
        uncertain: by how much each may be earlier or later, ``[E]``, in seconds.
        weights: of each, ``[E, M]``.
        spikes: of the layer, ``[B, M, K]``, exact for these inputs.
        parameters: of its neurons.
        dt: the time step.

    Returns:
        ``[B, M, K]`` in seconds; 0 where there is no spike.
    """
    bounds, last, before = (
        np.zeros_like(spikes),
        np.full(spikes.shape[:2], -np.inf),
        np.zeros(spikes.shape[:2]),
    )
    rise = np.zeros_like(before)
    for k in range(spikes.shape[2]):
        at = spikes[:, :, k]
        there = np.isfinite(at)
        when = np.where(there, at, 0)
        passed = when[:, None, :] - inputs[:, :, None]
        heard = (passed > 0) & there[:, None, :]
        passed = np.where(heard, passed, 0)
        current = np.sum(np.where(heard, weights * np.exp(-passed / parameters.tau_syn), 0), 1)
        slope = (parameters.v_leak - parameters.threshold + current) / parameters.tau_mem
        gone = np.where(np.isfinite(last), when - last, 0)
        moved = np.where(np.isfinite(last), np.exp(-gone / parameters.tau_mem) * np.abs(rise) * before, 0)
        if np.any(uncertain):
            slopes = np.abs(weights * _shift(passed, inputs, last, gone, parameters))
            moved = moved + np.sum(np.where(heard, slopes, 0) * uncertain[:, None], 1)
        found = dt + np.where(there, moved / np.where(there, np.maximum(slope, 1e-9 / dt), 1), 0)
        bounds[:, :, k] = np.where(there, found, 0)
        rise = np.where(there, (parameters.v_leak - parameters.v_reset + current) / parameters.tau_mem, rise)
        before, last = np.where(there, found, before), np.where(there, at, last)
    return bounds


def _shift(passed: Array, inputs: Array, last: Array, gone: Array, parameters: LIFParameters) -> Array:
    """How the voltage moves with the time of each input of weight 1; one before the last reset acts by its current."""
    tau_m, tau_s = parameters.tau_mem, parameters.tau_syn
    since = _response(passed, tau_m, tau_s)
    after = (np.exp(-passed / tau_s) - since) / tau_m
    early = np.exp(-np.where(passed > 0, passed - gone[:, None, :], 0).clip(0) / tau_s) / tau_s
    through_current = early * _response(gone, tau_m, tau_s)[:, None, :]
    return np.where(inputs[:, :, None] > last[:, None, :], after, through_current)


def _response(passed: Array, tau_m: float, tau_s: float) -> Array:
    """The voltage that a unit of current at the start has become."""
    if tau_m == tau_s:
        return passed / tau_m * np.exp(-passed / tau_m)
    return tau_s / (tau_m - tau_s) * (np.exp(-passed / tau_m) - np.exp(-passed / tau_s))
