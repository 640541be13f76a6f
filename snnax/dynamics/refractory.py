"""An absolute refractory time: after a spike the membrane is held, and the neuron silent, for some steps."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.firing import FiringRule, discharge

State = tuple[jax.Array, ...]


def charge(
    inner: Callable[..., State],
    after_reset: Callable[..., jax.Array] | None,
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    *numbers: Constant,
) -> State:
    r"""The step of a neuron whose membrane waits after a spike.

    .. math::
        \rho' = \begin{cases} n & R = 1 \\ \max(\rho - 1, 0) & \text{else} \end{cases} \qquad
        U' = \begin{cases} \min(\text{reset}(U), \theta) & \rho' > 0 \\ \text{charge}(U, R, I) & \text{else} \end{cases}

    All other states go on as without it.

    Args:
        inner: the step of the neuron without it.
        after_reset: ``(states, flag, rule, *numbers)`` to the membrane that its reset leaves; ``None`` where that is as
            the rule says.
        state: ``(rest, *states)``: :math:`\rho`, the steps of silence that are left with this one, and its own.
        flag: :math:`R`, the reset that is due, 0 or 1.
        x: input current, of the shape of the membrane.
        rule: threshold and reset.
        numbers: those of ``inner``, and :math:`n` behind them.
    """
    rest, *own = state
    *others, steps = numbers
    left = jnp.where(lax.stop_gradient(flag) > 0, steps, jnp.maximum(rest - 1, 0))
    *after, charged = inner(tuple(own), flag, x, rule, *others)
    if after_reset is None:
        left_by_reset = discharge(own[-1], flag, rule)
    else:
        left_by_reset = after_reset(tuple(own), flag, rule, *others)
    held = jnp.minimum(left_by_reset, rule.threshold)
    return left, *after, jnp.where(left > 0, held, charged)


def level(inner: Callable[..., jax.Array] | None, state: State, *numbers: Constant) -> jax.Array:
    """What is compared with the threshold: while the neuron rests never above it, and without a gradient."""
    rest, *own = state
    mem = own[-1] if inner is None else inner(tuple(own), *numbers[:-1])
    return jnp.where(rest > 0, lax.stop_gradient(jnp.minimum(mem, own[-1])), mem)
