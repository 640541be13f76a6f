"""Long short-term memory whose output is a membrane that fires."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnax.dynamics.firing import FiringRule, discharge, quantized, reset_flag

State = tuple[jax.Array, jax.Array]


class Gates(NamedTuple):
    """Currents into the four gates, each of the shape of the membrane.

    Attributes:
        input: opens for the candidate.
        forget: keeps the synaptic state.
        candidate: what may be added to it.
        output: opens for the membrane.
    """

    input: jax.Array
    forget: jax.Array
    candidate: jax.Array
    output: jax.Array


def step(
    state: State, gates: Gates, rule: FiringRule, pool: Callable[[jax.Array], jax.Array] | None = None
) -> tuple[State, jax.Array]:
    r"""One step of an LSTM cell, the reset of its membrane, and its spikes.

    .. math::
        I' &= \sigma(f)\,I + \sigma(i)\tanh(g) \\
        \tilde U &= \sigma(o)\tanh(I'), \qquad U' = \tilde U - R\theta
            \quad\text{or, for "zero",}\quad (1 - R)\,\tilde U \\
        S &= [\text{pool}(U') > \theta]

    Args:
        state: ``(syn, mem)``: cell state and hidden state; the hidden state is also in ``gates``.
        gates: currents of this step.
        rule: threshold, reset, spike function and quantizer. Delay, inhibition and graded spikes, which
            snnTorch's cells do not have, are ignored.
        pool: from the membrane to the potentials that fire; these are quantized once more, as in snnTorch.

    Returns:
        ``((syn, mem), spikes)``; the spikes have the shape that ``pool`` returns.
    """
    syn, mem = state
    flag = reset_flag(mem, rule)
    syn = jax.nn.sigmoid(gates.forget) * syn + jax.nn.sigmoid(gates.input) * jnp.tanh(gates.candidate)
    mem = discharge(jax.nn.sigmoid(gates.output) * jnp.tanh(syn), flag, rule)
    syn, mem = quantized(syn, rule), quantized(mem, rule)
    potential = quantized(mem if pool is None else pool(mem), rule)
    return (syn, mem), rule.spike(potential - rule.threshold).astype(mem.dtype)
