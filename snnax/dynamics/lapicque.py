"""Lapicque's RC circuit, integrated by the forward Euler method."""

from __future__ import annotations

import jax
import numpy as np

from snnax.dynamics.arithmetic import Constant, log, pinned
from snnax.dynamics.firing import FiringRule, discharge

State = tuple[jax.Array]


def complement(beta: Constant, other: Constant, time_step: Constant) -> Constant:
    r"""The C that fits ``beta`` and R, or the R that fits ``beta`` and C.

    .. math:: RC = \frac{\Delta t}{\ln(1/\beta)}

    Args:
        beta: decay per step, in (0, 1]; 1 gives infinity.
        other: resistance or capacitance, whichever is known.
        time_step: :math:`\Delta t`.
    """
    with np.errstate(divide="ignore"):
        return time_step / (other * log(1 / beta))


def charge(
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    resistance: Constant,
    capacitance: Constant,
    time_step: Constant,
) -> State:
    r"""The membrane after one Euler step of the RC circuit, before it fires.

    .. math:: U' = \frac{\Delta t}{C}\,I + \left(1 - \frac{\Delta t}{RC}\right) U - R_\text{reset}\,\theta
        \quad\text{or, for "zero",}\quad 0 \text{ where } R_\text{reset} = 1

    Args:
        state: ``(mem,)``.
        flag: :math:`R_\text{reset}`, the reset that is due, 0 or 1.
        x: input current, of the shape of the membrane.
        rule: threshold and reset.
        resistance: R in ohm.
        capacitance: C in farad.
        time_step: :math:`\Delta t` in seconds.
    """
    (mem,) = state
    resistance, capacitance, time_step = pinned(resistance), pinned(capacitance), pinned(time_step)
    product = resistance * capacitance
    current = x * resistance * (1 / product) * time_step
    return (discharge(current + mem * (1 - time_step / product), flag, rule),)
