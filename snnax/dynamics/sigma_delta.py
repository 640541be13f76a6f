"""The sigma-delta neuron: it sums up its input, and sends spikes for what it has not told yet."""

from __future__ import annotations

import jax

from snnax.dynamics.firing import FiringRule


def charge(
    state: tuple[jax.Array, jax.Array], flag: jax.Array, x: jax.Array, rule: FiringRule
) -> tuple[jax.Array, jax.Array]:
    r"""The sum of the input, and by how much it has grown beyond what spikes of 1 told.

    .. math:: \sigma' = \sigma + x, \qquad U' = \sigma' - \sigma + (U - R)

    Args:
        state: ``(sigma, mem)``.
        flag: :math:`R`, 1 where the neuron fired in the step before.
        x: input, of the shape of the membrane.
        rule: whose reset ``"none"`` leaves the membrane as it is.
    """
    sigma, mem = state
    residue = mem if rule.reset == "none" else mem - flag
    return sigma + x, sigma + x - sigma + residue
