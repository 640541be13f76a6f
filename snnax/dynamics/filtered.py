"""Neurons of filters in SNNAX's order: two decays in a row, and the spike response model."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant, unit
from snnax.dynamics.firing import FiringRule, discharge


def two_decays(
    state: tuple[jax.Array, jax.Array],
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    alpha: Constant,
    beta: Constant,
) -> tuple[jax.Array, jax.Array]:
    r"""Current and membrane before the neuron fires; the membrane takes the current of the step before.

    .. math:: U' = \alpha\, U_R + (1 - \alpha)\, I, \qquad I' = \beta\, I + (1 - \beta)\, x

    from the membrane :math:`U_R` that the reset leaves.

    Args:
        state: ``(syn, mem)``.
        flag: the reset that is due, 0 or 1.
        x: input, of the shape of the membrane.
        rule: threshold and reset.
        alpha: decay of the membrane per step, clamped to [0, 1].
        beta: decay of the current per step, clamped to [0, 1].
    """
    syn, mem = state
    slow, fast = unit(alpha), unit(beta)
    return syn * fast + x * (1 - fast), discharge(mem, flag, rule) * slow + syn * (1 - slow)


def response(
    state: tuple[jax.Array, jax.Array, jax.Array],
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    alpha: Constant,
    beta: Constant,
    gamma: Constant,
    reset_val: Constant,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    r"""Trace of the input, refractory trace and membrane of the spike response model.

    .. math:: p' = \alpha\, p + (1 - \alpha)\, x, \qquad U' = \beta\, U + (1 - \beta)\, p', \qquad
        r' = \gamma\, r + \rho R

    Args:
        state: ``(p, r, mem)``.
        flag: :math:`R`, 1 where the neuron fired in the step before.
        x: input, of the shape of the membrane.
        rule: whose reset ``"none"`` leaves out the refractory trace.
        alpha: decay of the trace of the input per step, clamped to [0, 1].
        beta: decay of the membrane per step, clamped to [0, 1].
        gamma: decay of the refractory trace per step, clamped to [0, 1].
        reset_val: :math:`\rho`, the height of a spike in the refractory trace.
    """
    p, r, mem = state
    first, second = unit(alpha), unit(beta)
    p = p * first + x * (1 - first)
    r = r * unit(gamma)
    if rule.reset != "none":
        r = r + flag * reset_val
    return p, r, mem * second + p * (1 - second)


def response_level(
    state: tuple[jax.Array, jax.Array, jax.Array],
    alpha: Constant,
    beta: Constant,
    gamma: Constant,
    reset_val: Constant,
) -> jax.Array:
    r"""What the spike response model compares with its threshold, :math:`U - \rho r`."""
    _, r, mem = state
    return mem - reset_val * r
