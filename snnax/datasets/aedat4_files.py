"""AEDAT 4, iniVation's present format, by the package ``aedat``."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnax.datasets.decoded import Source, decoded, refusal
from snnax.datasets.events import Events
from snnax.errors import MissingDependencyError

__all__ = ["read"]


def read(path: Source, size: tuple[int, ...] | None, sort: bool) -> Events:
    """The events of the first stream of events.

    Raises:
        MissingDependencyError: the package aedat is not installed.
    """
    try:
        import aedat
    except ImportError as error:
        raise MissingDependencyError("aedat", "", "reading .aedat4 files", "pip install aedat") from error
    with open(path, "rb"):  # a file that is not there is said as Python says it
        pass
    try:
        decoder = aedat.Decoder(str(path))
        streams = {n: s for n, s in decoder.id_to_stream().items() if s["type"] == "events"}
        first = min(streams, default=None)
        parts: list[Any] = [packet["events"] for packet in decoder if packet["stream_id"] == first]
    except RuntimeError as error:
        raise refusal(path, f"no AEDAT 4 file, or a damaged one: {error}") from error
    if first is None:
        raise refusal(path, "has no stream of events.")
    found = size or (int(streams[first]["width"]), int(streams[first]["height"]))
    t, x, y, p = (
        np.concatenate([part[name] for part in parts]) if parts else np.empty(0, np.int64)
        for name in ("t", "x", "y", "on")
    )
    return decoded(path, t, x, y, p, found, sort)
