"""Leaky integrate-and-fire with a threshold that each spike raises."""

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
    beta: Constant,
    rho: Constant,
    strength: Constant,
) -> State:
    r"""Adaptation and membrane before the neuron fires.

    .. math:: b' = \rho b + (1 - \rho) R, \qquad U' = \beta U + I - R\,(\theta + \kappa b)

    or, for "zero", :math:`U' = \beta\,(1 - R)\,U + I`.

    Args:
        state: ``(b, mem)``.
        flag: :math:`R`, the reset that is due, 0 or 1.
        x: input current, of the shape of the membrane.
        rule: threshold and reset.
        beta: decay of the membrane per step, clamped to [0, 1].
        rho: decay of the adaptation per step, clamped to [0, 1].
        strength: :math:`\kappa`, by how much an adaptation of 1 raises the threshold.
    """
    b, mem = state
    decay, rule = unit(rho), _risen(rule, b, strength)
    risen = b * decay + (1 - decay) * flag
    if rule.reset == "subtract":
        return risen, discharge(mem * unit(beta) + x, flag, rule)
    return risen, discharge(mem, flag, rule) * unit(beta) + x


def after_reset(
    state: State, flag: jax.Array, rule: FiringRule, beta: Constant, rho: Constant, strength: Constant
) -> jax.Array:
    r"""The membrane that the reset leaves: with "subtract" :math:`U - R\,(\theta + \kappa b)`."""
    b, mem = state
    return discharge(mem, flag, _risen(rule, b, strength))


def _risen(rule: FiringRule, b: jax.Array, strength: Constant) -> FiringRule:
    """The rule with the threshold as the adaptation has raised it, of which only "subtract" makes use."""
    return rule._replace(threshold=rule.threshold + strength * b)


def level(state: State, beta: Constant, rho: Constant, strength: Constant) -> jax.Array:
    r"""What is compared with the threshold at rest, :math:`U - \kappa b`."""
    b, mem = state
    return mem - strength * b
