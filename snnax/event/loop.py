"""Recurrent and cyclic networks with exact spike times: any weights among all neurons, with EventProp gradients.

What an event is, and how ties and budgets are dealt with: :mod:`snnax.event.loop_forward`. The gradient:
:mod:`snnax.event.loop_adjoint`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.event.arguments import seconds
from snnax.event.loop_adjoint import adjoint
from snnax.event.loop_forward import Plan, Record, Rest, run
from snnax.event.neuron import LIFParameters
from snnax.event.spike_trains import Trains
from snnax.event.wiring import Wiring, checked

__all__ = ["recurrent_spikes"]

Array = jax.Array


def recurrent_spikes(
    inputs: Trains,
    wiring: Wiring,
    parameters: LIFParameters | Sequence[tuple[int, LIFParameters]],
    *,
    t_max: float,
    max_spikes: int = 1,
    max_events: int | None = None,
    max_in_flight: int | None = None,
) -> Trains:
    r"""Spike times of a recurrent network, event by event; differentiable in weights, delays and input times.

    .. math:: \tau_m \dot V = v_{leak} - V + I, \qquad \tau_s \dot I = -I, \qquad
        V_n = v_{th}: \; V_n \to v_{reset},\; I \to I + W_{n,:}

    Args:
        inputs: spike trains ``[B, N_in, K_in]`` from 0 on; those at ``t_max`` and later do nothing.
        wiring: weights among ``N`` neurons; each part gets its gradient. ``Wiring(inputs)`` has no recurrence.
        parameters: of all neurons, or ``[(size, parameters), ...]`` of populations side by side.
        t_max: the network runs from 0 to here, in seconds.
        max_spikes: times kept of each neuron, ``K``; more are flagged in ``overflow``, and act on the network.
        max_events: the budget of each sample: input spikes, spikes and arrivals along delayed axons together. ``None``:
            enough for every neuron's ``max_spikes``. A sample with more is flagged in the ``overflow`` of all neurons.
        max_in_flight: spikes under way along delayed axons at once, of each sample. ``None``: two for each axon, and
            at least 16. A sample with more is flagged.

    Returns:
        Trains ``[B, N, K]``. Time and memory grow with the events of the sample that has most.

    Raises:
        ArgumentError: for inputs that are no trains, negative times, a ``t_max`` that is not positive and finite, a
            budget below 1.
        ShapeError: if weights, delays and populations do not fit each other.

    Compared with
        jaxsnn delays one of two neurons that fire at the same time, runs a fixed number of steps and cuts what is
        beyond them silently, and finds no spikes in cycles of populations without delay. Its EventProp gradient
        is wrong for ``v_leak`` other than 0.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> wiring = event.Wiring(jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 6.0], [-1.0, 0.0]]))
        >>> neurons = event.LIFParameters(tau_mem=2.0, tau_syn=1.0, threshold=0.5)
        >>> def last(wiring):
        ...     found = event.recurrent_spikes(event.trains(jnp.zeros((1, 1))), wiring, neurons, t_max=9.0)
        ...     return found.times[0, 1, 0]
        >>> print(f"{last(wiring):.4f} {jax.grad(last)(wiring).recurrent[0, 1]:.4f}")
        0.6673 -0.0375
    """
    inputs, wiring, populations = checked("recurrent_spikes", inputs, wiring, parameters)
    batch, trains, per_train = inputs.times.shape
    budget = checks.count()(max_spikes, "recurrent_spikes(max_spikes=...)")
    size, axons = wiring.inputs.shape[1], 0 if wiring.delays is None else wiring.delays.size
    if max_events is None:
        max_events = trains * per_train + (size + axons) * budget
    if max_in_flight is None:
        max_in_flight = max(16, 2 * axons)
    plan = Plan(
        neurons=populations,
        t_max=seconds(t_max, "recurrent_spikes(t_max=...)"),
        spikes=budget,
        events=checks.count()(max_events, "recurrent_spikes(max_events=...)"),
        in_flight=checks.count()(max_in_flight, "recurrent_spikes(max_in_flight=...)"),
        per_input=per_train,
        inputs=trains,
    )
    return Trains(*_loop(plan, inputs.times.reshape(batch, -1), wiring))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loop_with_gradient(plan: Plan, times: Array, wiring: Wiring) -> tuple[Array, Array]:
    return _forward(plan, times, wiring)[0]


class _Kept(NamedTuple):
    """What the walk back needs."""

    wiring: Wiring
    record: Record
    rest: Rest | None
    used: Array


def _forward(plan: Plan, times: Array, wiring: Wiring) -> tuple[tuple[Array, Array], _Kept]:
    state, record, used = run(plan, times, wiring)
    overflow = (state.fired > plan.spikes) | state.cut[:, None]
    return (state.trains, overflow), _Kept(wiring, record, state.rest, used)


def _backward(plan: Plan, kept: _Kept, cotangents: tuple[Array, Any]) -> tuple[Array, Wiring]:
    wiring = kept.wiring
    found = adjoint(plan, wiring.rows(), kept.record, kept.rest, kept.used, cotangents[0])
    (rows,) = jax.vjp(Wiring.rows, wiring)[1](found.rows)
    if wiring.delays is not None and found.delays is not None:
        rows = rows._replace(
            delays=jnp.where(wiring.delays >= 0, found.delays.reshape(wiring.delays.shape), 0)
        )
    return found.times, rows


_loop_with_gradient.defvjp(_forward, _backward)
_loop = jax.jit(_loop_with_gradient, static_argnums=0)  # one program where Python calls it, too
