"""Images of another size: nearest, linear and cubic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from snnax.interop.program.operators.registry import Call, Function, computes
from snnax.interop.program.operators.views import taken

Scales = Sequence[float | None]


def _target(x: jax.Array, rank: int, output_size: Any, factors: Any) -> tuple[list[int], Scales]:
    """The sizes to make, and the factors as they were given; one of the two may be missing."""
    scales: Scales = [None] * rank if factors is None else list(factors)
    sizes = x.shape[x.ndim - rank :]
    if output_size is None:
        return [int(n * float(f or 1)) for n, f in zip(sizes, scales, strict=True)], scales
    return list(output_size), scales


def _step(size: int, out: int, factor: float | None, dtype: Any) -> Any:
    """Distance of the source of neighbouring pixels: from the factor if it is given, as torch computes it."""
    return dtype(1.0 / factor) if factor else dtype(size) / dtype(out)


def _nearest(rank: int, shift: float) -> Function:
    def resized(call: Call, x: jax.Array, output_size: Any, *scales: Any) -> jax.Array:
        return _picked(call, x, output_size, _factors(call, scales), rank, shift)

    return resized


def _factors(call: Call, scales: tuple[Any, ...]) -> Any:
    """The factors: a list in the overloads ``.vec``, else one argument each; none if there are none."""
    if call.name.endswith(".vec"):
        return scales[0] if scales else None
    return scales or None


def _picked(call: Call, x: jax.Array, output_size: Any, factors: Any, rank: int, shift: float) -> jax.Array:
    del call
    sizes, scales = _target(x, rank, output_size, factors)
    for axis, out, factor in zip(range(x.ndim - rank, x.ndim), sizes, scales, strict=True):
        size = x.shape[axis]
        # in single precision whatever the images are: so torch finds the pixels
        step = _step(size, out, factor, np.float32)
        place = np.floor((np.arange(out, dtype=np.float32) + np.float32(shift)) * step).astype(int)
        x = taken(x, np.minimum(place, size - 1), axis)
    return x


for rank in (1, 2, 3):
    for name, shift in (("upsample_nearest", 0.0), ("_upsample_nearest_exact", 0.5)):
        computes(f"{name}{rank}d", f"{name}{rank}d.vec")(_nearest(rank, shift))


def _sources(size: int, out: int, factor: float | None, corners: bool, dtype: Any) -> np.ndarray:
    """Where each pixel lies in the source."""
    place = np.arange(out).astype(dtype)
    if corners:
        return place * (dtype(size - 1) / dtype(out - 1) if out > 1 else dtype(0))
    return (place + dtype(0.5)) * _step(size, out, factor, dtype) - dtype(0.5)


def _linear_weights(source: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two neighbours and their weights; beyond the edge its own pixel counts."""
    source = np.maximum(source, 0)
    low = np.minimum(np.floor(source).astype(int), size - 1)
    share = (source - low.astype(source.dtype)).astype(source.dtype)
    return [(low, 1 - share), (np.minimum(low + 1, size - 1), share)]


def _cubic_weights(source: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four neighbours and their weights, of the kernel with a = -3/4."""
    low = np.floor(source)
    share, a = source - low, source.dtype.type(-0.75)

    def near(t: np.ndarray) -> np.ndarray:
        return np.asarray(((a + 2) * t - (a + 3)) * t * t + 1)

    def far(t: np.ndarray) -> np.ndarray:
        return np.asarray(((a * t - 5 * a) * t + 8 * a) * t - 4 * a)

    weights = (far(share + 1), near(share), near(1 - share), far(2 - share))
    places = (np.clip(low.astype(int) + k, 0, size - 1) for k in (-1, 0, 1, 2))
    return list(zip(places, weights, strict=True))


def _weighted(rank: int, kernel: Any) -> Function:
    def resized(call: Call, x: jax.Array, output_size: Any, align_corners: bool, *given: Any) -> jax.Array:
        sizes, scales = _target(x, rank, output_size, _factors(call, given))
        dtype = np.float64 if x.dtype == np.float64 else np.float32
        for axis, out, factor in zip(range(x.ndim - rank, x.ndim), sizes, scales, strict=True):
            source = _sources(x.shape[axis], out, factor, align_corners, dtype)
            shape = [1] * x.ndim
            shape[axis] = out
            parts = [
                taken(x, place, axis) * weight.reshape(shape).astype(x.dtype)
                for place, weight in kernel(source, x.shape[axis])
            ]
            x = sum(parts[1:], parts[0])
        return x

    return resized


for name, rank in (("linear", 1), ("bilinear", 2), ("trilinear", 3)):
    computes(f"upsample_{name}{rank}d", f"upsample_{name}{rank}d.vec")(_weighted(rank, _linear_weights))
computes("upsample_bicubic2d", "upsample_bicubic2d.vec")(_weighted(2, _cubic_weights))
