"""Images read at points between their pixels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.registry import Call, computes

ZEROS, BORDER = 0, 1
BILINEAR, NEAREST = 0, 1


def _bounded(place: jax.Array, low: Any, high: Any) -> jax.Array:
    """Within bounds; at and beyond them without slope."""
    return jnp.where(place <= low, low, jnp.where(place >= high, high, place)).astype(place.dtype)


def _source(point: jax.Array, size: int, padding_mode: int, align_corners: bool) -> jax.Array:
    """From -1 to 1 to pixels; then onto the image, by its border or mirrored there."""
    place = (point + 1) / 2 * (size - 1) if align_corners else ((point + 1) * size - 1) / 2
    if padding_mode == ZEROS:
        return place
    if padding_mode != BORDER:
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        place = _mirrored(place, low, high - low)
    return _bounded(place, 0, size - 1)


def _mirrored(place: jax.Array, low: float, length: float) -> jax.Array:
    """Thrown back at both ends, however often."""
    if length == 0:
        return jnp.zeros_like(place)
    away = place - low
    away = jnp.where(away < 0, -away, away)
    turns = lax.stop_gradient(jnp.floor(away / length))
    rest = away - turns * length
    return jnp.where(turns % 2 == 0, rest + low, length - rest + low)


@computes("grid_sampler_2d")
def grid_sampler(
    call: Call, x: jax.Array, grid: jax.Array, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> jax.Array:
    """``[N, C, H, W]`` at the points of ``[N, H', W', 2]``, whose last axis is ``(x, y)``."""
    high, wide = x.shape[2:]
    columns = _source(grid[..., 0], wide, padding_mode, align_corners)
    rows = _source(grid[..., 1], high, padding_mode, align_corners)
    if interpolation_mode == NEAREST:
        return _pixels(x, jnp.round(rows), jnp.round(columns))
    if interpolation_mode != BILINEAR:
        raise call.refused("it samples with cubic polynomials", "Take mode='bilinear'.")
    top, left = (lax.stop_gradient(jnp.floor(place)) for place in (rows, columns))
    down, right = (place - first for place, first in ((rows, top), (columns, left)))
    made = jnp.zeros((), x.dtype)
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            made = made + _pixels(x, row, column) * (row_weight * column_weight)[:, None]
    return made


def _pixels(x: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The pixels ``[N, C, H', W']`` at whole places, 0 outside of the image."""
    high, wide = x.shape[2:]
    inside = (rows >= 0) & (rows < high) & (columns >= 0) & (columns < wide)
    row, column = (jnp.where(inside, place, 0).astype(int) for place in (rows, columns))
    sample = jnp.arange(x.shape[0]).reshape(-1, 1, 1)
    seen = jnp.moveaxis(x[sample, :, row, column], -1, 1)
    return jnp.where(inside[:, None], seen, jnp.zeros_like(seen))
