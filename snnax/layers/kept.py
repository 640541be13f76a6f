"""States that layers keep between steps, in the collection ``hidden``."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from snnax.errors import StateError

__all__ = ["kept"]


def kept(layer: nn.Module, name: str, shape: tuple[int, ...], dtype: Any, *, does: str, misfit: str) -> Any:
    """The variable of a state that starts from zeros; ``None`` in an ``init`` that makes no ``hidden``.

    Args:
        layer: in a call of its own.
        name: of the state.
        shape: that the input asks for.
        dtype: in which it starts.
        does: what the layer does with it, for errors: ``"keeps its count"``.
        misfit: of another batch size, with both shapes: ``"count has shape {}, the input {}"``.

    Raises:
        StateError: ``hidden`` is not mutable, or holds the state of another batch size.
    """
    kind = type(layer).__name__
    if layer.is_mutable_collection("hidden"):
        state: Any = layer.variable("hidden", name, jnp.zeros, shape, dtype)
        if state.value.shape == shape:
            return state
        raise StateError(
            f"{kind}: the stored {misfit.format(state.value.shape, shape)}. For another batch size start anew: leave "
            "the collection 'hidden' out of the variables, as snnax.utils.reset(variables) does."
        )
    if layer.is_initializing():
        return None
    raise StateError(
        f"{kind} {does}, but the collection 'hidden' is not mutable in this call. Call "
        "apply(variables, x, mutable=['hidden']) and carry the result on."
    )
