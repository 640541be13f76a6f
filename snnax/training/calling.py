"""How training runs a network on a batch: in each time step, or once for all of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from snnax import checks
from snnax.errors import ArgumentError
from snnax.modules import explained
from snnax.network.members import runs_whole
from snnax.network.whole import WholeNetwork
from snnax.training.sharding import unroll_on

__all__ = ["LOSSES", "OVERFLOW", "added", "batch_axis", "call_on", "carried", "overflow"]

LOSSES, OVERFLOW = "losses", "overflow"
"""Collections that a network which runs whole may fill: terms of the loss; and where it had to leave something out."""


def batch_axis(net: nn.Module, num_steps: int | None) -> int:
    """The axis of the samples in ``x``."""
    if isinstance(net, WholeNetwork):
        return net.batch_axis
    return 0 if num_steps is not None or runs_whole(net) else 1


def carried(net: nn.Module) -> tuple[str, ...]:
    """The collections that a call changes and the next one goes on from, beside those that Flax's layers have."""
    return net.carried if isinstance(net, WholeNetwork) else ()


def call_on(
    mesh: Mesh | None,
    net: nn.Module,
    variables: Mapping[str, Any],
    x: jax.Array,
    *,
    rngs: Mapping[str, jax.Array],
    mutable: Sequence[str],
    num_steps: int | None,
    chunk: int | str,
    remat: bool | str = "auto",
    residuals: Any = None,
    memory: float | str = "auto",
) -> tuple[Any, Mapping[str, Any]]:
    """What the network makes of a batch, and the collections that it updates.

    Raises:
        ArgumentError: for time steps of a network that has none, or what to keep of them.
    """
    if not runs_whole(net):
        options: dict[str, Any] = {
            "num_steps": num_steps, "chunk": chunk, "remat": remat, "residuals": residuals,
            "memory": memory,
        }  # fmt: skip
        outputs, updates = unroll_on(mesh, net, variables, x, rngs=rngs, mutable=mutable, **options)
        return outputs, updates
    given = {"num_steps": num_steps, "remat": remat, "residuals": residuals, "memory": memory}
    for name, value in {name: None if value == "auto" else value for name, value in given.items()}.items():
        if value is not None:
            raise ArgumentError(
                f"{name}={checks.shown(value)}, but {type(net).__name__} has no time steps: one call of it is all of "
                f"time. Leave {name} out."
            )
    # Of several devices each has its part of x, and the compiler cuts the rest accordingly.
    with explained(net, (x,)):
        outputs, updates = net.apply(variables, x, rngs=dict(rngs), mutable=[*mutable, LOSSES, OVERFLOW])
    return outputs, updates


def added(updates: Mapping[str, Any]) -> Any:
    """The sum of the terms that a network wants added to the loss; a plain 0 of none, which has no dtype."""
    return sum(map(jnp.sum, jax.tree.leaves(updates.get(LOSSES, {}))), 0.0)


def overflow(updates: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The share of samples in which a network left something out, if it says so; each of its arrays is ``[B, ...]``."""
    flags = [flag.reshape(len(flag), -1) for flag in jax.tree.leaves(updates.get(OVERFLOW, {}))]
    if not flags:
        return {}
    return {"overflow": jnp.mean(jnp.any(jnp.concatenate(flags, 1), 1))}
