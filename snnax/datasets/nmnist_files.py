"""The files of N-MNIST and N-Caltech101: five bytes an event.

The 40 bits are, the highest first: x (8), y (8), polarity (1), time in microseconds (23). A record with ``y`` = 240 is
no event: the clock of the sensor has run over, and 2**13 microseconds are added to all times from there on.

Source: G. Orchard et al. (2015), Converting static image datasets to spiking neuromorphic datasets using saccades.
"""

from __future__ import annotations

import numpy as np

from snnax.datasets.decoded import Source, decoded, mapped, refusal
from snnax.datasets.events import Events
from snnax.errors import ArgumentError

__all__ = ["read", "write"]

SIZE = (34, 34)
_OVERFLOW, _ADDED = 240, 2**13
_LATEST = 2**23


def read(path: Source, size: tuple[int, ...] | None, sort: bool) -> Events:
    """The events of a ``.bin`` file."""
    data = mapped(path)
    if len(data) % 5:
        raise refusal(
            path, f"{len(data)} bytes; expected five for each event. The file is cut off, or no N-MNIST file."
        )
    x, y, high, middle, low = data.reshape(-1, 5).T.astype(np.int64)
    overflows = y == _OVERFLOW
    t = ((high & 127) << 16) + (middle << 8) + low + _ADDED * np.cumsum(overflows)
    real = ~overflows
    about = " Of another sensor pass its size, as size=(240, 180) for N-Caltech101."
    return decoded(path, t[real], x[real], y[real], (high >> 7)[real], size or SIZE, sort, about)


def write(path: Source, events: Events) -> None:
    """Write a ``.bin`` file."""
    if events.y is None or events.p is None:
        raise ArgumentError(
            f"write_events({str(path)!r}): an N-MNIST file has x, y and polarity, "
            f"{events!r} lacks one. Write .csv or .h5."
        )
    if len(events) and (
        events.t[-1] >= _LATEST or events.t[0] < 0 or max(events.x.max(), events.y.max()) >= _OVERFLOW
    ):
        raise ArgumentError(
            f"write_events({str(path)!r}): an N-MNIST file holds times from 0 to {_LATEST - 1} us and addresses below "
            f"{_OVERFLOW}; got times {events.t[0]} to {events.t[-1]} us on a sensor of {events.size}. "
            "Write .aedat or .csv."
        )
    t = events.t
    columns = (events.x, events.y, (events.p << 7) | (t >> 16), (t >> 8) & 255, t & 255)
    np.stack([np.asarray(c).astype(np.uint8) for c in columns], axis=1).tofile(path)
