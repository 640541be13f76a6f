r"""EventProp for the event loop: gradients by one walk back over its events.

With :math:`p_u = \partial L / \partial u` and :math:`p_I = \partial L / \partial I` of the state just after a time,
going back over a time :math:`t` without events is the transpose of the flow,

.. math:: p_u \leftarrow e^{-t/\tau_m} p_u, \qquad p_I \leftarrow e^{-t/\tau_s} p_I + \kappa(t)\, p_u .

Let :math:`g` be the derivative of the loss by the time of an event, beginning with the cotangent of that output.

* *A kick* :math:`w_n` on the currents at that time, by an input, an arrival or a spike: its weights get :math:`p_I`,
  and moving it later lets each current decay less and each membrane charge less,

  .. math:: \frac{\partial L}{\partial w_n} = p_{I,n}, \qquad
      g \mathrel{+}= \sum_n w_n \left(\frac{p_{I,n}}{\tau_{s,n}} - \frac{p_{u,n}}{\tau_{m,n}}\right).

* *An arrival*: its :math:`g` is that of its delay, and is added to the :math:`g` of the spike that sent it.
* *The end of a refractory time* of neuron :math:`n`, at its spike's time plus a constant: from here on the voltage
  follows a curve that starts later, :math:`g \mathrel{+}= -\dot u_n^+\, p_{u,n}`, and before it no voltage matters,
  :math:`p_{u,n} = 0`. Without refractory time this is part of the spike.
* *A spike* of neuron :math:`n`: a voltage higher before it makes it earlier, by the slope of the crossing,
  :math:`p_{u,n} \leftarrow -g / \dot u_n^-`.

These are the equations of Wunderlich and Pehle (2021, doi:10.1038/s41598-021-91786-z), with
:math:`\lambda_V = -p_u / \tau_m` and :math:`\lambda_I = -p_I / \tau_s`, and the terms of delays, refractory times
and populations that differ.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnax.event.loop_forward import Plan, Record, Rest

__all__ = ["Gradients", "adjoint"]

Array = jax.Array


class Gradients(NamedTuple):
    """Of the input times ``[B, N_in * K]``, of the table of weights, and of the delays ``[P * N]``."""

    times: Array
    rows: Array
    delays: Array | None


class _Held(NamedTuple):
    """Of neurons with a refractory time: their last release, and ``g`` of the spike before it; all ``[B, N]``."""

    rest: Rest
    spike: Array


class _Walk(NamedTuple):
    """What is carried back: adjoint state ``[B, N]``, gradients so far, ``g`` of the events ``[E, B]``."""

    u: Array
    current: Array
    gradients: Gradients
    events: Array
    held: _Held | None


def adjoint(
    plan: Plan, rows: Array, record: Record, rest: Rest | None, used: Array, cotangent: Array
) -> Gradients:
    """Gradients of a loss by its derivatives in the spike times.

    Args:
        plan: the fixed part of the loop.
        rows: the table of weights.
        record: the events of the run.
        rest: releases after the last events, where neurons have a refractory time.
        used: the most events that a sample has.
        cotangent: ``[B, N, K]``; what it says of spikes that did not happen is ignored.
    """
    batch, dtype = cotangent.shape[0], cotangent.dtype
    zeros = jnp.zeros((batch, plan.size), dtype)
    axons = rows.shape[0] - plan.inputs - plan.size
    gradients = Gradients(
        jnp.zeros((batch, plan.slots), dtype),
        jnp.zeros_like(rows),
        None if record.origin is None else jnp.zeros(axons, dtype),
    )
    neuron = record.source - plan.slots
    neuron = jnp.where((neuron >= 0) & (neuron < plan.size), neuron, plan.size)
    sample = jnp.arange(batch)[None, :]
    events = cotangent.at[sample, neuron, record.ordinal].get(mode="fill", fill_value=0)
    walk = _Walk(zeros, zeros, gradients, events, None if rest is None else _Held(rest, zeros))

    def step(count: Array, walk: _Walk) -> _Walk:
        event = used - 1 - count
        now: Record = jax.tree.map(lambda kept: kept[event], record)
        return _back(plan, _undo(plan, rows, now, neuron[event], event, walk), now.wait)

    return jax.lax.fori_loop(0, used, step, walk).gradients


def _undo(plan: Plan, rows: Array, now: Record, neuron: Array, event: Array, walk: _Walk) -> _Walk:
    """From just after an event to just before it."""
    b = jnp.arange(neuron.size)
    row = plan.row(now.source)
    kick = rows.at[row].get(mode="fill", fill_value=0)
    felt = walk.current / plan.constant("tau_syn", kick) - walk.u / plan.constant("tau_mem", kick)
    by_kick = jnp.sum(kick * felt, 1)
    table = walk.gradients.rows.at[row].add(walk.current, mode="drop")
    times = walk.gradients.times.at[b, now.source].add(by_kick, mode="drop")
    delays, events, held = walk.gradients.delays, walk.events, walk.held
    if delays is not None and now.origin is not None:
        axon = now.source - plan.slots - plan.size
        axon = jnp.where(axon >= 0, axon, delays.size)
        delays = delays.at[axon].add(by_kick, mode="drop")
        origin = jnp.where(axon < delays.size, now.origin, events.shape[0])
        events = events.at[origin, b].add(by_kick, mode="drop")

    fires, column = neuron < plan.size, jnp.minimum(neuron, plan.size - 1)
    tau = plan.constant("tau_mem", kick)[0, column]
    drop = (plan.constant("threshold", kick) - plan.constant("v_reset", kick))[0, column]
    g = by_kick + events[event] - walk.u[b, column] * (now.slope + drop) / tau
    if held is not None:
        g += held.spike[b, column]
        before = jax.tree.map(
            lambda of_all, own: of_all.at[b, neuron].set(own, mode="drop"), held.rest, now.rest
        )
        held = _Held(before, held.spike.at[b, neuron].set(0, mode="drop"))
    u = walk.u.at[b, neuron].set(-g * tau / jnp.where(fires, now.slope, 1), mode="drop")
    return _Walk(u, walk.current, Gradients(times, table, delays), events, held)


def _back(plan: Plan, walk: _Walk, wait: Array) -> _Walk:
    """Back over a time without events: the transpose of the flow, and the releases in it."""
    wait = wait[:, None]
    if walk.held is None:
        u, current = _transposed_flow(plan, walk.u, walk.current, wait)
        return walk._replace(u=u, current=current)
    (age, at_release), spike = walk.held
    free = jnp.clip(age, 0, wait)
    u, current = _transposed_flow(plan, walk.u, walk.current, free)
    released = (age >= 0) & (age < wait)
    slope = (at_release - plan.constant("u_reset", u)) / plan.constant("tau_mem", u)
    held = _Held(Rest(age - wait, at_release), jnp.where(released, spike - u * slope, spike))
    u = jnp.where(released, 0, u)
    current = _transposed_flow(plan, jnp.zeros_like(u), current, wait - free)[1]
    return walk._replace(u=u, current=current, held=held)


def _transposed_flow(plan: Plan, u: Array, current: Array, time: Array) -> tuple[Array, Array]:
    state = jnp.zeros_like(u)
    _, pull_back = jax.vjp(lambda *start: plan.flow(start[0], start[1], time), state, state)
    found: tuple[Array, Array] = pull_back((u, current))
    return found
