"""The HDF5 files of the Heidelberg digits and the spiking speech commands (SHD, SSC): many recordings in one.

``spikes/times`` and ``spikes/units`` hold an array for each recording, times in seconds; ``labels`` its class. The
names of the classes are in ``extra/keys``, and in SHD the speakers in ``extra/speaker``.

Source: B. Cramer et al. (2020), The Heidelberg spiking data sets for the systematic evaluation of spiking neural
networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax.datasets.decoded import Source, decoded, refusal
from snnax.datasets.events import Events
from snnax.errors import ArgumentError, EventFileError

__all__ = ["contents", "read", "write"]

SIZE = (700,)


@contextmanager
def _opened(path: Source) -> Iterator[Any]:
    """The file, open; what HDF5's library raises about its content becomes an error that names the file."""
    import h5py  # takes its time, and nothing else needs it

    with open(path, "rb"):  # a file that is not there is said as Python says it
        pass
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (EventFileError, ArgumentError):
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise refusal(path, f"no file of spikes as SHD's, or a damaged one: {error}") from error


def contents(path: Source) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The label of each recording, and the names of the classes if the file has them."""
    with _opened(path) as file:
        times, units = file["spikes/times"], file["spikes/units"]
        labels = np.asarray(file["labels"][()])
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(times) == len(units) == len(labels):
            raise refusal(
                path,
                f"has {len(times)} times, {len(units)} units and labels of shape {labels.shape}; expected as many "
                "of each.",
            )
        names = file["extra/keys"][()] if "extra" in file and "keys" in file["extra"] else ()
        return labels.astype(np.int64), tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)


def read(path: Source, sample: int | None, size: tuple[int, ...] | None, sort: bool) -> Events:
    """One recording."""
    with _opened(path) as file:
        count = len(file["spikes/times"])
        if sample is None and count == 1:
            sample = 0
        if sample is None or sample >= count:
            raise ArgumentError(
                f"read_events({str(path)!r}, sample={sample}): the file has {count} recordings; pass one's number, "
                "or take datasets.recordings(path), a sequence of them all."
            )
        times, units = np.asarray(file["spikes/times"][sample]), np.asarray(file["spikes/units"][sample])
    if (
        times.ndim != 1
        or times.shape != units.shape
        or times.dtype.kind != "f"
        or units.dtype.kind not in "iu"
    ):
        raise refusal(
            path,
            f"recording {sample} has times {times.dtype} {times.shape} and units {units.dtype} {units.shape}; "
            "expected seconds and whole numbers, as many of each.",
        )
    if not (np.isfinite(times).all() and np.abs(times, dtype=np.float64).max(initial=0) < 2**40):
        raise refusal(
            path, f"recording {sample} has times that are no seconds: {times.min()} to {times.max()}."
        )
    t = np.rint(times.astype(np.float64) * 1e6)
    return decoded(
        path, t, units, None, None, size or SIZE, sort, " Pass size=(channels,) for another sensor."
    )


def write(
    path: Source,
    recordings: Sequence[Events],
    labels: NDArray[Any],
    classes: Sequence[str],
    speakers: NDArray[Any] | None,
) -> None:
    """Write all recordings."""
    for number, events in enumerate(recordings):
        if events.y is not None or events.p is not None:
            raise ArgumentError(
                f"write_events({str(path)!r}): recording {number}, {events!r}, has rows or polarities, for which SHD's "
                "format has no place; write .bin, .aedat or .csv, or Events(t=e.t, x=e.address, size=(channels,))."
            )
    import h5py

    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(recordings),), h5py.vlen_dtype(np.float64))
        units = file.create_dataset("spikes/units", (len(recordings),), h5py.vlen_dtype(np.uint16))
        for number, events in enumerate(recordings):
            times[number], units[number] = _seconds(events.t), events.x.astype(np.uint16)
        file["labels"] = labels.astype(np.uint16)
        if classes:
            file["extra/keys"] = np.array([name.encode() for name in classes], "S")
        if speakers is not None:
            file["extra/speaker"] = speakers.astype(np.uint16)


def _seconds(t: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds of which a reader that cuts off in place of rounding makes the same microseconds."""
    seconds = t / 1e6
    return np.where(np.trunc(seconds * 1e6) < t, np.nextafter(seconds, np.inf), seconds)
