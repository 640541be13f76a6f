"""One recording in a file: which format a file has, and who reads and writes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.datasets import aedat4_files, aedat_files, csv_files, nmnist_files, spike_files
from snnax.datasets.decoded import Source
from snnax.datasets.events import Events, host, sensor_size
from snnax.errors import ArgumentError, ShapeError

__all__ = ["HDF5", "READ", "read_events", "suffix_of", "write_events"]

READ: dict[str, Callable[[Source, tuple[int, ...] | None, bool], Events]] = {
    ".bin": nmnist_files.read,
    ".aedat": aedat_files.read,
    ".aedat4": aedat4_files.read,
    ".csv": csv_files.read,
}
"""One recording in a file."""

HDF5 = (".h5", ".hdf5")
"""Many in one."""

_WRITE: dict[str, Callable[[Source, Events], None]] = {
    ".bin": nmnist_files.write,
    ".aedat": aedat_files.write,
    ".csv": csv_files.write,
}


def suffix_of(path: Source, known: Sequence[str], what: str) -> str:
    """The end of a file's name, in small letters: its format."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in known:
        raise checks.refuse(what, os.fspath(path), f"a name that ends with one of {', '.join(known)}")
    return suffix


@checks.takes(
    path=checks.path,
    size=checks.maybe(sensor_size),
    sample=checks.maybe(checks.count(0)),
)
def read_events(
    path: Source, *, size: tuple[int, ...] | None = None, sample: int | None = None, sort: bool = False
) -> Events:
    """Read a recording; its format is told by the end of the file's name.

    ============  ================================================================  ==================
    ends with     what it is                                                        sensor, unless said
    ============  ================================================================  ==================
    ``.bin``      N-MNIST, N-Caltech101: five bytes an event                        34x34
    ``.h5``       SHD, SSC: HDF5 with many recordings; ``sample`` chooses one       700 channels
    ``.aedat``    AEDAT 3.1, as DVS128 Gesture                                      128x128
    ``.aedat4``   AEDAT 4, with the package aedat (``pip install aedat``)           as the file says
    ``.csv``      text, the first line ``t,x,y,p`` or ``t,x``                       to be said
    ============  ================================================================  ==================

    Files are mapped into memory, and what is read of them needs at most about ten times their size.

    Args:
        path: the file.
        size: ``(width, height)`` of the sensor, or ``(channels,)``.
        sample: which recording, in a file of many.
        sort: put the events in the order of time, if they are not.

    Returns:
        The events, times in microseconds.

    Raises:
        FileNotFoundError: there is no such file.
        EventFileError: the file is damaged, cut off or of another kind, times go back, or an event is outside of the
            sensor; the message says where.
        ArgumentError: for another ending, no ``size`` where it is needed, or a ``sample`` that is not there.
        MissingDependencyError: for ``.aedat4`` without the package aedat.

    Example:
        >>> import os, tempfile
        >>> from snnax.datasets import Events, read_events, write_events
        >>> path = os.path.join(tempfile.mkdtemp(), "00001.bin")
        >>> events = Events(t=[10, 25], x=[3, 4], y=[0, 33], p=[1, 0], size=(34, 34))
        >>> write_events(path, events)
        >>> read_events(path) == events, os.path.getsize(path)
        (True, 10)

    HDF5's own library trusts what a file says: read ``.h5`` files only from where you trust.
    """
    suffix = suffix_of(path, [*READ, *HDF5], "read_events(path=...)")
    if suffix in HDF5:
        return spike_files.read(path, sample, size, sort)
    if sample:
        raise ArgumentError(
            f"read_events(sample={sample}): a {suffix} file holds one recording; leave sample out."
        )
    return READ[suffix](path, size, sort)


@checks.takes(
    path=checks.path,
    events=checks.instance((Events, list, tuple), "snnax.datasets.Events, or for .h5 a list of them"),
    classes=checks.texts,
)
def write_events(
    path: Source,
    events: Events | Sequence[Events],
    labels: Any = None,
    *,
    classes: Sequence[str] = (),
    speakers: Any = None,
) -> None:
    """Write a recording, or to ``.h5`` several; the format is told by the end of the file's name.

    Args:
        path: a name that ends with ``.bin``, ``.aedat``, ``.csv`` or ``.h5``, as :func:`read_events` reads them.
        events: one recording; of a sensor in one dimension and to ``.h5`` also a list of them.
        labels: of each recording, whole numbers ``[N]``; for ``.h5`` alone.
        classes: names of the classes, likewise.
        speakers: who spoke, whole numbers ``[N]``, likewise.

    Raises:
        ArgumentError: for another ending, and events that the format cannot hold: times beyond 8.4 seconds in
            ``.bin``, polarities in ``.h5``.
        ShapeError: for as many labels or speakers as there are no recordings.

    Example:
        >>> import os, tempfile
        >>> from snnax.datasets import Events, recordings, write_events
        >>> path = os.path.join(tempfile.mkdtemp(), "words.h5")
        >>> word = Events(t=[500, 1500], x=[3, 650], size=(700,))
        >>> write_events(path, [word, word[:1]], labels=[7, 2])
        >>> [(len(events), label) for events, label in recordings(path)]
        [(2, 7), (1, 2)]

    tonic 1.7 reads the same events from these files.
    """
    suffix = suffix_of(path, [*_WRITE, *HDF5], "write_events(path=...)")
    several = [events] if isinstance(events, Events) else list(events)
    for one in several:
        checks.instance(Events, "snnax.datasets.Events")(one, "write_events(events=...)")
    if suffix in HDF5:
        numbers = np.zeros(len(several), int) if labels is None else _numbers(labels, "labels", len(several))
        spoken = None if speakers is None else _numbers(speakers, "speakers", len(several))
        spike_files.write(path, several, numbers, classes, spoken)
        return
    if not isinstance(events, Events) or labels is not None or classes or speakers is not None:
        raise ArgumentError(
            f"write_events({os.fspath(path)!r}): a {suffix} file holds one recording and no label; pass Events "
            "alone, or write several recordings to .h5."
        )
    _WRITE[suffix](path, events)


def _numbers(value: Any, what: str, count: int) -> NDArray[Any]:
    found = host(value, f"write_events({what}=...)")
    if found.dtype.kind not in "iu" or (found.size and not 0 <= found.min() <= found.max() < 2**16):
        raise checks.refuse(f"write_events({what}=...)", value, "whole numbers from 0 to 65535")
    if found.shape != (count,):
        raise ShapeError(
            f"write_events({what}=...) got shape {found.shape} for {count} recordings; expected ({count},)."
        )
    return found
