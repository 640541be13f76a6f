"""First-order leaky integrate-and-fire, and its recurrent form."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant, unit
from snnax.dynamics.firing import FiringRule, discharge

State = tuple[jax.Array]


def charge(
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    beta: Constant,
    *,
    feedback: jax.Array | None = None,
) -> State:
    r"""The membrane of a leaky integrator before it fires.

    .. math:: U' = \beta U + I - R\theta \qquad\text{or, for "zero",}\qquad U' = \beta\,(1 - R)\,U + I

    With a feedback :math:`F`, the weighted spikes of the step before, "zero" discards the input and the feedback of
    the reset step, as in snnTorch:

    .. math:: U' = \beta U + I + F - R\theta \qquad\text{or, for "zero",}\qquad U' = (1 - R)\,(\beta U + I + F)

    Args:
        state: ``(mem,)``.
        flag: :math:`R`, the reset that is due, 0 or 1.
        x: input current, of the shape of the membrane.
        rule: threshold and reset.
        beta: decay per step, clamped to [0, 1].
        feedback: recurrent current, of the shape of the membrane; none if not given.
    """
    (mem,) = state
    if feedback is None and rule.reset == "zero":
        return ((1 - flag) * mem * unit(beta) + x,)
    charged = mem * unit(beta) + x
    if feedback is not None:
        charged = charged + feedback
    return (discharge(charged, flag, rule),)
