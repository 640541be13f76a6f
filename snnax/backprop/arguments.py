"""What snnTorch's arguments say about time, data and device, checked."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from snnax import checks
from snnax.checks import whole
from snnax.errors import ArgumentError, ShapeError

__all__ = ["check_opt_state", "check_times", "cuts_targets", "device_of", "pair"]


def cuts_targets(criterion: Any) -> bool:
    """Whether the targets have an axis of time, which is cut with the steps."""
    return bool(getattr(criterion, "time_var_targets", False))


def check_times(num_steps: Any, time_var: bool, time_first: bool, K: Any) -> None:
    """Refuse numbers of steps that contradict each other.

    Raises:
        ArgumentError: if they do.
    """
    if num_steps is not None and num_steps is not False:
        checks.count(0)(num_steps, "num_steps")
    if time_var and num_steps:
        raise ArgumentError(
            f"num_steps={num_steps!r} with time_var=True: the number of steps is the length of each batch "
            "[T, B, ...]. Leave num_steps out, or pass time_var=False for frames [B, ...]."
        )
    if not time_var and whole(num_steps) is None:
        raise ArgumentError(
            f"num_steps={num_steps!r} with time_var=False; expected the number of steps for which each frame "
            "[B, ...] is shown, as num_steps=25."
        )
    if not time_var and not time_first:
        raise ArgumentError("time_first=False with time_var=False: frames [B, ...] have no axis of time.")
    if K is not False and (whole(K) is None or (num_steps and num_steps < K)):
        most = f" up to num_steps={num_steps}" if num_steps else ""
        raise ArgumentError(
            f"K={K!r}; expected a whole number of steps >= 1{most}, or False for all of them."
        )


def check_opt_state(what: str, optimizer: optax.GradientTransformation, opt_state: Any, params: Any) -> None:
    """Refuse what another optimizer, or one of other weights, remembers. Nothing is computed.

    Raises:
        ArgumentError: it has not the structure that this optimizer starts with.
    """
    fresh = jax.eval_shape(optimizer.init, params)
    if str(jax.tree.structure(opt_state)) != str(jax.tree.structure(fresh)):
        raise checks.refuse(what, opt_state, "what the epoch before returned with this optimizer")


def device_of(device: Any) -> jax.Device | None:
    """The device of that name.

    Raises:
        ArgumentError: if there is none.
    """
    if device is None or isinstance(device, jax.Device):
        return device
    name, _, number = str(device).partition(":")
    try:
        return jax.devices(name)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise ArgumentError(
            f"device={device!r} is not there; expected None or one of {[str(d) for d in jax.devices()]}, as "
            "device='cpu'."
        ) from error


def pair(item: Any, batch_first: bool, place: jax.Device | None) -> tuple[jax.Array, jax.Array]:
    """A batch as JAX arrays, time first.

    Raises:
        ArgumentError: if it is no pair.
        ShapeError: if ``x`` lacks an axis.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ArgumentError(f"a batch is a {type(item).__name__}; expected a pair (x, y) of arrays.")
    x, y = (checks.array(value, f"a batch's {name}") for name, value in zip("xy", item, strict=True))
    if place is not None:
        x, y = jax.device_put((x, y), place)
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(f"x has shape {x.shape}; expected [T, B, ...], or [B, ...] with time_var=False.")
    return (jnp.swapaxes(x, 0, 1) if batch_first else x), y
