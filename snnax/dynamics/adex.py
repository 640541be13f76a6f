"""The adaptive exponential integrate-and-fire model, in steps of Euler's."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.firing import FiringRule, discharge
from snnax.dynamics.izhikevich import MILLISECONDS

State = tuple[jax.Array, jax.Array]


def charge(
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    C: Constant,
    g_L: Constant,
    E_L: Constant,
    V_T: Constant,
    delta_T: Constant,
    tau_w: Constant,
    a: Constant,
    b: Constant,
    dt: Constant,
) -> State:
    r"""Adaptation and membrane before the neuron fires.

    .. math::
        v' &= v + \tfrac{h}{C}\left(g_L (E_L - v) + g_L \Delta_T\, e^{(v - V_T)/\Delta_T} - w + I\right) \\
        w' &= w + \tfrac{dt}{\tau_w}\,(a\,(v - E_L) - w)

    from the membrane and adaptation that the reset leaves: :math:`v` as the rule says, and :math:`w + R b`. Above the
    threshold the exponential grows no further, so that a membrane without reset stays finite for longer.

    Args:
        state: ``(w, mem)``, in pA and mV.
        flag: :math:`R`, the reset that is due, 0 or 1.
        x: input current :math:`I` in pA, of the shape of the membrane.
        rule: threshold and reset.
        C: capacitance in pF.
        g_L: leak conductance in nS.
        E_L: potential at rest in mV.
        V_T: where the exponential takes over, in mV.
        delta_T: how sharply, in mV.
        tau_w: time constant of the adaptation in seconds.
        a: what the membrane adds to it, in nS.
        b: what a spike adds to it, in pA.
        dt: length of the step in seconds; :math:`h` is the same in ms.
    """
    w, v = state
    if rule.reset != "none":
        w = w + flag * b
    v = discharge(v, flag, rule)
    upstroke = delta_T * jnp.exp((jnp.minimum(v, rule.threshold) - V_T) / delta_T)
    current = g_L * (E_L - v + upstroke) - w + x
    return w + dt / tau_w * (a * (v - E_L) - w), v + dt / C * (MILLISECONDS * current)
