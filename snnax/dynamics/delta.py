"""Leaky integration that fires at changes of the membrane."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.firing import FiringRule

State = tuple[jax.Array]


def step(state: State, x: jax.Array, beta: Constant, rule: FiringRule) -> tuple[State, jax.Array]:
    r"""One step of a leaky integrator without reset.

    .. math:: U' = \beta U + I, \qquad S = [\,|U' - U| > \theta_\Delta\,]

    Args:
        state: ``(mem,)``.
        x: input current, of the shape of the membrane.
        beta: decay per step; not clamped.
        rule: its ``threshold`` is that of the change, :math:`\theta_\Delta`; of the rest only ``spike`` is used.

    Returns:
        ``((mem,), spikes)``.
    """
    (mem,) = state
    charged = mem * beta + x
    change = charged - mem
    size = change * jnp.sign(change)  # the gradient of jnp.abs is 1 at 0, that of torch 0
    return (charged,), rule.spike(size - rule.threshold).astype(mem.dtype)
