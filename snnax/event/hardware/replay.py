"""Spikes that were observed, with the gradients of neurons that would have fired there."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax

from snnax import checks
from snnax.errors import ShapeError
from snnax.event import eventprop
from snnax.event.arguments import seconds
from snnax.event.feedforward import checked_inputs
from snnax.event.neuron import LIFParameters
from snnax.event.spike_trains import Trains, given_trains

__all__ = ["replayed", "replayed_network"]


def replayed(
    inputs: Trains,
    weights: Any,
    observed: Trains,
    parameters: LIFParameters,
    *,
    t_max: float,
    slowest: float = 0.0,
) -> Trains:
    r"""Spikes of a layer that were observed elsewhere, as on a chip, with gradients in software (EventProp).

    The value is ``observed``, whatever the weights. The gradients are those of :func:`~snnax.event.lif_spikes` for
    neurons whose voltage reached the threshold at the times observed:

    .. math:: \frac{\partial s}{\partial w_i} = -\frac{\kappa(s - t_i)}{\dot V(s)}, \qquad
        \dot V(s) = \frac{v_{leak} - v_{th} + I(s)}{\tau_m}

    A current :math:`I(s)` that could not have lifted the voltage counts as one that just could, so that the gradient is
    large there, and of a few such spikes a million times that of all others: ``slowest`` bounds it.

    Args:
        inputs: spike trains that reached the layer, ``[B, N, K_in]``.
        weights: ``[N, M]``.
        observed: spikes of the layer, ``[B, M, K]``.
        parameters: what the neurons should be.
        t_max: when the observation ended, in seconds.
        slowest: by how much a voltage rises at its spike in ``tau_mem``, at least. 0 has the exact gradient where
            spikes are exact; 0.2 of a threshold does well for a chip.

    Returns:
        ``observed``, with gradients with respect to ``weights`` and ``inputs.times``.

    Raises:
        ArgumentError: for what is no trains, no parameters, no time.
        ShapeError: if they do not fit each other.

    Compared with
        jaxsnn 0.1.0 puts the spikes of a chip in the place of its own in a second pass through the network, and loses
        the part of the reset.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> from snnax.event.hardware import replayed
        >>> inputs, seen = event.trains(jnp.array([[1e-3]])), event.trains(jnp.array([[5e-3]]))
        >>> def time(weights):
        ...     return replayed(inputs, weights, seen, event.LIFParameters(), t_max=0.02).times.sum()
        >>> found, slope = jax.value_and_grad(time)(jnp.array([[5.0]]))
        >>> f"{found:.3f}", bool(slope[0, 0] < 0)  # seen at 5 ms; a larger weight would make it earlier
        ('0.005', True)
    """
    inputs, matrix = checked_inputs(inputs, weights, "replayed")
    seen = given_trains(observed, "replayed(observed=...)")
    checks.instance(LIFParameters, "LIFParameters()")(parameters, "replayed(parameters=...)")
    expected = (inputs.times.shape[0], matrix.shape[1])
    if seen.times.shape[:2] != expected:
        raise ShapeError(
            f"replayed(observed with times of shape {seen.times.shape}): expected [B, M, K] with B = {expected[0]} as "
            f"in inputs and M = {expected[1]} as in weights."
        )
    times = seen.times.astype(inputs.times.dtype)
    horizon = seconds(t_max, "replayed(t_max=...)")
    least = checks.number(0.0)(slowest, "replayed(slowest=...)")
    return seen._replace(times=_observed(inputs.times, matrix, times, parameters, horizon, float(least)))


def replayed_network(
    inputs: Trains,
    weights: Sequence[Any],
    observed: Sequence[Trains],
    parameters: LIFParameters,
    *,
    t_max: float,
    used: Sequence[Any] | None = None,
    slowest: float = 0.0,
) -> list[Trains]:
    """Spikes of layers one after the other that were observed, with gradients through all of them.

    Args:
        inputs: of the first layer.
        weights: of each layer.
        observed: spikes of each layer.
        parameters: as of :func:`replayed`.
        t_max: as there.
        used: the weights that the chip had in the place of these, as :meth:`Chip.programmed` tells; gradients are those
            of its weights, and taken for those of ``weights``. ``None``: the same.
        slowest: as of :func:`replayed`.

    Returns:
        The spikes of each layer.

    Raises:
        ArgumentError: as :func:`replayed`.
        ShapeError: as :func:`replayed`, or for other numbers of layers.
    """
    real = weights if used is None else used
    if not len(weights) == len(observed) == len(real):
        raise ShapeError(
            f"replayed_network(weights of {len(weights)}, observed of {len(observed)}, used of {len(real)} layers): "
            "expected the same number."
        )
    found, spikes = [], inputs
    for wanted, has, seen in zip(weights, real, observed, strict=True):
        straight = wanted + jax.lax.stop_gradient(has - wanted)
        spikes = replayed(spikes, straight, seen, parameters, t_max=t_max, slowest=slowest)
        found.append(spikes)
    return found


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _observed(
    times: jax.Array,
    weights: jax.Array,
    spikes: jax.Array,
    parameters: LIFParameters,
    t_max: float,
    slowest: float,
) -> jax.Array:
    del times, weights, parameters, t_max, slowest
    return spikes


def _forward(
    times: jax.Array,
    weights: jax.Array,
    spikes: jax.Array,
    parameters: LIFParameters,
    t_max: float,
    slowest: float,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    del parameters, t_max, slowest
    return spikes, (times, weights, spikes)


def _backward(
    parameters: LIFParameters,
    t_max: float,
    slowest: float,
    kept: tuple[jax.Array, jax.Array, jax.Array],
    cotangents: jax.Array,
) -> tuple[jax.Array, jax.Array, None]:
    by_time, by_weight = eventprop.pullback(*kept, cotangents, parameters, t_max, slowest=slowest)
    return by_time, by_weight, None


_observed.defvjp(_forward, _backward)
