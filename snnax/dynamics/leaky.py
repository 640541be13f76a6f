"""First-order leaky integrate-and-fire, and its recurrent form."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant, unit
from snnax.dynamics.firing import FiringRule, discharge, fire, reset_flag

State = tuple[jax.Array]


def step(state: State, x: jax.Array, beta: Constant, rule: FiringRule) -> tuple[State, jax.Array]:
    r"""One step of a leaky integrator.

    .. math:: U' = \beta U + I - R\theta \qquad\text{or, for "zero",}\qquad U' = \beta\,(1 - R)\,U + I

    Args:
        state: ``(mem,)``.
        x: input current, of the shape of the membrane.
        beta: decay per step, clamped to [0, 1].
        rule: threshold, reset and spike function.

    Returns:
        ``((mem,), spikes)``.
    """
    flag = reset_flag(state[0], rule)
    (charged,) = charge(state, flag, x, rule, beta)
    mem, spk = fire(charged, flag, rule)
    return (mem,), spk


def charge(state: State, flag: jax.Array, x: jax.Array, rule: FiringRule, beta: Constant) -> State:
    """The membrane of :func:`step` before it fires; ``flag`` is its reset, 0 or 1."""
    (mem,) = state
    if rule.reset == "zero":
        mem = (1 - flag) * mem
    charged = mem * unit(beta) + x
    return (discharge(charged, flag, rule) if rule.reset == "subtract" else charged,)


def recurrent_step(
    state: State, x: jax.Array, feedback: jax.Array, beta: Constant, rule: FiringRule
) -> tuple[State, jax.Array]:
    r"""One step of a leaky integrator that also receives the weighted spikes of the step before.

    .. math:: U' = (1 - R)\,(\beta U + I + F) \quad\text{for "zero", else}\quad U' = \beta U + I + F - R\theta

    Unlike :func:`step`, "zero" discards the input and the feedback of the reset step.

    Args:
        state: ``(mem,)``.
        x: input current, of the shape of the membrane.
        feedback: recurrent current, of the shape of the membrane.
        beta: decay per step, clamped to [0, 1].
        rule: threshold, reset and spike function.

    Returns:
        ``((mem,), spikes)``.
    """
    flag = reset_flag(state[0], rule)
    (charged,) = recurrent_charge(state, flag, x, rule, beta, feedback=feedback)
    mem, spk = fire(charged, flag, rule)
    return (mem,), spk


def recurrent_charge(
    state: State, flag: jax.Array, x: jax.Array, rule: FiringRule, beta: Constant, *, feedback: jax.Array
) -> State:
    """The membrane of :func:`recurrent_step` before it fires; ``flag`` is its reset, 0 or 1."""
    (mem,) = state
    return (discharge(mem * unit(beta) + x + feedback, flag, rule),)
