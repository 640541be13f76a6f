"""What every reader of event files does last: numbers of a file become events, or the file is refused."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax.datasets.events import Events, disorder
from snnax.errors import ArgumentError, EventFileError

__all__ = ["Source", "decoded", "mapped", "refusal"]

Source = str | PathLike[str]


def refusal(path: Source, problem: str) -> EventFileError:
    """The error to raise: which file, and what is wrong with it."""
    return EventFileError(f"{fspath(path)}: {problem}")


def mapped(path: Source) -> NDArray[np.uint8]:
    """The bytes of a file, mapped into memory: only what is looked at is read.

    Raises:
        OSError: what opening it raises.
    """
    with open(path, "rb") as file:
        file.seek(0, 2)
        if not file.tell():
            return np.empty(0, np.uint8)
        return np.memmap(file, np.uint8, mode="r")


def decoded(
    path: Source, t: Any, x: Any, y: Any, p: Any, size: tuple[int, ...], sort: bool, about: str = ""
) -> Events:
    """The events of a file.

    Args:
        path: for the error.
        t: times in microseconds, and so on, ``[N]``.
        x: columns.
        y: rows, or ``None``.
        p: polarities, or ``None``.
        size: of the sensor.
        sort: put them in the order of time first.
        about: what else to say of addresses outside of the sensor.

    Raises:
        EventFileError: for times that go back, and addresses outside of the sensor.
    """
    if (y is None) != (len(size) == 1):
        raise ArgumentError(
            f"read_events(size={size}), but events of {fspath(path)} have "
            f"{'one address: pass size=(channels,)' if y is None else 'x and y: pass size=(width, height)'}."
        )
    parts: list[Any] = [None if v is None else np.asarray(v).astype(np.int64) for v in (t, x, y, p)]
    if sort:
        order = np.argsort(parts[0], kind="stable")
        parts = [None if v is None else v[order] for v in parts]
    t, x, y, p = parts
    if problem := disorder(t, x, y, p, size):
        remedy = " If the file is meant to be so, pass sort=True." if " before " in problem else about
        raise refusal(path, f"{problem}{remedy}")
    return Events(t, x, y, p, size)
