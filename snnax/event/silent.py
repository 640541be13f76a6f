r"""Neurons that never fire: how far their voltage stays below the threshold, as a loss that wakes them.

A spike that does not happen has no gradient. The largest voltage of a neuron that is silent has one: without spikes of
its own the neuron is a leaky integrator, whose maximum over time is exact (:mod:`snnax.event.readout`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ShapeError
from snnax.event.feedforward import checked_inputs
from snnax.event.neuron import LIFParameters
from snnax.event.readout import li_max_voltage
from snnax.event.spike_trains import Trains, given_trains

__all__ = ["OVER", "silence"]

OVER = ("batch", "sample")
"""Where a neuron has to be silent to count."""


def silence(
    inputs: Trains,
    weights: Any,
    spikes: Trains,
    parameters: LIFParameters,
    *,
    t_max: float,
    over: str = "batch",
) -> jax.Array:
    r"""What silent neurons lack to fire: a loss whose gradient raises the peak of their voltage to the threshold.

    .. math:: \ell = \frac{1}{B M} \sum_{b, m \text{ silent}}
        \max\left(0, \frac{v_{th} - \max_t V_{bm}(t)}{|v_{th} - v_{leak}|}\right)

    Args:
        inputs: all spike trains that reach the neurons, ``[B, N, K_in]``; of a recurrent layer its own spikes, too.
        weights: of these, ``[N, M]``.
        spikes: of the neurons, ``[B, M, K]``.
        parameters: of the neurons.
        t_max: when the simulation ends, in seconds.
        over: ``"batch"``: a neuron counts if it fires in no sample, and is of no use therefore; ``"sample"``: each
            sample in which it is silent counts, as for neurons of an output that must fire.

    Returns:
        A number without a unit, from 0 on. It is 1 if no neuron fires and none has an input. It has gradients with
        respect to ``weights`` and ``inputs.times``.

    Raises:
        ArgumentError: for what is no trains, no parameters, no time, or another ``over``.
        ShapeError: if the parts do not fit each other.

    A voltage that inhibition never lets rise above ``v_leak`` is largest at the start, where it depends on nothing:
    such a neuron has no gradient. A voltage that starts elsewhere than at ``v_leak`` counts as if it started there.

    Compared with
        jaxsnn raises all weights of silent neurons by a constant; this follows the gradient of each.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax.event import LIFParameters, lif_spikes, silence, trains
        >>> inputs, weights, neurons = trains(jnp.zeros((1, 1))), jnp.array([[2.0]]), LIFParameters()
        >>> spikes = lif_spikes(inputs, weights, neurons, t_max=0.05)
        >>> def lacking(weights):
        ...     return silence(inputs, weights, spikes, neurons, t_max=0.05)
        >>> print(f"{lacking(weights):.3f} {jax.grad(lacking)(weights)[0, 0]:.3f}")
        0.500 -0.250
    """
    inputs, weights = checked_inputs(inputs, weights, "silence")
    spikes = given_trains(spikes, "silence(spikes=...)")
    checks.instance(LIFParameters, "LIFParameters()")(parameters, "silence(parameters=...)")
    checks.one_of(*OVER)(over, "silence(over=...)")
    expected = (inputs.times.shape[0], weights.shape[1])
    if spikes.times.shape[:2] != expected:
        raise ShapeError(
            f"silence(spikes of shape {spikes.times.shape}): expected [B, M, K] with [B, M] = {expected}, as inputs "
            "and weights have them."
        )
    silent = jnp.isinf(spikes.times[..., 0])
    if over == "batch":
        silent = jnp.broadcast_to(jnp.all(silent, 0), silent.shape)
    peak = li_max_voltage(inputs, weights, parameters, t_max=t_max)
    lacking = jnp.maximum(parameters.threshold - peak, 0) / abs(parameters.u_threshold)
    return jnp.mean(jnp.where(silent, lacking, 0))
