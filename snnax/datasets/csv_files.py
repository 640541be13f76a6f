"""Events as text: a line ``t,x,y,p`` for each, microseconds and whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax.datasets.decoded import Source, decoded, refusal
from snnax.datasets.events import Events
from snnax.errors import ArgumentError

__all__ = ["read", "write"]

_COLUMNS = (("t", "x"), ("t", "x", "p"), ("t", "x", "y"), ("t", "x", "y", "p"))
_SHOWN = 40


def read(path: Source, size: tuple[int, ...] | None, sort: bool) -> Events:
    """The events of a ``.csv`` file, whose first line names the columns, in any order."""
    if size is None:
        raise ArgumentError(
            f"read_events({str(path)!r}): a .csv file does not say how large the sensor is; pass size=(width, height)."
        )
    try:
        with open(path, encoding="utf-8") as file:
            names = tuple(name.strip() for name in file.readline().split(","))
            text = file.read()
    except UnicodeDecodeError as error:
        raise refusal(path, f"is no text: {error}") from error
    if tuple(sorted(names)) not in map(tuple, map(sorted, _COLUMNS)):
        raise refusal(
            path, f"line 1 is {','.join(names)[:_SHOWN]!r}; expected the names of columns, as t,x,y,p."
        )
    columns = dict(zip(names, _numbers(path, text, len(names)).T, strict=True))
    return decoded(path, columns["t"], columns["x"], columns.get("y"), columns.get("p"), size, sort)


def _numbers(path: Source, text: str, width: int) -> NDArray[np.int64]:
    lines = text.splitlines()
    try:
        flat = [int(word) for line in lines for word in _words(line, width)]
        return np.array(flat, np.int64).reshape(-1, width)
    except (ValueError, OverflowError):
        at = next(number for number, line in enumerate(lines) if not _fits(line, width))
        raise refusal(
            path, f"line {at + 2} is {lines[at][:_SHOWN]!r}; expected {width} whole numbers."
        ) from None


def _words(line: str, width: int) -> list[str]:
    words = line.split(",")
    if len(words) != width:
        raise ValueError
    return words


def _fits(line: str, width: int) -> bool:
    try:
        np.array([int(word) for word in _words(line, width)], np.int64)
    except (ValueError, OverflowError):
        return False
    return True


def write(path: Source, events: Events) -> None:
    """Write a ``.csv`` file."""
    columns: dict[str, Any] = {"t": events.t, "x": events.x, "y": events.y, "p": events.p}
    named = {name: values.tolist() for name, values in columns.items() if values is not None}
    rows = (",".join(str(int(value)) for value in row) for row in zip(*named.values(), strict=True))
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{row}\n" for row in (",".join(named), *rows))
