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
from snnax.errors import ShapeError
from snnax.event.loop_adjoint import adjoint
from snnax.event.loop_forward import Plan, Record, Rest, Wiring, run
from snnax.event.neuron import LIFParameters
from snnax.event.trains import Trains

__all__ = ["Wiring", "event_loop"]

Array = jax.Array
Populations = LIFParameters | Sequence[tuple[int, LIFParameters]]


def event_loop(
    spikes: Trains,
    wiring: Wiring,
    neurons: Populations,
    *,
    duration: float,
    max_spikes: int = 1,
    max_events: int | None = None,
    max_in_flight: int | None = None,
) -> Trains:
    r"""Spike times of a recurrent network, event by event; differentiable in weights, delays and input times.

    .. math:: \tau_m \dot V = v_{leak} - V + I, \qquad \tau_s \dot I = -I, \qquad
        V_n = v_{th}: \; V_n \to v_{reset},\; I \to I + W_{n,:}

    Args:
        spikes: input trains ``[B, N_in, K_in]``; spikes at ``duration`` and later do nothing.
        wiring: weights among ``N`` neurons; each part gets its gradient. ``Wiring(inputs)`` has no recurrence.
        neurons: parameters of all neurons, or ``[(size, parameters), ...]`` of populations side by side.
        duration: the network runs from 0 to here, in seconds.
        max_spikes: times kept of each neuron, ``K``; more are flagged in ``overflow``, and act on the network.
        max_events: the budget of each sample: input spikes, spikes and arrivals along delayed axons together. ``None``:
            enough for every neuron's ``max_spikes``. A sample with more is flagged in the ``overflow`` of all neurons.
        max_in_flight: spikes under way along delayed axons at once, of each sample. ``None``: two for each axon, and
            at least 16. A sample with more is flagged.

    Returns:
        Trains ``[B, N, K]``. Time and memory grow with the events of the sample that has most.

    Raises:
        ShapeError: if weights, delays or populations do not fit each other; the message says what would.

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
        ...     found = event.event_loop(event.trains(jnp.zeros((1, 1))), wiring, neurons, duration=9.0)
        ...     return found.times[0, 1, 0]
        >>> print(f"{last(wiring):.4f} {jax.grad(last)(wiring).recurrent[0, 1]:.4f}")
        0.6673 -0.0375
    """
    populations = _populations(neurons, wiring)
    _check(spikes, wiring, populations)
    batch, inputs, per_input = spikes.times.shape
    size = sum(count for count, _ in populations)
    max_spikes = checks.count()(max_spikes, "event_loop(max_spikes=...)")
    axons = 0 if wiring.delays is None else wiring.delays.size
    if max_events is None:
        max_events = inputs * per_input + (size + axons) * max_spikes
    if max_in_flight is None:
        max_in_flight = max(16, 2 * axons)
    plan = Plan(
        neurons=populations,
        duration=checks.number(above=0.0)(duration, "event_loop(duration=...)"),
        spikes=max_spikes,
        events=checks.count()(max_events, "event_loop(max_events=...)"),
        in_flight=checks.count()(max_in_flight, "event_loop(max_in_flight=...)"),
        per_input=per_input,
        inputs=inputs,
    )
    dtype = jnp.result_type(spikes.times, wiring.inputs)
    wiring = jax.tree.map(lambda part: jnp.asarray(part, dtype), wiring)
    times, overflow = _loop(plan, spikes.times.reshape(batch, -1).astype(dtype), wiring)
    return Trains(times, overflow)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loop(plan: Plan, times: Array, wiring: Wiring) -> tuple[Array, Array]:
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


_loop.defvjp(_forward, _backward)


# --- arguments ------------------------------------------------------------------------------------


def _populations(neurons: Populations, wiring: Wiring) -> tuple[tuple[int, LIFParameters], ...]:
    if isinstance(neurons, LIFParameters):
        return ((wiring.inputs.shape[-1], neurons),)
    return tuple((checks.count()(size, "event_loop(size of a population)"), p) for size, p in neurons)


def _check(spikes: Trains, wiring: Wiring, populations: tuple[tuple[int, LIFParameters], ...]) -> None:
    size = sum(count for count, _ in populations)
    axons = () if wiring.delays is None else wiring.delays.shape
    expected = {
        "inputs": (spikes.times.shape[1], size),
        "recurrent": (size, size),
        "delayed": (*axons[:1], size, size),
        "delays": (*axons[:1], size),
    }
    for name, shape in expected.items():
        part = getattr(wiring, name)
        if part is not None and jnp.shape(part) != shape:
            raise ShapeError(
                f"event_loop(wiring.{name} of shape {jnp.shape(part)}): expected {shape} for {spikes.times.shape[1]} "
                f"input trains and {size} neurons."
            )
    if (wiring.delayed is None) != (wiring.delays is None):
        raise ShapeError(
            "event_loop(wiring): `delayed` weights [P, N, N] and their `delays` [P, N] belong together; "
            "pass both or none."
        )
