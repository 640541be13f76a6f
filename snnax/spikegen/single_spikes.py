"""One spike for each value, the earlier the larger it is; or a ramp up to that spike."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError
from snnax.spikegen.arguments import breaks, extremes, floating, known, number, precise, whole
from snnax.spikegen.firing_times import Timing


@checks.takes(on_target=checks.scalar, off_target=checks.scalar)
def latency(
    data: ArrayLike,
    num_steps: int = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    on_target: float = 1,
    off_target: float = 0,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    interpolate: bool = False,
    bypass: bool = False,
    epsilon: float = 1e-7,
) -> jax.Array:
    r"""One spike for each value of the data: at the first step for the largest, at the last for the smallest.

    .. math:: S_t = [t = \mathrm{round}(t_x)]

    with the time :math:`t_x` of :func:`latency_code`, rounded half to even.

    Args:
        data: between 0 and 1, ``[...]``.
        num_steps: ``T``; may be left out with ``bypass``, which then takes the last spike as last step.
        threshold: data below it spike as late as the threshold itself, or not at all with ``clip``.
        tau: the time constant, steps.
        first_spike_time: the time of the earliest possible spike, steps.
        on_target: what stands for a spike.
        off_target: what stands for none.
        clip: no spike for data below the threshold.
        normalize: scale the times so that the last spike is at step ``T - 1``.
        linear: times linear in the data, see :func:`latency_code_linear`; else :func:`latency_code_log`.
        interpolate: rise from ``off_target`` to ``on_target`` before each spike, see
            :func:`latency_interpolate`.
        bypass: leave out spikes later than ``num_steps`` instead of raising.
        epsilon: how far above the threshold the data are kept, as the logarithm needs.

    Returns:
        Spikes, or ramps, ``[T, ...]``, in the dtype of the data.

    Raises:
        ArgumentError: data outside [0, 1] or NaN; no ``num_steps``; a spike later than ``num_steps``; what
            :func:`latency_code` and :func:`latency_interpolate` refuse.
        ShapeError: there are no data.

    Example:
        >>> latency([0.02, 0.5, 1.0], num_steps=5, normalize=True, linear=True).T.tolist()[1]
        [0.0, 0.0, 1.0, 0.0, 0.0]

    Compared with snnTorch: equal to where a spike lies within the last bit of the logarithm of a rounding
    border. Not followed: snnTorch never goes below 0 for a negative ``off_target``, and raises everything to
    ``off_target`` if that is above ``on_target``; it ignores ``clip`` with ``interpolate``. Traced data are
    not checked: times after the last step give no spike, as with ``bypass``.
    """
    x = floating(data, "latency(data)")
    steps = whole(num_steps, "latency", "num_steps")
    if not steps and not bypass:
        raise ArgumentError(
            "spikegen.latency got no num_steps. Pass spikegen.latency(data, num_steps=25); or bypass=True, "
            "for as many steps as these data take."
        )
    if breaks(x, lambda values: (values >= 0) & (values <= 1)):
        low, high = extremes(x)
        raise ArgumentError(
            f"spikegen.latency got data from {low} to {high}; expected 0 to 1. "
            "Scale them first, as with (data - data.min()) / (data.max() - data.min())."
        )
    timing = Timing.read("latency", steps, threshold, tau, first_spike_time, normalize, linear, epsilon)
    times = timing.times(x)
    steps = _steps(times, steps, bypass)
    silent = timing.below(x) if clip else jnp.zeros(x.shape, bool)
    if interpolate:
        ramps = latency_interpolate(times, steps, on_target, off_target).astype(x.dtype)
        return jnp.where(silent[None], jnp.asarray(off_target, x.dtype), ramps)
    fires = (_time_axis(times, steps) == jnp.round(times)[None]) & ~silent[None]
    return jnp.where(fires, jnp.asarray(on_target, x.dtype), jnp.asarray(off_target, x.dtype))


@checks.takes(on_target=checks.scalar, off_target=checks.scalar)
def latency_interpolate(
    spike_time: ArrayLike, num_steps: int, on_target: float = 1, off_target: float = 0
) -> jax.Array:
    r"""A rise from ``off_target`` at step 0 to ``on_target`` at the spike, and ``off_target`` after it.

    .. math:: y_t = o + \frac{t}{t_s} (g - o) \quad (t \le t_s), \qquad y_t = o \quad (t > t_s)

    with :math:`g` for ``on_target`` and :math:`o` for ``off_target``; :math:`y_0 = g` if :math:`t_s = 0`.

    Args:
        spike_time: :math:`t_s`, steps, of any shape ``[...]``, one spike for each neuron; rounded half to even.
        num_steps: ``T``.
        on_target: the value at the spike, not below ``off_target``.
        off_target: the value at rest, which is all that neurons have whose spike is not in ``0 ... T - 1``.

    Returns:
        Targets, ``[T, ...]``, in the dtype of ``spike_time`` (JAX's default float for integers).

    Raises:
        ArgumentError: ``on_target`` below ``off_target``, or no ``num_steps``.

    Example:
        >>> latency_interpolate([0, 4], num_steps=5).T.tolist()
        [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.5, 0.75, 1.0]]

    Compared with snnTorch: equal. Not followed: for a spike at step ``T``, just outside, snnTorch rises to
    where it would have been; for a negative time it falls below ``off_target``; and where
    ``(on_target - off_target) + off_target`` rounds up (1, but not 0.9 - 0.3), its spike is missing.
    """
    raw = floating(spike_time, "latency_interpolate(spike_time)")
    steps = whole(num_steps, "latency_interpolate", "num_steps", least=1)
    on = number(on_target, "latency_interpolate", "on_target")
    off = number(off_target, "latency_interpolate", "off_target")
    if on < off:
        raise ArgumentError(
            f"spikegen.latency_interpolate(on_target={on}, off_target={off}); expected on_target >= off_target."
        )
    times = jnp.round(precise(raw))[None]
    step = jnp.broadcast_to(_time_axis(times[0], steps), (steps, *raw.shape))
    rise = step / jnp.where(times > 0, times, 1) * (on - off) + off
    targets = jnp.where(step == times, on, jnp.where(step < times, rise, off))
    return jnp.where(times < steps, targets, off).astype(raw.dtype)


def _time_axis(times: jax.Array, steps: int) -> jax.Array:
    """``0 ... steps - 1`` in the dtype of ``times``, ``[T, 1, ...]``."""
    return jnp.arange(steps, dtype=times.dtype).reshape(steps, *[1] * times.ndim)


def _steps(times: jax.Array, steps: int, bypass: bool) -> int:
    """``num_steps`` of :func:`latency`: as given, or up to the last spike; checked against it."""
    if not known(times):
        if not steps:
            raise ArgumentError(
                "spikegen.latency(bypass=True) takes num_steps from the data, which are not known under "
                "jax.jit and jax.vmap. Pass num_steps."
            )
        return steps
    last = round(extremes(times)[1])
    if not steps:
        return last + 1
    if last >= steps and not bypass:
        raise ArgumentError(
            f"spikegen.latency(num_steps={steps}); the last spike is at step {last}. Pass "
            f"num_steps={last + 1}, a smaller tau, normalize=True to scale the times, or bypass=True to leave "
            "out late spikes."
        )
    return steps
