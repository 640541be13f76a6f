"""Events of a sensor: when something changed, where, and which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.errors import ArgumentError, ShapeError

__all__ = ["Events", "host", "sensor_size"]

_MOST = 2**15
"""Pixels along an edge, and neurons of a cochlea: what file formats can name."""


@dataclass(frozen=True, eq=False)
class Events:
    r"""What an event camera or a silicon cochlea recorded: events :math:`(t, x, y, p)`, in the order of time.

    Times are **microseconds**, whole numbers, as in the files of such sensors. This is one recording of a sensor, for
    data sets and files; what networks in continuous time exchange is :class:`snnax.event.Trains`, in seconds.

    Args:
        t: times ``[N]``, ascending.
        x: columns ``[N]``, from 0 at the left; of a sensor in one dimension, the number of the channel.
        y: rows ``[N]``, from 0 at the top; ``None`` for a sensor in one dimension.
        p: polarities ``[N]``, 1 for brighter and 0 for darker; ``None`` for a sensor that knows no such thing.
        size: ``(width, height)`` of the sensor, or ``(channels,)``.

    Raises:
        ArgumentError: for what are no whole numbers, times that go back, or addresses outside of the sensor.
        ShapeError: if the arrays have different lengths.

    Example:
        >>> from snnax.datasets import Events
        >>> events = Events([0, 40, 90], x=[3, 3, 5], y=[1, 2, 2], p=[1, 0, 1], size=(34, 34))
        >>> len(events), events.duration, events[1:].x.tolist()
        (3, 90, [3, 5])

    tonic's structured arrays have the same fields and units; :func:`~snnax.datasets.from_tonic` takes them.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int16]
    y: NDArray[np.int16] | None = None
    p: NDArray[np.bool_] | None = None
    size: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        size = sensor_size(self.size, "Events(size=...)")
        if (self.y is None) != (len(size) == 1):
            raise ArgumentError(
                f"Events(size={size}) {'without' if self.y is None else 'with'} y; expected size=(width, height) with "
                "y, or size=(channels,) without."
            )
        found = {
            name: _whole(value, f"Events({name}=...)")
            for name in ("t", "x", "y", "p")
            if (value := getattr(self, name)) is not None or name in "tx"
        }
        if len({len(values) for values in found.values()}) > 1:
            raise ShapeError(
                f"Events got {', '.join(f'{k} of {len(v)}' for k, v in found.items())}; expected as many of each."
            )
        if why := disorder(found["t"], found["x"], found.get("y"), found.get("p"), size):
            raise ArgumentError(f"Events: {why}")
        kinds = {"t": np.int64, "x": np.int16, "y": np.int16, "p": np.bool_}
        for name, values in found.items():
            object.__setattr__(self, name, values.astype(kinds[name]))
        object.__setattr__(self, "size", size)

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, chosen: Any) -> Events:
        """The events of a slice, ``events[100:200]``, or those that an array of booleans or numbers picks."""
        if not isinstance(chosen, slice):
            chosen = _picked(chosen, len(self))
        y, p = (None if v is None else v[chosen] for v in (self.y, self.p))
        return Events(self.t[chosen], self.x[chosen], y, p, self.size)

    def __eq__(self, other: object) -> bool:
        """Whether all events are the same, on a sensor of the same size."""
        if not isinstance(other, Events):
            return NotImplemented
        pairs = zip((self.t, self.x, self.y, self.p), (other.t, other.x, other.y, other.p), strict=True)
        return self.size == other.size and all(
            a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        sensor = "x".join(map(str, self.size))
        return f"Events({len(self)} events in {self.duration} us, sensor {sensor})"

    @property
    def duration(self) -> int:
        """Microseconds from the first event to the last; 0 without events."""
        return int(self.t[-1] - self.t[0]) if len(self) else 0

    @property
    def address(self) -> NDArray[np.int64]:
        """The number of each event's pixel, ``y * width + x``, row by row; of a sensor in one dimension ``x``."""
        wide = self.x.astype(np.int64)
        return wide if self.y is None else self.y * np.int64(self.size[0]) + wide

    def between(self, start: int, stop: int) -> Events:
        """The events with ``start <= t < stop``, in microseconds: one gesture of a long recording.

        Raises:
            ArgumentError: if these are no whole numbers.
        """
        first, last = (
            int(checks.count(-(2**62), 2**62)(v, f"between({k}=...)"))
            for k, v in (("start", start), ("stop", stop))
        )
        return self[int(np.searchsorted(self.t, first)) : int(np.searchsorted(self.t, last))]


def sensor_size(value: Any, what: str) -> tuple[int, ...]:
    """``(width, height)`` or ``(channels,)``, as whole numbers."""
    expected = "(width, height) of the sensor, as (34, 34), or (channels,), as (700,)"
    try:
        found = checks.shape(value, what)
    except ArgumentError as error:
        raise checks.refuse(what, value, expected) from error
    if len(found) > 2 or max(found) > _MOST:
        raise checks.refuse(what, value, expected)
    return found


def disorder(t: Any, x: Any, y: Any, p: Any, size: tuple[int, ...]) -> str:
    """What is wrong with events, in a sentence that names the first that is; empty if nothing is."""
    if len(back := np.flatnonzero(t[1:] < t[:-1])):
        at = int(back[0]) + 1
        return f"event {at} has t={t[at]} us, before t={t[at - 1]} us of the one before; expected ascending times."
    named = {"x": (x, size[0], "the sensor")}
    named |= {} if y is None else {"y": (y, size[1], "the sensor")}
    named |= {} if p is None else {"p": (p, 2, "the two polarities")}
    for name, (values, most, of) in named.items():
        if len(outside := np.flatnonzero((values < 0) | (values >= most))):
            at = int(outside[0])
            return f"event {at} has {name}={values[at]}, outside of {of}; expected 0 to {most - 1} (size={size})."
    return ""


def host(value: Any, what: str) -> NDArray[Any]:
    """Real numbers of NumPy, JAX or torch, or lists of them, as an array of NumPy."""
    checks.real(value, what)
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _whole(value: Any, what: str) -> NDArray[Any]:
    array = host(value, what)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "biu"):
        raise checks.refuse(what, value, "whole numbers [N], times in microseconds")
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 2**63:
        raise checks.refuse(what, value, "whole numbers [N] below 2**63")
    return array.astype(np.int64)


def _picked(chosen: Any, count: int) -> NDArray[Any]:
    array = np.asarray(chosen)
    if array.ndim != 1 or array.dtype.kind not in "biu" or (array.dtype.kind == "b") != (array.dtype == bool):
        raise checks.refuse(
            "Events[...]", chosen, "a slice, as events[:100], or an array [N] of booleans or numbers"
        )
    try:
        np.empty(count)[array]
    except IndexError as error:
        raise checks.refuse("Events[...]", chosen, f"numbers below {count}, or {count} booleans") from error
    return array
