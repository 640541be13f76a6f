"""Numbers read from positions that are arrays themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.interop.program.operators.registry import Call, computes

Indices = Sequence[jax.Array | None]


def whole(call: Call, indices: Indices) -> tuple[Any, ...]:
    """The index as NumPy writes it; ``None`` stands for a whole axis.

    Raises:
        ConversionError: for a mask, of which the number of results depends on its values.
    """
    for index in indices:
        if index is not None and index.dtype in (np.bool_, np.uint8):
            raise call.refused(
                f"it reads what a mask of shape {index.shape} chooses, and how much that is depends on its values",
                "Write torch.where(mask, x, 0), or x * mask.",
            )
    return tuple(slice(None) if index is None else index for index in indices)


def read(x: jax.Array, index: Any) -> jax.Array:
    """What lies at an index; no number beyond the end, where torch raises an error and JAX alone takes the last one."""
    return x.at[index].get(mode="fill", fill_value=None)


@computes("index.Tensor", "_unsafe_index.Tensor")
def index(call: Call, x: jax.Array, indices: Indices) -> jax.Array:
    """What lies at these positions, which count from the end where they are negative."""
    return read(x, whole(call, indices))


@computes("index_select")
def index_select(call: Call, x: jax.Array, dim: int, index: jax.Array) -> jax.Array:
    """These slices of an axis."""
    del call
    return jnp.take(x, index, dim) if x.ndim else x


@computes("take")
def take(call: Call, x: jax.Array, index: jax.Array) -> jax.Array:
    """The numbers at these places in reading order."""
    del call
    return read(x.reshape(-1), index)


def along(index: jax.Array, dim: int) -> tuple[jax.Array, ...]:
    """The index that reads at ``index`` along one axis, and at their own place along the others."""
    places = [lax.broadcasted_iota(index.dtype, index.shape, axis) for axis in range(index.ndim)]
    places[dim] = index
    return tuple(places)


@computes("gather")
def gather(call: Call, x: jax.Array, dim: int, index: jax.Array, *, sparse_grad: bool = False) -> jax.Array:
    """What lies at these positions of one axis; the others may be longer than those of ``index``."""
    del call, sparse_grad
    if not x.ndim or not index.ndim:
        return read(x.reshape(-1), index)
    return read(x, along(index, dim))


@computes("embedding")
def embedding(
    call: Call,
    weight: jax.Array,
    indices: jax.Array,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> jax.Array:
    """Rows of a table; that of ``padding_idx`` does not learn."""
    del sparse
    if scale_grad_by_freq:
        raise call.refused("scale_grad_by_freq divides slopes by counts", "Leave it at False.")
    rows = read(weight, indices)
    padding = (indices == padding_idx)[..., None]
    return jnp.where(padding, lax.stop_gradient(rows), rows)


@computes("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(call: Call, x: jax.Array, mask: jax.Array, value: Any) -> jax.Array:
    """``value`` where the mask holds, else ``x``."""
    rank = max(x.ndim, mask.ndim)
    x, mask = (a.reshape((1,) * (rank - a.ndim) + a.shape) for a in (x, mask))
    return jnp.where(mask, jnp.asarray(value, call.dtype), x)
