"""Second-order leaky integrate-and-fire: a synaptic current that charges a membrane."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant, unit
from snnax.dynamics.firing import FiringRule, discharge, fire, quantized, reset_flag

State = tuple[jax.Array, jax.Array]


def step(
    state: State,
    x: jax.Array,
    alpha: Constant,
    beta: Constant,
    rule: FiringRule,
    feedback: jax.Array | None = None,
) -> tuple[State, jax.Array]:
    r"""One step of a synaptic current and the membrane it charges.

    .. math:: I_s' = \alpha I_s + I + F, \qquad U' = \beta U + I_s' - R\theta
        \quad\text{or, for "zero",}\quad U' = (1 - R)\,(\beta U + I_s')

    The synaptic current is never reset.

    Args:
        state: ``(syn, mem)``.
        x: input current, of the shape of the membrane.
        alpha: decay of the synaptic current per step, clamped to [0, 1].
        beta: decay of the membrane per step, clamped to [0, 1].
        rule: threshold, reset and spike function.
        feedback: recurrent current, of the shape of the membrane; none if not given.

    Returns:
        ``((syn, mem), spikes)``.
    """
    flag = reset_flag(state[1], rule)
    syn, charged = charge(state, flag, x, rule, alpha, beta, feedback=feedback)
    mem, spk = fire(charged, flag, rule)
    return (quantized(syn, rule), mem), spk


def charge(
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    alpha: Constant,
    beta: Constant,
    *,
    feedback: jax.Array | None = None,
) -> State:
    """Current and membrane of :func:`step` before it fires; ``flag`` is its reset, 0 or 1."""
    syn, mem = state
    syn = syn * unit(alpha) + x
    if feedback is not None:
        syn = syn + feedback
    return syn, discharge(mem * unit(beta) + syn, flag, rule)
