"""Data sets of events on disk: a folder with a folder for each class, or an HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.datasets import spike_files
from snnax.datasets.decoded import Source
from snnax.datasets.event_files import HDF5, READ, read_events
from snnax.datasets.events import Events, sensor_size
from snnax.errors import ArgumentError

__all__ = ["Recordings", "recordings"]


class Recordings(Sequence[tuple[Events, int]]):
    """Recordings and their labels, each read from disk when it is asked for; :func:`recordings` makes one.

    Attributes:
        labels: of each recording the number of its class, ``[N]``.
        classes: names of the classes.
    """

    def __init__(
        self, labels: NDArray[np.int64], classes: Sequence[str], read: Callable[[int], Events]
    ) -> None:
        self.labels, self.classes, self._read = labels, tuple(classes), read

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, number: int) -> tuple[Events, int]: ...
    @overload
    def __getitem__(self, number: slice) -> Recordings: ...
    def __getitem__(self, number: Any) -> Any:
        """``(events, label)``; of a slice, the data set that has only these."""
        if isinstance(number, slice):
            chosen = range(len(self))[number]
            return Recordings(self.labels[number], self.classes, lambda one: self._read(chosen[one]))
        at = checks.whole(number, -len(self), len(self) - 1)
        if at is None:
            raise IndexError(f"recording {checks.shown(number)} of {len(self)}")
        return self._read(at % len(self)), int(self.labels[at])

    def __repr__(self) -> str:
        return f"Recordings({len(self)} recordings of {len(self.classes)} classes)"


@checks.takes(path=checks.path, size=checks.maybe(sensor_size))
def recordings(path: Source, *, size: tuple[int, ...] | None = None, sort: bool = False) -> Recordings:
    """Open a data set of events on disk: N-MNIST's folders, or a file as SHD's.

    Args:
        path: a folder with a folder for each class in it, as N-MNIST's ``Train`` with ``0`` to ``9``, in which are
            files that :func:`~snnax.datasets.read_events` reads; or an ``.h5`` file.
        size: of the sensor, as :func:`~snnax.datasets.read_events` takes it.
        sort: put the events in the order of time.

    Returns:
        A sequence, ``len(found)``, ``events, label = found[3]``, ``found.labels``, ``found.classes``. Classes are in
        the order of their names, numbers by value.

    Raises:
        FileNotFoundError: there is no such file or folder.
        EventFileError: for a damaged file; of files in folders, when it is read.
        ArgumentError: a folder without such files in it.

    Example:
        >>> import os, tempfile
        >>> from snnax.datasets import Events, recordings, write_events
        >>> folder = tempfile.mkdtemp()
        >>> for label in ("3", "10"):
        ...     os.mkdir(os.path.join(folder, label))
        ...     event = Events(t=[5], x=[1], y=[int(label)], p=[0], size=(34, 34))
        ...     write_events(os.path.join(folder, label, "00001.bin"), event)
        >>> found = recordings(folder)
        >>> found.classes, found[1][0].y.tolist(), found[1][1]
        (('3', '10'), [10], 1)
    """
    if not os.path.isdir(path):
        labels, names = spike_files.contents(path)
        names = names or tuple(str(n) for n in range(int(labels.max(initial=-1)) + 1))
        return Recordings(
            labels, names, lambda number: read_events(path, sample=number, size=size, sort=sort)
        )
    folders = (f.name for f in Path(path).iterdir() if f.is_dir())
    names = tuple(sorted(folders, key=lambda name: (not name.isdecimal(), name.zfill(20))))
    groups = [sorted(f for f in Path(path, name).iterdir() if f.suffix.lower() in READ) for name in names]
    files = [file for group in groups for file in group]
    if not files:
        raise ArgumentError(
            f"recordings({os.fspath(path)!r}) found no file of events; expected a folder for each class with files "
            f"in it that end with one of {', '.join(READ)}, or a file that ends with one of {', '.join(HDF5)}."
        )
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return Recordings(labels, names, partial(_read, files, size, sort))


def _read(files: Sequence[Path], size: Any, sort: bool, number: int) -> Events:
    return read_events(files[number], size=size, sort=sort)
