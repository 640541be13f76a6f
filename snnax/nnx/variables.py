"""The kinds of NNX variables that the collections of linen become."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

__all__ = ["KINDS", "Buffer", "Hidden", "is_variable"]


class Hidden(nnx.Variable[jax.Array]):
    """A state of a neuron; ``nnx.state(model, Hidden)`` are all of them."""


class Buffer(nnx.Variable[jax.Array]):
    """A fixed array of a neuron, or anything else that is neither learned nor a state."""


KINDS: dict[str, type[nnx.Variable[Any]]] = {
    "params": nnx.Param,
    "hidden": Hidden,
    "batch_stats": nnx.BatchStat,
}


def is_variable(value: Any) -> bool:
    """Whether it is a variable, and no tree of variables."""
    return isinstance(value, nnx.Variable)
