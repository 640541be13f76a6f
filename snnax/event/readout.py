r"""Leaky integrators that read out an event-driven network: their voltage at given times, and its maximum.

The voltage is the sum of the responses to the inputs before it,
:math:`V(t) = v_{leak} + \sum_{t_i < t} w_i \kappa(t - t_i)`, so that a readout at given times is one matrix product.
The maximum over time lies at an input, at the end, or at the one maximum between two inputs, which has a closed form
(:mod:`snnax.event.crossing`); a scan over the sorted inputs finds when it is. Its gradient is that of the voltage at
this time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError
from snnax.event.arguments import seconds
from snnax.event.closed_form import advance, decay
from snnax.event.crossing import peak_time
from snnax.event.delays import delayed
from snnax.event.feedforward import checked_inputs, sorted_events
from snnax.event.network import Network
from snnax.event.neuron import Membrane, membrane
from snnax.event.spike_trains import Trains, concatenated

__all__ = ["li_max_voltage", "li_voltage", "voltages"]


def li_voltage(inputs: Trains, weights: Any, parameters: Membrane, times: Any) -> jax.Array:
    r"""The voltage of leaky integrators at given times.

    .. math:: V_m(t) = v_{leak} + \sum_{n, t_{nk} < t} w_{nm}\, \kappa(t - t_{nk})

    Args:
        inputs: spike trains of ``N`` inputs, ``times[B, N, K]``.
        weights: ``[N, M]``.
        parameters: of the ``M`` integrators; of :class:`LIFParameters` the threshold is not used.
        times: ``[T]``, in seconds.

    Returns:
        ``[T, B, M]``, with gradients in ``weights``, ``inputs.times`` and ``times``.

    Raises:
        ArgumentError: for inputs that are no trains, negative times of inputs, or times that are no vector.
        ShapeError: if ``weights`` is not ``[N, M]``.

    Compared with
        jaxsnn's ``LeakyIntegrator`` steps over a time grid; this is exact at each of the times.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import LIParameters, from_lists, li_voltage
        >>> v = li_voltage(from_lists([[[1e-3]]]), jnp.ones((1, 1)), LIParameters(), jnp.array([0.0, 6e-3]))
        >>> [f"{value:.4f}" for value in v[:, 0, 0]]
        ['0.0000', '0.2387']
    """
    inputs, weights = checked_inputs(inputs, weights, "li_voltage")
    membrane(parameters, "li_voltage(parameters=...)")
    points = checks.array(times, "li_voltage(times=...)").astype(inputs.times.dtype)
    if points.ndim != 1:
        raise ArgumentError(
            f"li_voltage(times of shape {points.shape}): expected [T], as jnp.linspace(0, 0.05, 100)."
        )
    passed = points[:, None, None, None] - inputs.times[None]
    heard = passed > 0
    responses = jnp.where(heard, decay(jnp.where(heard, passed, 0), parameters).response, 0)
    return parameters.v_leak + jnp.einsum("tbnk,nm->tbm", responses, weights)


def li_max_voltage(inputs: Trains, weights: Any, parameters: Membrane, *, t_max: float) -> jax.Array:
    r"""The largest voltage of leaky integrators over time, :math:`\max_{0 \le t \le t_{max}} V_m(t)`.

    Of a spiking neuron that is silent it is how close the neuron came to its threshold: pass its
    :class:`LIFParameters`.

    Args:
        inputs: spike trains of ``N`` inputs, ``times[B, N, K]``.
        weights: ``[N, M]``.
        parameters: of the ``M`` integrators; the threshold of :class:`LIFParameters` is not used.
        t_max: until when, in seconds.

    Returns:
        ``[B, M]``, with gradients in ``weights`` and ``inputs.times``: those of the voltage at its maximum, also where
        that is an input at which the voltage turns.

    Raises:
        ArgumentError: for inputs that are no trains, negative times, or a ``t_max`` that is not positive and finite.
        ShapeError: if ``weights`` is not ``[N, M]``.

    Compared with
        jaxsnn takes the maximum over the points of a time grid.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import LIParameters, from_lists, li_max_voltage
        >>> trains = from_lists([[[1e-3]]])
        >>> print(f"{li_max_voltage(trains, jnp.ones((1, 1)), LIParameters(), t_max=0.05)[0, 0]:.4f}")
        0.2500
    """
    inputs, weights = checked_inputs(inputs, weights, "li_max_voltage")
    membrane(parameters, "li_max_voltage(parameters=...)")
    horizon = seconds(t_max, "li_max_voltage(t_max=...)")
    flat = inputs.times.reshape(len(inputs.times), -1)
    turn, kink = _argmax(*jax.lax.stop_gradient((inputs.times, weights)), parameters, horizon)
    # A maximum at an input moves with it.
    moving = jnp.take_along_axis(flat, jnp.maximum(kink, 0).reshape(len(flat), -1), 1).reshape(kink.shape)
    at = jnp.where(kink >= 0, moving, turn)
    passed = at[:, None, None, :] - inputs.times[..., None]
    heard = passed > 0
    responses = jnp.where(heard, decay(jnp.where(heard, passed, 0), parameters).response, 0)
    return parameters.v_leak + jnp.einsum("bnkm,nm->bm", responses, weights)


def voltages(
    network: Network,
    inputs: Mapping[str, Trains],
    spikes: Mapping[str, Trains],
    *,
    times: Any = None,
    t_max: float | None = None,
) -> dict[str, jax.Array]:
    """The voltages of a network's readouts, of the spikes that reach them.

    Args:
        network: with :class:`Readout`.
        inputs: spike trains of every input by name, as :func:`~snnax.event.simulate` was given them.
        spikes: those of the populations by name: the ``trains`` of the :class:`Simulation` that it returned.
        times: ``[T]`` in seconds, at which they are read; ``None`` for the largest voltage of each up to ``t_max``.
        t_max: in seconds, without ``times``.

    Returns:
        By name of the readout ``[T, B, N]``, or ``[B, N]``, exact, with gradients in weights, delays and spikes.

    Raises:
        ArgumentError: for neither or both of ``times`` and ``t_max``, or trains that are missing.
        ShapeError: for trains of other sizes.

    Compared with
        jaxsnn 0.3.0 has no readout of an event-driven network; its ``discrete`` package steps in time.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> network = event.Network(
        ...     [event.Population("hidden", 2, event.LIFParameters())],
        ...     [event.Projection("in", "hidden", jnp.full((1, 2), 5.0)),
        ...      event.Projection("hidden", "voltage", jnp.ones((2, 1)))],
        ...     [event.Readout("voltage", 1, event.LIParameters())])
        >>> inputs = {"in": event.trains(jnp.zeros((1, 1)))}
        >>> found = event.simulate(network, inputs, t_max=0.05)
        >>> f"{event.voltages(network, inputs, found.trains, t_max=0.05)['voltage'][0, 0]:.2f}"
        '0.50'
    """
    checks.instance(Network, "snnax.event.Network(populations, projections, readouts)")(
        network, "voltages(network=...)"
    )
    network.check_shapes()
    if (times is None) == (t_max is None):
        raise ArgumentError(
            "voltages(...) needs either times, as times=jnp.linspace(0, 0.05, 100), or t_max, as t_max=0.05, for the "
            "largest voltages up to then."
        )
    trains: dict[str, Trains] = {}
    for argument, given in (("inputs", inputs), ("spikes", spikes)):
        trains |= checks.mapping("spike trains by name")(given, f"voltages({argument}=...)")
    found = {}
    for readout in network.readouts:
        projections = network.into([readout.name])
        if missing := [p.source for p in projections if p.source not in trains]:
            raise ArgumentError(
                f"voltages(...): {readout.name!r} is reached by {missing[0]!r}, which is neither in inputs nor in "
                f"spikes ({sorted(trains)}); pass inputs and the trains of simulate(network, inputs, ...)."
            )
        heard = concatenated(*(delayed(trains[p.source], p.delay) for p in projections))
        weights = jnp.concatenate([p.masked() for p in projections])
        found[readout.name] = (
            li_max_voltage(heard, weights, readout.parameters, t_max=t_max)
            if t_max is not None
            else li_voltage(heard, weights, readout.parameters, times)
        )
    return found


def _argmax(
    times: jax.Array, weights: jax.Array, parameters: Membrane, t_max: float
) -> tuple[jax.Array, jax.Array]:
    """When each voltage is largest, ``[B, M]``; and at which input it is then, of all, or -1."""
    events = sorted_events(times, t_max, parameters)
    following = jnp.concatenate([events.place[1:], jnp.full_like(events.place[:1], -1)])
    zero = jnp.zeros((len(times), weights.shape[1]), weights.dtype)

    def step(carry: Any, event: Any) -> Any:
        (u, current), (best, when, which) = carry
        source, start, stop, factors, after = event
        current = current + weights[source]
        end_u, end_current = advance(u, current, factors)
        inside = (current > jnp.maximum(u, 0)) & (end_current <= end_u)
        passed = jnp.where(inside, peak_time(u, current, parameters), 0)
        height = jnp.where(inside, current * jnp.exp(-passed / parameters.tau_syn), end_u)
        time = jnp.where(inside, start + passed, stop)
        # The end of the last interval is the end of the simulation, and no input.
        place = jnp.where(inside | (stop >= t_max), -1, after[:, None])
        new = height > best
        found = jnp.where(new, height, best), jnp.where(new, time, when), jnp.where(new, place, which)
        return ((end_u, end_current), found), None

    start = ((zero, zero), (zero, zero, jnp.full(zero.shape, -1, jnp.int32)))
    xs = (events.source, events.start, events.stop, events.factors, following)
    (_, (_, when, which)), _ = jax.lax.scan(step, start, xs)
    return when, which
