r"""Values as spike times, and rasters of spikes as trains: what goes into an event-driven network.

In codes of latency a value :math:`x` from :math:`x_{low}` to :math:`x_{high}` is the time of one spike, between
:math:`t_{early}` and :math:`t_{late}`. The times have gradients with respect to the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.event.arguments import floats, seconds
from snnax.event.spike_trains import Trains, concatenated, from_dense, given_trains, to_dense, trains

__all__ = ["biased", "from_raster", "latency_code", "population_code", "to_raster"]


def latency_code(
    values: Any,
    latest: float,
    *,
    earliest: float = 0.0,
    low: float = 0.0,
    high: float = 1.0,
    largest_first: bool = True,
    silent_below: float | None = None,
) -> Trains:
    r"""Each value as the time of one spike.

    .. math:: t = t_{late} - \frac{x - x_{low}}{x_{high} - x_{low}} (t_{late} - t_{early})

    Args:
        values: ``[B, N]``; those outside of ``low`` to ``high`` count as the nearer of the two.
        latest: the latest time, in seconds.
        earliest: the earliest time, in seconds.
        low: the value that comes last.
        high: the value that comes first.
        largest_first: ``False``: the larger the later, :math:`t = t_{early} + \dots`
        silent_below: smaller values make no spike; ``None``: all do.

    Returns:
        :class:`Trains` of ``times[B, N, 1]``.

    Raises:
        ArgumentError: for what is no array of real numbers, times in another order, or ``low`` from ``high`` on.
        ShapeError: for values of another rank.

    Compared with
        * jaxsnn's Yin-Yang data have the larger later: ``largest_first=False``.
        * :func:`snnax.spikegen.latency` (snnTorch's) makes a raster in time steps, by default after the charging curve
          of a capacitor.

    Example:
        >>> from snnax import event
        >>> event.latency_code([[0.0, 0.25, 1.0]], 8.0, silent_below=0.1).times[0, :, 0].tolist()
        [inf, 6.0, 0.0]
    """
    array = _values(values, "latency_code")
    span = _span("latency_code", earliest, latest)
    least, most = _range("latency_code", low, high)
    part = (jnp.clip(array, least, most) - least) / (most - least)
    late = 1 - part if checks.flag(largest_first, "latency_code(largest_first=...)") else part
    times = span[0] + late * (span[1] - span[0])
    border = checks.maybe(checks.number())(silent_below, "latency_code(silent_below=...)")
    return trains(times if border is None else jnp.where(array < border, jnp.inf, times))


def population_code(
    values: Any,
    neurons: int,
    latest: float,
    *,
    earliest: float = 0.0,
    low: float = 0.0,
    high: float = 1.0,
    width: float | None = None,
    silent_below: float = 0.1,
) -> Trains:
    r"""Each value as the spikes of a population, of which the neurons that prefer it fire first.

    .. math:: a_n = e^{-(x - c_n)^2 / 2 \sigma^2}, \qquad t_n = t_{late} - a_n (t_{late} - t_{early})

    Args:
        values: ``[B, N]``.
        neurons: of each value, ``P``; the values :math:`c_n` that they prefer lie evenly from ``low`` to ``high``.
        latest: the latest time, in seconds.
        earliest: the earliest time, in seconds.
        low: the value that the first neuron prefers.
        high: the value that the last neuron prefers.
        width: :math:`\sigma`; ``None`` for the distance of two neighbours.
        silent_below: neurons with a smaller :math:`a_n`, from 0 to 1, make no spike.

    Returns:
        :class:`Trains` of ``times[B, N P, 1]``: the population of the first value, that of the second, and so on.

    Raises:
        ArgumentError: for what is no array of real numbers, fewer than 2 neurons, or numbers that do not fit.
        ShapeError: for values of another rank.

    Source: S. M. Bohte, J. N. Kok and H. La Poutre, "Error-backpropagation in temporally encoded networks of spiking
    neurons", Neurocomputing 48 (2002).

    Example:
        >>> from snnax import event
        >>> times = event.population_code([[0.5]], 5, 10e-3).times[0, :, 0]
        >>> [f"{time:.4f}" for time in times]
        ['0.0086', '0.0039', '0.0000', '0.0039', '0.0086']
    """
    array = _values(values, "population_code")
    number = checks.count(2)(neurons, "population_code(neurons=...)")
    span = _span("population_code", earliest, latest)
    least, most = _range("population_code", low, high)
    distance = (most - least) / (number - 1)
    border = checks.number(0.0, 1.0)(silent_below, "population_code(silent_below=...)")
    sigma = checks.maybe(checks.number(above=0.0))(width, "population_code(width=...)") or distance
    preferred = least + distance * jnp.arange(number, dtype=array.dtype)
    active = jnp.exp(-(((array[:, :, None] - preferred[None, None]) / sigma) ** 2) / 2)
    times = span[1] - active * (span[1] - span[0])
    return trains(jnp.where(active < border, jnp.inf, times).reshape(len(array), -1))


def biased(spikes: Any, time: float = 0.0) -> Trains:
    """Spike trains and one more neuron, which fires at a fixed time in each sample: what a bias is among spikes.

    Args:
        spikes: ``[B, N, K]``.
        time: of the spike, in seconds from 0.

    Returns:
        :class:`Trains` of ``times[B, N + 1, K]``; the new neuron is the last.

    Raises:
        ArgumentError: for what is no trains, or no time.

    Example:
        >>> from snnax import event
        >>> event.biased(event.latency_code([[0.25]], 8.0), 0.5).times[0, :, 0].tolist()
        [6.0, 0.5]
    """
    given = given_trains(spikes, "biased(spikes=...)")
    at = checks.number(0.0, called="seconds: a finite number")(time, "biased(time=...)")
    return concatenated(given, trains(jnp.full((len(given.times), 1), at, given.times.dtype)))


def from_raster(spikes: Any, dt: float, max_spikes: int | None = None) -> Trains:
    """Spikes in time steps as trains, whatever the shape of the populations.

    Args:
        spikes: ``[T, B, ...]``, of 0 and 1.
        dt: length of a step, in seconds.
        max_spikes: the budget ``K``; more spikes of a neuron overflow. ``None`` for what the busiest neuron needs,
            which is not known of an array that is traced.

    Returns:
        :class:`Trains` of ``times[B, N, K]``, ``N`` being all further axes in row-major order; times are the starts of
        the steps. :func:`to_raster` is the way back.

    Raises:
        ArgumentError: for what is no array of real numbers, other numbers than 0 and 1 (unless they are traced), no
            length of time, a budget below 1, or none for a traced array.
        ShapeError: for an array without axes for the batch and the neurons.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> raster = jnp.zeros((6, 2, 4, 4)).at[3, 0, 1, 2].set(1)
        >>> found = event.from_raster(raster, 1e-3)
        >>> found.times.shape, bool((event.to_raster(found, 1e-3, 6, (4, 4)) == raster).all())
        ((2, 16, 1), True)
    """
    dense = checks.array(spikes, "from_raster(spikes=...)")
    if dense.ndim < 3 or 0 in dense.shape:
        raise ShapeError(
            f"from_raster(spikes of shape {dense.shape}): expected [T, B, ...], time first, with neurons."
        )
    flat = dense.reshape(*dense.shape[:2], -1)
    if isinstance(flat, jax.core.Tracer):
        if max_spikes is None:
            raise ArgumentError(
                "from_raster(max_spikes=None) of a traced array: how many spikes there are is not known when the "
                "program is compiled; expected a budget, as from_raster(spikes, dt, max_spikes=20)."
            )
        return from_dense(flat, dt, max_spikes)
    known = np.asarray(flat)
    if not np.isin(known, (0, 1)).all():
        raise ArgumentError(
            f"from_raster(spikes=...) holds {known[~np.isin(known, (0, 1))][0]:g}; expected 0 and 1: several spikes of "
            "a step would be at one time. Split them over shorter steps."
        )
    most = max(1, int((known != 0).sum(0).max())) if max_spikes is None else max_spikes
    return from_dense(flat, dt, most)


def to_raster(spikes: Any, dt: float, num_steps: int, shape: Sequence[int] | None = None) -> jax.Array:
    """How many spikes fall in each time step, as :func:`to_dense`, in the shape of the populations.

    Args:
        spikes: ``[B, N, K]``.
        dt: length of a step, in seconds.
        num_steps: number of steps ``T``.
        shape: of the neurons of a sample; their number is ``N``. ``None`` for ``[N]``.

    Returns:
        Counts ``[T, B, *shape]``.

    Raises:
        ArgumentError: for what is no trains, no length of time, no number of steps.
        ShapeError: for a shape of another size.

    Example:
        >>> from snnax import event
        >>> event.to_raster(event.latency_code([[0.0, 0.2, 0.4, 1.0]], 3.0), 1.0, 4, (2, 2)).shape
        (4, 1, 2, 2)
    """
    given = given_trains(spikes, "to_raster(spikes=...)")
    neurons = given.times.shape[1]
    sizes = (neurons,) if shape is None else checks.shape(shape, "to_raster(shape=...)")
    if math.prod(sizes) != neurons:
        raise ShapeError(f"to_raster(shape={sizes}): expected a shape of {neurons} neurons, as ({neurons},).")
    dense = to_dense(given, dt, num_steps)
    return dense.reshape(*dense.shape[:2], *sizes)


def _values(values: Any, function: str) -> jax.Array:
    array = floats(values, f"{function}(values=...)")
    if array.ndim != 2:
        raise ShapeError(
            f"{function}(values of shape {array.shape}): expected [B, N], as values.reshape(B, -1)."
        )
    return array


def _span(function: str, earliest: Any, latest: Any) -> tuple[float, float]:
    """The two times."""
    last = seconds(latest, f"{function}(latest=...)")
    first = checks.number(0.0, called="seconds: a finite number")(earliest, f"{function}(earliest=...)")
    if first >= last:
        raise ArgumentError(
            f"{function}(earliest={first:g}, latest={last:g}): expected the earliest before the latest."
        )
    return first, last


def _range(function: str, low: Any, high: Any) -> tuple[float, float]:
    """The two values."""
    least, most = (
        checks.number()(value, f"{function}({name}=...)") for name, value in (("low", low), ("high", high))
    )
    if least >= most:
        raise ArgumentError(f"{function}(low={least:g}, high={most:g}): expected low below high.")
    return least, most
