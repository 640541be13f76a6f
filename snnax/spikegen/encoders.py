"""Data as spikes at a rate, and as spikes at its changes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics.arithmetic import pinned
from snnax.errors import ArgumentError, ShapeError
from snnax.spikegen.arguments import breaks, drawing, floating, precise, spread, whole


@checks.takes()
def rate(
    data: ArrayLike,
    num_steps: int = False,
    gain: ArrayLike = 1,
    offset: ArrayLike = 0,
    first_spike_time: int = 0,
    time_var_input: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    r"""Independent spikes at each step, with the data as their probability.

    .. math:: S_t \sim \mathrm{Bernoulli}(\min(\max(g x + o, 0), 1)), \qquad S_t = 0 \text{ before } t_0

    Args:
        data: :math:`x`, ``[...]``, shown for ``num_steps`` steps; with ``time_var_input``, ``[T, ...]``.
        num_steps: ``T``. Only without ``time_var_input``, and then required.
        gain: :math:`g`, a number or an array that broadcasts to the data.
        offset: :math:`o`, likewise.
        first_spike_time: :math:`t_0`, steps. With ``time_var_input`` so many empty steps are put before the
            data, which then last ``first_spike_time + T`` steps.
        time_var_input: the data have a time axis, the first.
        key: of ``jax.random``; required.

    Returns:
        Spikes, 0 or 1, ``[T, ...]``, in the dtype of the data.

    Raises:
        ArgumentError: no key; ``num_steps`` missing, negative, or passed with ``time_var_input``;
            ``first_spike_time`` not in ``0 ... num_steps - 1``; NaN in the data.
        ShapeError: ``gain`` or ``offset`` does not broadcast; ``time_var_input`` without an axis.

    Example:
        >>> import jax
        >>> spikes = rate([[0.0, 0.3, 1.0]], num_steps=1000, key=jax.random.key(0))
        >>> spikes.shape
        (1000, 1, 3)
        >>> [round(float(f), 1) for f in spikes.mean(0)[0]]
        [0.0, 0.3, 1.0]

    Compared with snnTorch: equal in distribution; snnTorch draws from torch's global generator. It ignores
    ``gain`` and ``offset`` with ``time_var_input``, which is a bug and not followed. Traced NaN never spike.
    """
    x = floating(data, "rate(data)")
    steps = whole(num_steps, "rate", "num_steps")
    first = whole(first_spike_time, "rate", "first_spike_time")
    if time_var_input:
        if steps:
            raise ArgumentError(
                f"spikegen.rate(num_steps={steps}, time_var_input=True); the data's first axis is time already. "
                "Leave out num_steps, or time_var_input."
            )
        if x.ndim < 1:
            raise ShapeError("spikegen.rate(time_var_input=True) got a single number; expected [T, ...].")
        shape = x.shape
    else:
        if not steps:
            raise ArgumentError(
                "spikegen.rate got no num_steps. Pass spikegen.rate(data, num_steps=25, key=key); for data "
                "[T, ...] that change in time spikegen.rate(data, time_var_input=True, key=key)."
            )
        if first >= steps:
            raise ArgumentError(
                f"spikegen.rate(first_spike_time={first}, num_steps={steps}); expected 0 to {steps - 1}."
            )
        shape = (steps - first, *x.shape)
    key = drawing(key, "rate", "data, time_var_input=True" if time_var_input else "data, num_steps=25")
    drive = precise(x)
    drive = drive * spread(gain, drive, "rate(gain)") + spread(offset, drive, "rate(offset)")
    spikes = _bernoulli(key, drive if time_var_input else drive[None], shape, x.dtype, "rate")
    return jnp.concatenate([jnp.zeros((first, *shape[1:]), x.dtype), spikes]) if first else spikes


def rate_conv(data: ArrayLike, *, key: jax.Array | None = None) -> jax.Array:
    r"""One spike or none for each value, which is its probability.

    .. math:: S \sim \mathrm{Bernoulli}(\min(\max(x, 0), 1))

    Args:
        data: :math:`x`, of any shape.
        key: of ``jax.random``; required.

    Returns:
        Spikes, 0 or 1, in the shape and dtype of the data.

    Raises:
        ArgumentError: no key, or NaN in the data.

    Example:
        >>> import jax
        >>> rate_conv([-1.0, 0.0, 1.0, 2.0], key=jax.random.key(0)).tolist()
        [0.0, 0.0, 1.0, 1.0]

    Compared with snnTorch: equal in distribution; integers work. Traced NaN never spike.
    """
    x = floating(data, "rate_conv(data)")
    return _bernoulli(drawing(key, "rate_conv", "data"), precise(x), x.shape, x.dtype, "rate_conv")


def _bernoulli(
    key: jax.Array, drive: jax.Array, shape: tuple[int, ...], dtype: Any, function: str
) -> jax.Array:
    """Spikes of this shape; ``drive`` is clipped to probabilities and has as many axes."""
    if breaks(drive, lambda values: ~jnp.isnan(values)):
        raise ArgumentError(
            f"spikegen.{function} got NaN, which is no probability. Clean the data first, "
            "as with jnp.nan_to_num(data)."
        )
    return (jax.random.uniform(key, shape, drive.dtype) < jnp.clip(drive, 0, 1)).astype(dtype)


@checks.takes()
def delta(
    data: ArrayLike, threshold: ArrayLike = 0.1, padding: bool = False, off_spike: bool = False
) -> jax.Array:
    r"""Spikes where the data change by a threshold from one step to the next.

    .. math:: S_t = [x_t - x_{t-1} \ge \theta] - [x_t - x_{t-1} \le -\theta]

    The second term is there with ``off_spike`` only.

    Args:
        data: :math:`x`, ``[T, ...]``.
        threshold: :math:`\theta`, in the unit of the data: a number or an array that broadcasts to them.
        padding: take :math:`x_{-1} = x_0`, so that the first step is silent (for :math:`\theta > 0`), instead
            of 0.
        off_spike: give -1 where the data fall.

    Returns:
        Spikes, 0, 1 or -1, ``[T, ...]``, in the dtype of the data.

    Raises:
        ShapeError: the data have no time axis, or the threshold does not broadcast.

    Example:
        >>> delta([1, 2, 0, 2, 2.9], threshold=1, off_spike=True).tolist()
        [1.0, 1.0, -1.0, 1.0, 0.0]
        >>> delta([1, 2, 0, 2, 2.9], threshold=1, padding=True).tolist()
        [0.0, 1.0, 0.0, 1.0, 0.0]

    Compared with snnTorch: equal. On unsigned integers snnTorch wraps around, so that a fall counts as a rise;
    here they are taken as floats.
    """
    x = floating(data, "delta(data)")
    if x.ndim < 1:
        raise ShapeError("spikegen.delta got a single number; expected data [T, ...], time first.")
    before = jnp.concatenate([x[:1] if padding else jnp.zeros_like(x[:1]), x[:-1]])
    change = pinned(x - before)  # rounded to the dtype before it is compared, as torch does
    least = spread(threshold, x, "delta(threshold)")
    rises = (change >= least).astype(x.dtype)
    return rises - (change <= -least).astype(x.dtype) if off_spike else rises
