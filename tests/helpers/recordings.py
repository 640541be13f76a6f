"""Recordings of sensors that nobody had."""

import numpy as np

from snnax.datasets import Events

__all__ = ["camera", "cochlea"]


def camera(count=50, size=(34, 34), seed=0, latest=300_000):
    """Of an event camera."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, latest, count))
    x, y = (rng.integers(0, edge, count) for edge in size)
    return Events(t, x, y, rng.integers(0, 2, count), size)


def cochlea(count=50, channels=700, seed=0):
    """Of a silicon cochlea."""
    rng = np.random.default_rng(seed)
    return Events(
        np.sort(rng.integers(0, 1_400_000, count)), rng.integers(0, channels, count), size=(channels,)
    )
