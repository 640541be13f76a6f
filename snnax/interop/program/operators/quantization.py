"""Numbers rounded to a grid, with the slope of a straight line inside its range."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.registry import Call, computes

Pair = tuple[jax.Array, jax.Array]


def _quantized(x: jax.Array, scale: jax.Array, zero_point: jax.Array, low: int, high: int) -> Pair:
    """The nearest point of the grid, and whether that lies inside; outside there is no slope.

    Torch keeps the scale in single precision, multiplies with its inverse, and makes the values in that precision.
    """
    place = jnp.round(lax.stop_gradient(x) * (1 / scale).astype(x.dtype)) + zero_point.astype(x.dtype)
    inside = (place >= low) & (place <= high)
    value = ((jnp.clip(place, low, high).astype(scale.dtype) - zero_point) * scale).astype(x.dtype)
    passed = jnp.where(inside, x, jnp.zeros_like(x))
    return value + (passed - lax.stop_gradient(passed)), inside


@computes("fake_quantize_per_tensor_affine_cachemask")
def fake_quantize(
    call: Call, x: jax.Array, scale: Any, zero_point: Any, quant_min: int, quant_max: int
) -> Pair:
    """On a grid of whole multiples of ``scale`` around ``zero_point``."""
    del call
    size, origin = (lax.stop_gradient(jnp.asarray(v, jnp.float32)) for v in (scale, zero_point))
    return _quantized(x, size, origin, quant_min, quant_max)


@computes("fake_quantize_per_channel_affine_cachemask")
def fake_quantize_channels(
    call: Call,
    x: jax.Array,
    scale: jax.Array,
    zero_point: jax.Array,
    axis: int,
    quant_min: int,
    quant_max: int,
) -> Pair:
    """On a grid for each slice of an axis."""
    del call
    shape = [1] * x.ndim
    shape[axis] = -1
    size, origin = (lax.stop_gradient(v.astype(jnp.float32)).reshape(shape) for v in (scale, zero_point))
    return _quantized(x, size, origin, quant_min, quant_max)


@computes("_fake_quantize_per_tensor_affine_cachemask_tensor_qparams")
def fake_quantize_observed(
    call: Call,
    x: jax.Array,
    scale: jax.Array,
    zero_point: jax.Array,
    fake_quant_enabled: jax.Array,
    quant_min: int,
    quant_max: int,
) -> Pair:
    """As ``fake_quantize``, where that is enabled; the grid is what an observer found."""
    value, inside = fake_quantize(call, x, scale.reshape(()), zero_point.reshape(()), quant_min, quant_max)
    on = fake_quant_enabled.reshape(()) != 0
    return jnp.where(on, value, x), inside | ~on
