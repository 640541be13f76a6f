"""The spike train that one output neuron is to fire, and a ramp up to each of its spikes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.spikegen.arguments import breaks, default_float, drawing, known, number, real, whole

PATTERNS = ("regular", "uniform", "poisson")


def target_rate_code(
    num_steps: int,
    first_spike_time: int = 0,
    rate: float = 1,
    firing_pattern: str = "regular",
    *,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    r"""Spike train of one neuron at a rate, and the times of its spikes.

    ``"regular"``: at steps :math:`\lfloor t_0 + k / r \rfloor`. ``"uniform"``: as many spikes, each at a random
    step from :math:`t_0` on; those that coincide count once. ``"poisson"``: at each step from :math:`t_0` on
    with probability :math:`r`.

    Args:
        num_steps: ``T``.
        first_spike_time: :math:`t_0`, steps.
        rate: :math:`r`, spikes per step, from 0 to 1.
        firing_pattern: ``"regular"``, ``"uniform"`` or ``"poisson"``.
        key: of ``jax.random``; required by the two random patterns.

    Returns:
        Spikes ``[T]`` in JAX's default float, and the steps of the spikes ``[S]``, integers; for ``"uniform"``
        as they were drawn, with repetitions. Under ``jax.jit``, where their number is not known, the times of
        ``"poisson"`` are filled up with ``T`` to ``[T]``.

    Raises:
        ArgumentError: a rate not from 0 to 1, a first spike after ``num_steps``, an unknown pattern, no key.

    Example:
        >>> spikes, times = target_rate_code(num_steps=5, rate=0.3)
        >>> spikes.tolist(), times.tolist()
        ([1.0, 0.0, 0.0, 1.0, 0.0], [0, 3])

    Compared with snnTorch: ``"regular"`` equal, the others equal in distribution. Where rounding puts a last
    spike at step ``T`` snnTorch raises (``num_steps=1000, rate=0.65``); here that spike is left out. An
    unknown pattern is an error; snnTorch returns None.
    """
    where = "target_rate_code"
    steps = whole(num_steps, where, "num_steps", least=1)
    first = whole(first_spike_time, where, "first_spike_time")
    rate = number(rate, where, "rate")
    if not 0 <= rate <= 1:
        raise ArgumentError(f"spikegen.{where}(rate={rate}); expected spikes per step, 0 to 1.")
    if first > steps:
        raise ArgumentError(
            f"spikegen.{where}(first_spike_time={first}, num_steps={steps}); expected 0 to {steps}."
        )
    pattern = known_pattern(firing_pattern, where)
    if rate == 0:
        return jnp.zeros(steps), jnp.zeros(0, int)
    if pattern == "poisson":
        return _poisson(steps, first, rate, drawing(key, where, "25, rate=0.5, firing_pattern='poisson'"))
    count = math.ceil((steps - first) / (1 / rate))
    if pattern == "uniform":
        key = drawing(key, where, "25, rate=0.5, firing_pattern='uniform'")
        drawn = jax.random.randint(key, (count,), first, max(steps, first + 1))
        return _fires(drawn, steps).astype(default_float()), drawn
    # In float32, which decides on which side of a step a time like 3 / 0.3 falls.
    times = (first + np.arange(count) * (1 / rate)).astype(np.float32).astype(int)
    times = times[times < steps]
    spikes = np.zeros(steps)
    spikes[times] = 1
    return jnp.asarray(spikes, default_float()), jnp.asarray(times)


@checks.takes(on_target=checks.scalar, off_target=checks.scalar)
def rate_interpolate(
    spike_time: ArrayLike,
    num_steps: int,
    on_target: float = 1,
    off_target: float = 0,
    epsilon: float = 1e-7,
) -> jax.Array:
    r"""A rise from ``off_target`` to ``on_target`` before each spike of one neuron.

    .. math:: y_t = o + \frac{t - p - 1}{q - p - 1} (g - o)

    where :math:`p` is the last spike before :math:`t` (-1 if there is none), :math:`q` the next at or after it,
    :math:`g` is ``on_target`` and :math:`o` ``off_target``; :math:`y = g` at a spike, :math:`y = o` after the
    last.

    Args:
        spike_time: steps of the spikes, ``[S]``, in any order; those not in ``0 ... T - 1`` are left out.
        num_steps: ``T``.
        on_target: the value at a spike.
        off_target: the value after a spike.
        epsilon: has no effect; snnTorch needs it against rounding.

    Returns:
        Targets ``[T]``, in JAX's default float.

    Raises:
        ArgumentError: spike times that are not whole numbers.
        ShapeError: ``spike_time`` has more than one axis.

    Example:
        >>> [round(float(y), 2) for y in rate_interpolate([0, 4], num_steps=5)]
        [1.0, 0.0, 0.33, 0.67, 1.0]

    Compared with snnTorch: equal to the last bit. Not followed: it returns fewer than ``num_steps`` values if a
    spike is later, or if ``on_target`` is below ``off_target``, and raises if they are equal.
    """
    steps = whole(num_steps, "rate_interpolate", "num_steps", least=1)
    on = number(on_target, "rate_interpolate", "on_target")
    off = number(off_target, "rate_interpolate", "off_target")
    times = real(spike_time, "rate_interpolate(spike_time)")
    times = times.astype(int) if times.dtype == bool else times
    if times.ndim > 1:
        raise ShapeError(
            f"spikegen.rate_interpolate got spike times of shape {times.shape}; expected [S], those of one neuron. "
            "For one spike of each of many neurons take spikegen.latency_interpolate."
        )
    if breaks(times, lambda values: values == jnp.round(values)):
        raise ArgumentError(
            "spikegen.rate_interpolate got spike times between steps; expected whole numbers, as from "
            "jnp.round(spike_time)."
        )
    return ramps(_fires(times.ravel().astype(int), steps), on, off)


def ramps(fires: jax.Array, on: float, off: float) -> jax.Array:
    """The targets of :func:`rate_interpolate` for the steps ``[T]`` at which the neuron fires."""
    steps = fires.size
    step = jnp.arange(steps)
    latest = lax.cummax(jnp.where(fires, step, -1))
    last = jnp.concatenate([jnp.full(1, -1, step.dtype), latest[:-1]])
    following = lax.cummin(jnp.where(fires, step, steps), reverse=True)
    gone = (step - last - 1).astype(default_float())
    whole_rise = jnp.maximum(following - last - 1, 1).astype(default_float())
    rise = gone / whole_rise * (on - off) + off
    return jnp.where(fires, on, jnp.where(following < steps, rise, off))


def known_pattern(firing_pattern: str, function: str) -> str:
    """The pattern in small letters.

    Raises:
        ArgumentError: it is none of the three.
    """
    pattern = str(firing_pattern).lower()
    if pattern not in PATTERNS:
        raise ArgumentError(
            f"spikegen.{function}(firing_pattern={firing_pattern!r}); expected one of {', '.join(map(repr, PATTERNS))}."
        )
    return pattern


def _poisson(steps: int, first: int, rate: float, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    drawn = jax.random.uniform(key, (steps - first,)) < rate
    fires = jnp.concatenate([jnp.zeros(first, bool), drawn])
    size = None if known(fires) else steps
    (times,) = jnp.nonzero(fires, size=size, fill_value=steps)
    return fires.astype(default_float()), times


def _fires(times: jax.Array, steps: int) -> jax.Array:
    """Booleans ``[T]``, true at these steps; times outside have no effect."""
    inside = jnp.where(times < 0, steps, times)
    return jnp.zeros(steps, bool).at[inside].set(True, mode="drop")
