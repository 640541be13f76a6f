r"""Networks whose every cycle has a delay, by waveform relaxation: whole layers at a time, again and again.

If all spike times :math:`s` of a network were known, its neurons would be a feed-forward layer with the inputs
:math:`t` and the delayed spikes :math:`s + d`. Their spikes are the fixed point of

.. math:: s = L(t, s + d), \qquad W = [W_{in}; W_{delayed}]

and the sweeps :math:`s \leftarrow L(t, s + d)` from silence reach it after finitely many: with the least delay
:math:`d_{min}`, sweep :math:`k` is exact up to :math:`k d_{min}` at least. It is reached when a sweep changes no time
by more than rounding, :math:`8 \epsilon\, t_{max}`: sweeps may circle by the last bit of a time for ever.

The gradient is that of the fixed point, with :math:`J = \partial L / \partial s`,

.. math:: \bar s = \left(1 + J^T + (J^T)^2 + \dots\right) \frac{\partial \mathcal L}{\partial s}

which is finite as well: effects come after their causes, so that :math:`J` is nilpotent. The weights, delays and
inputs get what the last sweep passes back of :math:`\bar s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError
from snnax.event.arguments import seconds
from snnax.event.delays import delayed
from snnax.event.feedforward import lif_spikes
from snnax.event.neuron import LIFParameters
from snnax.event.spike_trains import Trains, concatenated
from snnax.event.wiring import Populations, Wiring, checked

__all__ = ["relaxed_spikes"]

Array = jax.Array


def relaxed_spikes(
    inputs: Trains,
    wiring: Wiring,
    parameters: LIFParameters | Sequence[tuple[int, LIFParameters]],
    *,
    t_max: float,
    max_spikes: int = 1,
    max_sweeps: int | None = None,
) -> Trains:
    r"""Spike times of a recurrent network with delays, by relaxation; the same as :func:`recurrent_spikes` gives.

    Args:
        inputs: spike trains ``[B, N_in, K_in]`` from 0 on; those at ``t_max`` and later do nothing.
        wiring: weights among ``N`` neurons, without ``recurrent``; each part gets its gradient.
        parameters: of all neurons, or ``[(size, parameters), ...]`` of populations side by side.
        t_max: the network runs from 0 to here, in seconds.
        max_spikes: times kept of each neuron, ``K``; more are flagged in ``overflow``, and do not act on the network.
        max_sweeps: the most sweeps. ``None``: one more than the network can have spikes, which always suffices. If
            they end before all is settled, the ``overflow`` of all neurons is flagged.

    Returns:
        Trains ``[B, N, K]``. Time grows with the sweeps, which is with the number of delays that lie one after another.

    Raises:
        ArgumentError: for ``recurrent`` weights: without a delay an effect has its cause's own time, and sweeps
            cannot order the two.
        ShapeError: if weights, delays and populations do not fit each other.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> wiring = event.Wiring(
        ...     jnp.array([[5.0, 0.0]]), delayed=jnp.array([[[0.0, 5.0], [0.0, 0.0]]]), delays=jnp.array([[1.0, 1.0]])
        ... )
        >>> neurons = event.LIFParameters(tau_mem=2.0, tau_syn=1.0)
        >>> def last(wiring):
        ...     found = event.relaxed_spikes(event.trains(jnp.zeros((1, 1))), wiring, neurons, t_max=9.0)
        ...     return found.times[0, 1, 0]
        >>> print(f"{last(wiring):.4f} {jax.grad(last)(wiring).delays[0, 0]:.4f}")
        2.2940 1.0000
    """
    inputs, wiring, populations = checked("relaxed_spikes", inputs, wiring, parameters)
    if wiring.recurrent is not None:
        raise ArgumentError(
            "relaxed_spikes(wiring=...) got recurrent weights without a delay; expected `delayed` weights only. "
            "Write recurrent_spikes(inputs, wiring, parameters, ...), which takes both."
        )
    budget = checks.count()(max_spikes, "relaxed_spikes(max_spikes=...)")
    if max_sweeps is None:
        max_sweeps = wiring.inputs.shape[1] * budget + 1
    plan = _Plan(
        populations=populations,
        t_max=seconds(t_max, "relaxed_spikes(t_max=...)"),
        spikes=budget,
        sweeps=checks.count()(max_sweeps, "relaxed_spikes(max_sweeps=...)"),
    )
    return Trains(*_relaxed(plan, inputs.times, wiring))


@dataclass(frozen=True)
class _Plan:
    """What is fixed when it is compiled."""

    populations: Populations
    t_max: float
    spikes: int
    sweeps: int


class _Sweeps(NamedTuple):
    """Trains after some sweeps, and whether the last one changed them."""

    times: Array
    overflow: Array
    moving: Array
    number: Array


class _Kept(NamedTuple):
    """What the gradient needs: the fixed point, and what it is one of."""

    times: Array
    inputs: Array
    wiring: Wiring


def _sweep(plan: _Plan, times: Array, inputs: Array, wiring: Wiring) -> Trains:
    """All neurons once, fed with the trains of the sweep before."""
    size = times.shape[1]
    fed, weights = [_complete(inputs)], [wiring.inputs]
    if wiring.delayed is not None and wiring.delays is not None:
        fed += [delayed(_complete(times), delay) for delay in wiring.delays]
        weights.append(wiring.delayed.reshape(-1, size))
    trains, table = concatenated(*fed), jnp.concatenate(weights)
    parts, first = [], 0
    for count, parameters in plan.populations:
        own = table[:, first : first + count]
        parts.append(lif_spikes(trains, own, parameters, t_max=plan.t_max, max_spikes=plan.spikes))
        first += count
    return concatenated(*parts)


def _complete(times: Array) -> Trains:
    return Trains(times, jnp.zeros(times.shape[:2], bool))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _relaxed_with_gradient(plan: _Plan, inputs: Array, wiring: Wiring) -> tuple[Array, Array]:
    return _forward(plan, inputs, wiring)[0]


def _forward(plan: _Plan, inputs: Array, wiring: Wiring) -> tuple[tuple[Array, Array], _Kept]:
    shape = (inputs.shape[0], wiring.inputs.shape[1])
    tolerance = 8 * jnp.finfo(inputs.dtype).eps * plan.t_max

    def step(before: _Sweeps) -> _Sweeps:
        times, overflow = _sweep(plan, before.times, inputs, wiring)
        there, was = times < jnp.inf, before.times < jnp.inf
        moved = jnp.abs(jnp.where(there, times, 0) - jnp.where(was, before.times, 0)) > tolerance
        return _Sweeps(times, overflow, jnp.any((there != was) | moved, (1, 2)), before.number + 1)

    start = _Sweeps(
        times=jnp.full((*shape, plan.spikes), jnp.inf, inputs.dtype),
        overflow=jnp.zeros(shape, bool),
        moving=jnp.ones(shape[:1], bool),
        number=jnp.int32(0),
    )
    end = jax.lax.while_loop(lambda s: jnp.any(s.moving) & (s.number <= plan.sweeps), step, start)
    return (end.times, end.overflow | end.moving[:, None]), _Kept(end.times, inputs, wiring)


def _backward(plan: _Plan, kept: _Kept, cotangents: tuple[Array, Any]) -> tuple[Array, Wiring]:
    fired = kept.times < jnp.inf
    own = jnp.where(fired, cotangents[0], 0)
    _, pull_back = jax.vjp(lambda *parts: _sweep(plan, *parts).times, *kept)

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        total, _, count = carry
        new = own + jnp.where(fired, pull_back(total)[0], 0)
        return new, jnp.any(new != total), count + 1

    start = (own, jnp.array(True), jnp.int32(0))
    total, _, _ = jax.lax.while_loop(lambda carry: carry[1] & (carry[2] <= plan.sweeps), step, start)
    _, inputs, wiring = pull_back(total)
    return inputs, wiring


_relaxed_with_gradient.defvjp(_forward, _backward)
_relaxed = jax.jit(_relaxed_with_gradient, static_argnums=0)  # one program where Python calls it, too
