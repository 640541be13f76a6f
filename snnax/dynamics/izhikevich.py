"""Izhikevich's simple model: a quadratic membrane and its recovery, in steps of Euler's."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.firing import FiringRule

State = tuple[jax.Array, jax.Array]

MILLISECONDS = 1000.0
"""In a second."""


def charge(
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    a: Constant,
    b: Constant,
    c: Constant,
    d: Constant,
    dt: Constant,
) -> State:
    r"""Recovery and membrane before the neuron fires.

    .. math:: v' = v + h\,(0.04\,v^2 + 5 v + 140 - u + I), \qquad u' = u + h\,a\,(b v - u)

    from the membrane and recovery that the reset leaves, :math:`v - R(v - c)` and :math:`u + R d`.

    Args:
        state: ``(u, mem)``, in mV.
        flag: :math:`R`, the reset that is due, 0 or 1.
        x: input current :math:`I`, in mV/ms, of the shape of the membrane.
        rule: its reset: anything but ``"none"`` is the one to :math:`c`.
        a: rate of the recovery, per ms.
        b: what the membrane adds to the recovery.
        c: the membrane after a spike, in mV.
        d: what a spike adds to the recovery.
        dt: length of the step in seconds; :math:`h` is the same in ms.
    """
    u, v = state
    if rule.reset != "none":
        u, v = u + flag * d, v - flag * (v - c)
    v_rate, u_rate = 0.04 * v * v + 5.0 * v + 140.0 - u + x, a * (b * v - u)
    return u + dt * (MILLISECONDS * u_rate), v + dt * (MILLISECONDS * v_rate)
