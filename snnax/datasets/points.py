"""Yin-Yang: points of a disk in three classes that no line separates, made on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks

__all__ = ["yin_yang"]

RADIUS, DOT = 0.5, 0.1
"""Of the disk around (0.5, 0.5), and of the dots in its two halves."""

_MOST = 10**7


def yin_yang(samples: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points of the Yin-Yang symbol: which of its two halves they are in, or whether in a dot.

    The smallest problem on which a hidden layer shows: a linear reader gets about two thirds of it.

    Args:
        samples: number of points; a third of them is of each class, the rest of the last.
        seed: of the random points, a whole number from 0. Other seeds are other splits.

    Returns:
        ``(points, labels)``: points ``[N, 2]``, uniform in their class, coordinates from 0 to 1; labels ``[N]``: 0 yin,
        1 yang, 2 dot.

    Raises:
        ArgumentError: for anything but whole numbers, no samples, or more than ten million.

    Example:
        >>> from snnax.datasets import yin_yang
        >>> points, labels = yin_yang(300, seed=1)
        >>> points.shape, [int((labels == kind).sum()) for kind in range(3)]
        ((300, 2), [100, 100, 100])

    Source: L. Kriener, J. Goeltz, M. A. Petrovici, "The Yin-Yang dataset", NICE 2022. Same geometry and classes; other
    random numbers.
    """
    number = int(checks.count(1, _MOST)(samples, "yin_yang(samples=...)"))
    rng = np.random.default_rng(int(checks.count(0)(seed, "yin_yang(seed=...)")))
    third = number // 3
    missing = np.array([third, third, number - 2 * third])
    points, labels = np.empty((0, 2)), np.empty(0, np.int64)
    while missing.any():
        # The dots, the smallest class, are an area of 8 % of the disk.
        drawn = rng.uniform(size=(16 * int(missing.max()) + 64, 2))
        drawn = drawn[np.hypot(*(drawn - RADIUS).T) <= RADIUS]
        kinds = _class_of(drawn)
        chosen = np.concatenate([np.flatnonzero(kinds == kind)[: missing[kind]] for kind in range(3)])
        missing = missing - np.bincount(kinds[chosen], minlength=3)
        points, labels = np.concatenate([points, drawn[chosen]]), np.concatenate([labels, kinds[chosen]])
    order = rng.permutation(number)
    return points[order], labels[order]


def _class_of(points: NDArray[Any]) -> NDArray[np.int64]:
    x, y = points.T
    right, left = np.hypot(x - 1.5 * RADIUS, y - RADIUS), np.hypot(x - 0.5 * RADIUS, y - RADIUS)
    # Half of the disk above its middle line, less the head of one fish, plus that of the other.
    yang = (left <= 0.5 * RADIUS) | ((y > RADIUS) & (right > 0.5 * RADIUS))
    return np.where((right < DOT) | (left < DOT), 2, yang.astype(np.int64))
