"""NIR's current-based neurons: a synaptic current that decays and charges a membrane."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.nir import Membrane, charge, numerics, relaxation

SCALINGS = ("ode", "impulse", "decayed_impulse")
CURRENTS = ("new", "old", "undecayed", "continuous")


class Synapse(NamedTuple):
    """One step of a synaptic current: ``syn * decay + x * gain``."""

    decay: Constant
    gain: Constant


class Bypass(NamedTuple):
    """What a current that changes within the step charges: ``syn * from_current + x * from_input``."""

    from_current: Constant
    from_input: Constant


def synapse(tau: Constant, w_in: Constant, dt: float, discretization: str, scaling: str) -> Synapse:
    r"""The step of :math:`\tau \dot I = -I + w_{in} S`.

    Args:
        tau: time constant in seconds.
        w_in: weight of the input.
        dt: length of the step in seconds.
        discretization: see :func:`~snnax.dynamics.nir.relaxation`.
        scaling: what an input of 1 adds to the current: ``"ode"`` what the equation says of an input that
            is constant over the step, :math:`w_{in}\,dt/\tau` with Euler's step; ``"impulse"``
            :math:`w_{in}`, at the end of the step; ``"decayed_impulse"`` the same at its start.
    """
    step = relaxation(tau, dt, discretization)
    factor = {"ode": step.rate, "impulse": np.ones(()), "decayed_impulse": step.decay}[scaling]
    return Synapse(step.decay, w_in * factor)


def bypass(
    tau_syn: Constant, tau_mem: Constant, r: Constant, w_in: Constant, dt: float, scaling: str
) -> Bypass:
    r"""What the synapse charges the membrane with in the exact solution of both equations.

    .. math::
        k = \frac1{\tau_m}\int_0^{dt} e^{-(dt-s)/\tau_m}\,e^{-s/\tau_s}\,ds
          = \frac{\tau_s}{\tau_s - \tau_m}\left(e^{-dt/\tau_s} - e^{-dt/\tau_m}\right)

    is what a current of 1 adds; an input of 1 adds :math:`w_{in}` times :math:`1 - e^{-dt/\tau_m} - k` if it
    lasts the whole step, :math:`k` if it comes at its start and nothing if it comes at its end.

    Args:
        tau_syn: time constant of the current in seconds.
        tau_mem: time constant of the membrane in seconds.
        r: resistance.
        w_in: weight of the input.
        dt: length of the step in seconds.
        scaling: see :func:`synapse`.
    """
    xp = numerics(tau_syn, tau_mem)
    step = relaxation(tau_mem, dt, "exact")
    difference: Constant = dt / tau_mem - dt / tau_syn
    small = xp.abs(difference) < 1e-8
    safe = xp.where(small, 1.0, difference)
    k = dt / tau_mem * step.decay * xp.where(small, 1 + difference / 2, xp.expm1(safe) / safe)
    factor = {"ode": step.rest - k, "impulse": np.zeros(()), "decayed_impulse": k}[scaling]
    return Bypass(r * k, r * w_in * factor)


def step(
    syn: jax.Array, x: jax.Array, weights: Synapse, membrane: Membrane, current: str, joint: Bypass | None
) -> tuple[jax.Array, jax.Array]:
    """One step of the synaptic current.

    Args:
        syn: synaptic current before the step.
        x: input of the step, of the same shape.
        weights: see :func:`synapse`.
        membrane: see :func:`~snnax.dynamics.nir.leaky`.
        current: which current charges the membrane. ``"new"``: the one after the step; ``"old"``: the one
            before it; ``"undecayed"``: the old one plus the input, which decays last; ``"continuous"``: the
            current as it changes within the step.
        joint: see :func:`bypass`; for ``"continuous"`` only.

    Returns:
        The current after the step, and what it adds to the membrane within the step.
    """
    if current == "undecayed":
        jumped = syn + x * weights.gain
        return jumped * weights.decay, charge(jumped, membrane)
    after = syn * weights.decay + x * weights.gain
    if joint is not None:
        added = syn * joint.from_current + x * joint.from_input
        return after, added if membrane.drive is None else added + membrane.drive
    return after, charge(after if current == "new" else syn, membrane)
