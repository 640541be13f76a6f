"""Alpha membrane: the difference of two exponentials, so that a spike's response rises before it falls."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant, log, unit
from snnax.dynamics.firing import FiringRule, discharge

State = tuple[jax.Array, jax.Array, jax.Array]


def gain(alpha: Constant, beta: Constant) -> Constant:
    r""":math:`\tau = \frac{\ln\alpha}{\ln\beta - \ln\alpha} + 1`, the factor of the membrane.

    Args:
        alpha: decay of the excitatory current, clamped to [0, 1]; larger than ``beta``.
        beta: decay of the inhibitory current, clamped to [0, 1].
    """
    log_alpha = log(unit(alpha))
    return log_alpha / (log(unit(beta)) - log_alpha) + 1


def charge(
    state: State, flag: jax.Array, x: jax.Array, rule: FiringRule, alpha: Constant, beta: Constant
) -> State:
    r"""The two currents, and the membrane between them, before that fires.

    .. math:: E' = \alpha E + I, \qquad H' = \beta H - I, \qquad U' = \tau\,(E' + H')

    A reset takes: for "zero", all three to zero; for "subtract", :math:`\theta` off :math:`E'`,
    :math:`H'` to zero, and :math:`-H` (of the step before) off :math:`U'`.

    Args:
        state: ``(syn_exc, syn_inh, mem)``, above :math:`E`, :math:`H`, :math:`U`.
        flag: the reset that is due, 0 or 1.
        x: input current, of the shape of the membrane.
        rule: threshold and reset.
        alpha: decay of the excitatory current per step, clamped to [0, 1].
        beta: decay of the inhibitory current per step, clamped to [0, 1].
    """
    exc, inh, _ = state
    new_exc = exc * unit(alpha) + x
    new_inh = inh * unit(beta) - x
    charged = (new_exc + new_inh) * gain(alpha, beta)
    charged = charged - -inh * flag if rule.reset == "subtract" else discharge(charged, flag, rule)
    new_exc = discharge(new_exc, flag, rule)
    new_inh = new_inh if rule.reset == "none" else new_inh - new_inh * flag
    return new_exc, new_inh, charged
