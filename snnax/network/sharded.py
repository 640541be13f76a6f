"""States inside of ``jax.shard_map``: they vary from device to device where what they are computed from does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from snnax.kernels.bilinear import vary, varying

__all__ = ["spread"]


def spread(advance: Callable[[Any], Any], carry: Any) -> Any:
    """``carry``, varying over those axes of a ``shard_map`` over which ``advance(carry)`` varies.

    Zeros are the same on all devices, a state after a step on a part of the batch is not; the carry of a loop has to
    be of one type. Outside of ``shard_map``, and with ``check_vma=False``, nothing varies.

    Args:
        advance: the carry after one step.
        carry: a tree of arrays before the first.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return carry
    while True:
        after = jax.eval_shape(advance, carry)
        wider = jax.tree.map(lambda v, s: vary(v, varying(s)), carry, after)
        if all(map(_alike, jax.tree.leaves(carry), jax.tree.leaves(wider))):
            return wider
        carry = wider


def _alike(narrow: jax.Array, wide: jax.Array) -> bool:
    return varying(narrow) == varying(wide)
