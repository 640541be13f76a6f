"""``lax.dot_general`` for dense layers that are trained on CPU.

XLA's product of a transposed matrix with another, which is the gradient of a layer's weights, runs at a half to a
seventh of its speed where a matrix is narrow or its rows lie a multiple of 2 KiB apart. Here a narrow one is
transposed first, and the rows of the other are made longer. Values are ``lax``'s, bit for bit.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.kernels.bilinear import operation

__all__ = ["dot_general"]

APART = 2048  # bytes from row to row at which columns fall on the same few lines of the cache
NARROW = 64  # columns that are too few for XLA's product of a transposed matrix
SMALL = 256  # columns that cost little to transpose
MORE = 16  # columns that take rows to other lines of the cache


def dot_general(
    lhs: jax.Array,
    rhs: jax.Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    *,
    out_sharding: Any = None,
) -> jax.Array:
    r"""``jax.lax.dot_general`` with its arguments and its values, and a faster derivative on CPU.

    .. math:: y_{\ldots n} = \sum_k x_{\ldots k}\, w_{kn}

    What is fast is the derivative by ``w`` of this product of floating-point arrays of one type, ``x`` of any
    number of axes; everything else is ``lax``'s own, and so is everything on other platforms than CPU.
    Derivatives of any order and in both modes exist, and ``vmap``, ``checkpoint`` and ``shard_map`` work as with
    ``lax``.

    Args:
        lhs: rows ``[..., K]``.
        rhs: matrix ``[K, N]``.
        dimension_numbers: as ``lax`` takes it, and so are all that follow.
        precision: see ``lax``.
        preferred_element_type: see ``lax``.
        out_sharding: see ``lax``.

    Returns:
        ``[..., N]``, or as ``lax`` has it for other dimension numbers.

    Raises:
        TypeError, ValueError: what ``lax`` raises.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp
        >>> from snnax.kernels.product import dot_general
        >>> layer, x = nn.Dense(2, dot_general=dot_general), jnp.ones((3, 4))
        >>> layer.apply(layer.init(jax.random.key(0), x), x).shape
        (3, 2)
    """
    settings: dict[str, Any] = {
        "precision": precision, "preferred_element_type": preferred_element_type, "out_sharding": out_sharding
    }  # fmt: skip
    (left, right), batch = dimension_numbers
    plain = (
        np.ndim(rhs) == 2
        and np.ndim(lhs) >= 2
        and (tuple(left), tuple(right)) == ((np.ndim(lhs) - 1,), (0,))
        and not any(map(len, batch))
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and lhs.shape[-1] == rhs.shape[0]
        and (preferred_element_type, out_sharding) == (None, None)
        and 0 not in (*lhs.shape, *rhs.shape)
    )
    if not plain:
        return lax.dot_general(lhs, rhs, dimension_numbers, **settings)
    y = product(lhs.reshape(-1, lhs.shape[-1]), rhs, precision=precision)
    return y.reshape(*lhs.shape[:-1], rhs.shape[1])


def _by_lax(lhs: jax.Array, rhs: jax.Array, *, precision: Any) -> jax.Array:
    return lax.dot(lhs, rhs, precision=precision)


def _left_slope(slope: jax.Array, rhs: jax.Array, *, shape: tuple[int, ...], precision: Any) -> jax.Array:
    del shape
    return lax.dot(slope, rhs.T, precision=precision)


def _right_slope(slope: jax.Array, lhs: jax.Array, *, shape: tuple[int, ...], precision: Any) -> jax.Array:
    features = shape[1]
    aligned = [n * slope.dtype.itemsize % APART == 0 for n in shape]
    if features < NARROW or (aligned[0] and features <= SMALL):
        return _apart(lax.dot(_apart(slope.T), lhs, precision=precision)).T
    wide = jnp.pad(slope, ((0, 0), (0, MORE))) if aligned[1] else slope
    return lax.dot(lhs.T, wide, precision=precision)[:, :features]


def _apart(x: jax.Array) -> jax.Array:
    """``x`` as an array in memory; XLA would otherwise take the transposition into the product."""
    return lax.optimization_barrier(x)


product = operation("snnax_product", _by_lax, _by_lax, _left_slope, _right_slope)
