"""When a membrane spikes and how a spike resets it: the part that all families share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax

from snnax.dynamics.arithmetic import Constant
from snnax.errors import ShapeError

ArrayFunction = Callable[[jax.Array], jax.Array]

RESET_MECHANISMS = ("subtract", "zero", "none")
"""What every neuron of snnTorch's may do; neurons of one's own also reset to a ``"value"``."""


class FiringRule(NamedTuple):
    """How a neuron fires and resets.

    Attributes:
        threshold: spikes are fired above it, never at it.
        spike: surrogate spike function of ``mem - threshold``.
        reset: one of :data:`RESET_MECHANISMS`, or ``"value"``.
        reset_delay: whether the reset acts in the step after the spike, or within the step itself.
        inhibition: only the neuron with the largest ``mem - threshold`` of each sample may fire.
        quantize: applied to each new state, or ``None``.
        graded: factor of the spikes, or ``None`` for 1.
        v_reset: where the reset ``"value"`` takes the membrane.
        detach_reset: whether no gradient passes through a reset; ``None`` as in snnTorch: through one within the step
            of the spike only.
    """

    threshold: Constant
    spike: ArrayFunction
    reset: str = "subtract"
    reset_delay: bool = True
    inhibition: bool = False
    quantize: ArrayFunction | None = None
    graded: Constant | None = None
    v_reset: Constant | None = None
    detach_reset: bool | None = None


def step_function(x: jax.Array) -> jax.Array:
    """``x > 0`` in the dtype of ``x``, without any gradient: ``surrogate_disable=True``."""
    return (lax.stop_gradient(x) > 0).astype(x.dtype)


def reset_flag(mem: jax.Array, rule: FiringRule) -> jax.Array:
    r""":math:`R = S(U - \theta)` of the membrane before the step, without gradient unless ``detach_reset=False``.

    It looks at the stored membrane, not at the spike that was emitted: an initial membrane above threshold
    resets in the first step, and so does a neuron above threshold that inhibition kept silent.
    """
    flag = spikes(mem - rule.threshold, rule)
    return flag if rule.detach_reset is False else lax.stop_gradient(flag)


def discharge(mem: jax.Array, amount: jax.Array, rule: FiringRule) -> jax.Array:
    r"""Reset by ``amount``, usually 0 or 1: :math:`U - R\theta`, or :math:`U - RU` for "zero".

    "zero" on a membrane that is already charged so discards the input of the step as well. "value" resets to
    ``v_reset``: :math:`U - R\,(U - U_r)`.
    """
    if rule.reset == "subtract":
        return mem - amount * rule.threshold
    if rule.reset == "zero":
        return mem - amount * mem
    if rule.reset == "value":
        return mem - amount * (mem - cast(Constant, rule.v_reset))
    return mem


def quantized(state: jax.Array, rule: FiringRule) -> jax.Array:
    """``state`` on the grid of ``rule.quantize``, if there is one."""
    return state if rule.quantize is None else rule.quantize(state)


def fire(
    mem: jax.Array, flag: jax.Array, rule: FiringRule, level: ArrayFunction = lambda mem: mem
) -> tuple[jax.Array, jax.Array]:
    r"""Quantize the new membrane, fire, and reset at once if the reset is not delayed.

    .. math:: S = g\,[U > \theta], \qquad
        U \leftarrow U - (S/g - R)\,\theta \quad\text{or, for "zero",}\quad U - (S/g - R)\,U

    Inhibition ignores ``graded`` in the spikes but, as snnTorch, not in the reset.

    Args:
        mem: charged membrane.
        flag: the reset that :func:`reset_flag` found and the charging has already applied.
        rule: how to fire.
        level: from the membrane to what is compared with the threshold.

    Returns:
        ``(mem, spikes)`` after the step.

    Raises:
        ShapeError: inhibition and a membrane that is not ``[B, N]``.
    """
    mem = quantized(mem, rule)
    if rule.inhibition:
        fired = spk = spikes(level(mem) - rule.threshold, rule) * _winner(level(mem), rule)
    else:
        fired = spikes(level(quantized(mem, rule)) - rule.threshold, rule)
        spk = fired if rule.graded is None else fired * rule.graded
    if not rule.reset_delay:
        fired = lax.stop_gradient(fired) if rule.detach_reset else fired
        counted = fired / rule.graded if rule.inhibition and rule.graded is not None else fired
        mem = discharge(mem, counted - flag, rule)
    return mem, spk


def spikes(above: jax.Array, rule: FiringRule) -> jax.Array:
    """1 where a membrane is ``above`` its threshold by more than 0, with the surrogate's gradient."""
    return rule.spike(above).astype(above.dtype)


def _winner(mem: jax.Array, rule: FiringRule) -> jax.Array:
    """One-hot mask of the neuron furthest above threshold in each sample; the first one of equals."""
    if mem.ndim != 2:
        raise ShapeError(
            f"inhibition=True got a membrane of shape {mem.shape}; expected [B, N], since the neurons of one "
            "dense layer inhibit each other. Flatten the input, as x.reshape(x.shape[0], -1)."
        )
    winner = jnp.argmax(mem - rule.threshold, axis=1)
    return jax.nn.one_hot(winner, mem.shape[1], dtype=mem.dtype)
