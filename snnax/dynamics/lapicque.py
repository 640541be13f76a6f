"""Lapicque's RC circuit, integrated by the forward Euler method."""

from __future__ import annotations

import jax
import numpy as np

from snnax.dynamics.arithmetic import Constant, log, pinned
from snnax.dynamics.firing import FiringRule, discharge, fire, reset_flag

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


def step(
    state: State,
    x: jax.Array,
    resistance: Constant,
    capacitance: Constant,
    time_step: Constant,
    rule: FiringRule,
) -> tuple[State, jax.Array]:
    r"""One Euler step of the RC circuit.

    .. math:: U' = \frac{\Delta t}{C}\,I + \left(1 - \frac{\Delta t}{RC}\right) U - R_\text{reset}\,\theta
        \quad\text{or, for "zero",}\quad 0 \text{ where } R_\text{reset} = 1

    Args:
        state: ``(mem,)``.
        x: input current, of the shape of the membrane.
        resistance: R in ohm.
        capacitance: C in farad.
        time_step: :math:`\Delta t` in seconds.
        rule: threshold, reset and spike function.

    Returns:
        ``((mem,), spikes)``.
    """
    flag = reset_flag(state[0], rule)
    (charged,) = charge(state, flag, x, rule, resistance, capacitance, time_step)
    mem, spk = fire(charged, flag, rule)
    return (mem,), spk


def charge(
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    resistance: Constant,
    capacitance: Constant,
    time_step: Constant,
) -> State:
    """The membrane of :func:`step` before it fires; ``flag`` is its reset, 0 or 1."""
    (mem,) = state
    resistance, capacitance, time_step = pinned(resistance), pinned(capacitance), pinned(time_step)
    product = resistance * capacitance
    current = x * resistance * (1 / product) * time_step
    return (discharge(current + mem * (1 - time_step / product), flag, rule),)
