"""Which operations of a loop are on images: torch has the channels first, what is fast has them last."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from snnax.interop.program.nodes import NEURON, Local, Node
from snnax.interop.program.steps import ELEMENTWISE

_MAKE = frozenset({"convolution", *(f"{kind}_pool{rank}d" for kind in ("avg", "max") for rank in (1, 2, 3))})
_PASS = frozenset({NEURON, "native_batch_norm", "_native_batch_norm_legit_no_training"}) | ELEMENTWISE


def images(body: Sequence[Node]) -> frozenset[int]:
    """Places of operations that make images, whose neighbours do so too: between them no axis is turned.

    Convolutions and pooling do, and what computes each number of an image by itself.
    """
    found: set[int] = set()
    for place, node in enumerate(body):
        shape = node.results[0].shape if node.results else ()
        base = node.base.removesuffix("_with_indices")
        of_image = any(
            isinstance(source, Local)
            and source.node in found
            and source.out == 0
            and len(body[source.node].results[0].shape) == len(shape)
            for source in node.inputs
        )
        if len(shape) > 2 and (base in _MAKE or (base in _PASS and of_image)):
            found.add(place)
    return frozenset(found)


def image_last(x: jax.Array) -> jax.Array:
    """``[B, C, H, W]`` as ``[B, H, W, C]``; a number as it is."""
    return jnp.moveaxis(x, 1, -1) if jnp.ndim(x) > 1 else x


def image_first(x: jax.Array) -> jax.Array:
    """``[B, H, W, C]`` as ``[B, C, H, W]``."""
    return jnp.moveaxis(x, -1, 1) if jnp.ndim(x) > 1 else x
