"""Sequences of different lengths in one batch: which steps are of the sequence, and what is left after its end."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError, StateError

__all__ = ["given_lengths", "held", "last", "silenced", "within"]

Tree = dict[str, Any]


def given_lengths(value: Any, batch: Any, steps: Any) -> jax.Array | None:
    """``unroll(seq_lengths=...)`` as whole numbers ``[B]`` from 1 to T; of traced ones only the shape is known.

    Raises:
        ArgumentError: for anything else.
        ShapeError: if they are not as many as the samples.
    """
    if value is None:
        return None
    lengths = checks.array(value, "unroll(seq_lengths=...)")
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise checks.refuse(
            "unroll(seq_lengths=...)", value, "whole numbers [B], how many steps each sample has"
        )
    if lengths.shape != (batch,):
        raise ShapeError(
            f"seq_lengths has shape {lengths.shape}; expected [B] = ({batch},), how many steps each sample of x has."
        )
    if isinstance(lengths, jax.core.Tracer) or not isinstance(steps, int):
        return lengths
    found = np.asarray(lengths)
    if found.min() < 1 or found.max() > steps:
        raise ArgumentError(
            f"seq_lengths goes from {found.min()} to {found.max()}; expected 1 to T = {steps}, the steps that x has."
        )
    return lengths


def within(lengths: jax.Array | None, steps: Any) -> jax.Array | None:
    """Whether each step is of the sequence, ``[T, B]``."""
    return None if lengths is None else jnp.arange(steps)[:, None] < lengths[None]


def silenced(tree: Any, live: jax.Array | None) -> Any:
    """Outputs ``[T, B, ...]`` with zeros after the ends.

    Raises:
        ShapeError: for an output that has no axis of samples.
    """
    if live is None:
        return tree

    def zeroed(value: jax.Array) -> jax.Array:
        if value.shape[:2] != live.shape:
            raise ShapeError(
                f"the network returned {value.shape[1:]} at each step; with seq_lengths it has to return [B, ...] with "
                f"B = {live.shape[1]}, since samples end at different steps."
            )
        return jnp.where(_along(live, value, 2), value, jnp.zeros((), value.dtype))

    return jax.tree.map(zeroed, tree)


def held(before: Tree, after: Tree, live: jax.Array) -> Tree:
    """The hidden state after a step: of samples that have ended, that before it.

    Args:
        before: states ``[B, ...]``.
        after: the same after a step.
        live: ``[B]``, whether the step is of the sequence.

    Raises:
        StateError: for a state that has no axis of samples.
    """

    def chosen(path: Any, new: jax.Array, old: jax.Array) -> jax.Array:
        if new.shape[:1] != live.shape:
            raise StateError(
                f"the state {jax.tree_util.keystr(path)} has shape {new.shape}; with seq_lengths it has to be [B, ...] "
                f"with B = {live.shape[0]}, since samples end at different steps. Run samples of one length together."
            )
        return jnp.where(_along(live, new, 1), new, old)

    return jax.tree_util.tree_map_with_path(chosen, after, before)


def last(before: jax.Array, states: jax.Array, live: jax.Array) -> jax.Array:
    """Of the states after each step, ``[C, B, ...]``, that after each sequence's last; if none is of it, ``before``."""
    number = live.sum(0, dtype=jnp.int32)
    every = jnp.concatenate([before[None].astype(states.dtype), states])
    return jnp.take_along_axis(every, _along(number, every[0], 1)[None], axis=0)[0]


def _along(values: jax.Array, like: jax.Array, axes: int) -> jax.Array:
    return values.reshape(*values.shape, *[1] * (like.ndim - axes))
