"""Where a loss that is not finite comes from: which weights, which part of a batch, or which layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from snnax.errors import SnnaxError
from snnax.network.members import runs_whole
from snnax.network.unroll import unroll
from snnax.training.calling import carried
from snnax.training.state import TrainState

__all__ = ["culprit"]


def culprit(state: TrainState, x: Any, y: Any, num_steps: int | None) -> str:
    """A sentence about the first thing that is not finite; empty if all of it is.

    Args:
        state: before the step.
        x: of the batch.
        y: of the batch.
        num_steps: as for the step.
    """
    for name, given in (("x", x), ("y", y)):
        if (at := _first(given)) is not None:
            return f" {name} of that batch holds {np.asarray(given)[at]} at {_place(at)}."
    for path, weight in flatten_dict(dict(state.params), sep="/").items():
        if (at := _first(weight)) is not None:
            return f" The weights {path!r} are not finite before that step: the step before was too large."
    found = [
        (at[0], order, name, what, at)
        for order, (name, what, at) in enumerate(_in_layers(state, x, num_steps))
    ]
    if not found:
        return ""
    _, _, name, what, at = min(found)
    kind = {"input": "The input current", "mem": "The membrane"}.get(what, f"The state {what!r}")
    return f" {kind} of the layer {name!r} is the first that is not finite, at {_place(at)} (time step, sample, ...)."


def _in_layers(
    state: TrainState, x: Any, num_steps: int | None
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Layer, state and place of what is not finite in the neurons."""
    if runs_whole(state.net):
        return
    rngs = dict.fromkeys(("dropout", "params"), state.key)
    variables = {name: tree for name, tree in state.variables.items() if name != "hidden"}
    mutable = ["batch_stats", *carried(state.net)]
    try:
        *_, recorded = unroll(
            state.net, variables, x, num_steps=num_steps, record=True, rngs=rngs, mutable=mutable
        )
    except SnnaxError:  # a network that cannot be recorded
        return
    for layer, series in recorded.items():
        for what, values in series.items():
            if (at := _first(values)) is not None:
                yield layer, what, at


def _first(values: Any) -> tuple[int, ...] | None:
    """Where the first number is that is not finite; ``None`` without one."""
    if not jnp.issubdtype(jnp.asarray(values).dtype, jnp.inexact):
        return None
    wrong = ~np.isfinite(np.asarray(jax.device_get(values)).astype(np.float64))
    if not wrong.any():
        return None
    return tuple(int(n) for n in np.argwhere(wrong)[0])


def _place(at: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, at))}]"
