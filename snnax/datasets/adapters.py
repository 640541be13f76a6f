"""Data sets of other libraries: tonic's structured arrays as events, torch's data sets as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnax import checks
from snnax.datasets.events import Events, host, sensor_size
from snnax.errors import ArgumentError

__all__ = ["Adapted", "from_tonic", "from_torch"]


def from_tonic(events: Any, size: Sequence[int] | None = None) -> Events:
    """Events of a structured array, as tonic's data sets return them: fields ``t``, ``x``, ``y``, ``p``.

    Args:
        events: a structured array ``[N]``, times in microseconds.
        size: the sensor, ``(width, height)`` or ``(channels,)``; tonic's ``sensor_size``, which has the number of
            polarities at its end, too: of a sensor with one, polarities are left out. ``None``: just large
            enough.

    Returns:
        The events.

    Raises:
        ArgumentError: for another array, times that go back, or events outside of the sensor.

    Example:
        >>> import numpy as np
        >>> from snnax.datasets import from_tonic
        >>> array = np.array([(5, 1, 2, 1)], [("t", int), ("x", int), ("y", int), ("p", int)])
        >>> from_tonic(array, (34, 34, 2))
        Events(1 events in 0 us, sensor 34x34)
    """
    names = getattr(getattr(events, "dtype", None), "names", None)
    if not isinstance(events, np.ndarray) or events.ndim != 1 or not {"t", "x"} <= set(names or ()):
        raise checks.refuse(
            "from_tonic(events=...)", events, "a structured array [N] with fields t, x, and y, p if there are"
        )
    flat = "y" not in events.dtype.names
    parts = {name: events[name] for name in ("t", "x", "y", "p") if name in events.dtype.names}
    if size is None:
        found: tuple[int, ...] = tuple(int(parts[n].max(initial=0)) + 1 for n in ("x", "y") if n in parts)
    else:
        given = checks.shape(size, "from_tonic(size=...)")
        if len(given) == 3 and given[2] == 1:
            parts.pop("p", None)
        flat = flat or (len(given) == 3 and given[1] == 1)
        found = sensor_size(given[: 1 if flat else 2], "from_tonic(size=...)")
    if flat:
        parts.pop("y", None)
    if "t" in parts and parts["t"].dtype.kind == "f":
        parts["t"] = np.rint(parts["t"]).astype(np.int64)
    return Events(**parts, size=found)


class Adapted(Sequence[tuple[Any, Any]]):
    """Another library's data set, with what it holds as arrays; :func:`from_torch` makes one.

    Args:
        dataset: pairs ``(value, label)`` by number.
        size: of the sensor, if the values are events.

    Example:
        >>> import numpy as np
        >>> from snnax.datasets import from_torch
        >>> data = from_torch([(np.zeros(3), 1), (np.ones(3), 0)])
        >>> len(data), data[1]
        (2, (array([1., 1., 1.]), 0))
    """

    def __init__(self, dataset: Any, size: Sequence[int] | None) -> None:
        self.dataset, self.size = dataset, size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: Any) -> Any:
        """``(value, label)``."""
        at = checks.whole(number, -len(self), len(self) - 1)
        if at is None:  # an end, for what iterates
            raise IndexError(f"sample {checks.shown(number)} of {len(self)}")
        item = self.dataset[at % len(self)]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise checks.refuse("from_torch(dataset=...)", item, "a data set of pairs (value, label)")
        return self._value(item[0]), self._label(item[1])

    def _value(self, value: Any) -> Any:
        if hasattr(value, "detach"):
            return host(value, "from_torch(dataset=...)")
        array = np.asarray(value)
        if array.dtype.names:
            return from_tonic(array, self.size)
        if array.dtype.kind not in "biuf":
            raise checks.refuse(
                "from_torch(dataset=...)", value, "tensors, images, arrays, or structured arrays of events"
            )
        if type(value).__module__.partition(".")[0] == "PIL":  # [H, W] or [H, W, C], 0 to 255
            return (array.reshape(*array.shape[:2], -1) / np.float32(255)).astype(np.float32)
        return array

    def _label(self, label: Any) -> Any:
        if isinstance(label, str | bytes):
            return label
        array = np.asarray(label.detach().cpu() if hasattr(label, "detach") else label)
        return array.item() if array.ndim == 0 else array


def from_torch(dataset: Any, size: Sequence[int] | None = None) -> Adapted:
    """A data set of torch, torchvision or tonic, as a sequence of arrays or events; neither library is imported.

    Tensors become arrays, images of PIL ``[H, W, C]`` from 0 to 1, tonic's structured arrays :class:`Events`.

    Args:
        dataset: anything with ``len(dataset)`` and ``dataset[i]``, a pair ``(value, label)``.
        size: the sensor of events, as :func:`from_tonic` takes it; ``None``: ``dataset.sensor_size`` if there is one.

    Returns:
        A sequence of pairs; nothing is read before it is asked for.

    Raises:
        ArgumentError: if it is no such data set; for what it holds, when that is asked for.

    Example:
        >>> import numpy as np
        >>> from snnax.datasets import from_torch
        >>> found = from_torch([(np.ones((1, 8, 8)), np.int64(3))])
        >>> found[0][0].shape, found[0][1]
        ((1, 8, 8), 3)

    With tonic: ``from_torch(tonic.datasets.NMNIST("data"))[0]`` is ``(Events, label)``.
    """
    if (
        not hasattr(dataset, "__getitem__")
        or not hasattr(dataset, "__len__")
        or isinstance(dataset, str | bytes | dict | type)
    ):
        raise checks.refuse(
            "from_torch(dataset=...)", dataset, "a data set: len(data), data[i] a pair (value, label)"
        )
    if size is None:
        size = getattr(dataset, "sensor_size", None)
    try:
        found = None if size is None else checks.shape(size, "from_torch(size=...)")
    except ArgumentError:
        raise checks.refuse(
            "from_torch(size=...)", size, "(width, height) or (channels,), as (34, 34)"
        ) from None
    return Adapted(dataset, found)
