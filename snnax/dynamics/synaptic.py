"""Second-order leaky integrate-and-fire: a synaptic current that charges a membrane."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant, unit
from snnax.dynamics.firing import FiringRule, discharge

State = tuple[jax.Array, jax.Array]


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
    r"""The synaptic current, and the membrane that it charges, before that fires.

    .. math:: I_s' = \alpha I_s + I + F, \qquad U' = \beta U + I_s' - R\theta
        \quad\text{or, for "zero",}\quad U' = (1 - R)\,(\beta U + I_s')

    The synaptic current is never reset.

    Args:
        state: ``(syn, mem)``.
        flag: :math:`R`, the reset that is due, 0 or 1.
        x: input current, of the shape of the membrane.
        rule: threshold and reset.
        alpha: decay of the synaptic current per step, clamped to [0, 1].
        beta: decay of the membrane per step, clamped to [0, 1].
        feedback: recurrent current, of the shape of the membrane; none if not given.
    """
    syn, mem = state
    syn = syn * unit(alpha) + x
    if feedback is not None:
        syn = syn + feedback
    return syn, discharge(mem * unit(beta) + syn, flag, rule)
