"""What may be given as a layer of a network: linen modules, functions, and layers of ``flax.nnx``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from snnax.errors import ShapeError
from snnax.layers.functions import Lambda, is_function
from snnax.layers.torch_own import ReLU
from snnax.neurons.values import FrozenArray

__all__ = ["Held", "as_layers"]


@dataclass(frozen=True)
class Held:
    """An initializer that gives the weights that a layer has."""

    kind: str
    value: FrozenArray

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """As flax calls it."""
        if tuple(shape) != self.value.shape:
            raise ShapeError(
                f"nnx.{self.kind} has weights of shape {self.value.shape}, but its input needs {tuple(shape)}. "
                "Build it for that number of features."
            )
        return jnp.asarray(self.value, dtype)


def as_layers(given: Iterable[Any]) -> list[Any]:
    """Linen modules for what is given; what cannot be one is left as it is.

    A layer of ``flax.nnx`` at two places becomes one module, whose weights both places share.

    Raises:
        ArgumentError: for a layer of ``flax.nnx`` that linen has no equal of.
    """
    layers, made = [], dict[int, nn.Module]()
    for value in given:
        if isinstance(value, nn.Module):
            layers.append(value)
        elif _is_nnx(value):
            if id(value) not in made:
                from snnax.layers.from_nnx import linen_of  # flax.linen does not load flax.nnx, nor do we

                made[id(value)] = linen_of(value)
            layers.append(made[id(value)])
        elif value is nn.relu:
            layers.append(ReLU(parent=None))
        else:
            layers.append(Lambda(value, parent=None) if is_function(value) else value)
    return layers


def _is_nnx(value: Any) -> bool:
    return any(kind.__module__.startswith("flax.nnx.") for kind in type(value).__mro__)
