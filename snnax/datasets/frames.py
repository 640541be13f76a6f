"""Events as frames: how many there were in each pixel, window by window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from snnax import checks
from snnax.datasets.digits import LAYOUTS
from snnax.datasets.events import Events
from snnax.errors import ArgumentError

__all__ = ["to_frames"]

_MOST = 2**31
"""Numbers in all frames of a recording: 8 GiB of float32."""

Cuts = list[tuple[int, int]]


def _dtype(value: Any, what: str) -> np.dtype[Any]:
    try:
        found = None if value is None else np.dtype(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.kind not in "fiu":
        raise checks.refuse(what, value, "a type of numbers, as np.float32")
    return found


@checks.takes(
    events=checks.instance(Events, "snnax.datasets.Events, as read_events returns"),
    time_window=checks.maybe(checks.count(1, 2**62)),
    n_frames=checks.maybe(checks.count()),
    n_events=checks.maybe(checks.count()),
    overlap=checks.number(0),
    layout=checks.one_of(*LAYOUTS),
    dtype=_dtype,
)
def to_frames(
    events: Events,
    *,
    time_window: int | None = None,
    n_frames: int | None = None,
    n_events: int | None = None,
    overlap: float = 0,
    include_incomplete: bool = False,
    polarity: bool = True,
    layout: str = "NHWC",
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    r"""Count the events of each pixel and polarity in windows of a recording: ``[T, H, W, 2]``.

    .. math:: F_k[y, x, p] = \left|\{i: (x_i, y_i, p_i) = (x, y, p),\; t_i \in [s_k, s_k + w)\}\right|

    Windows begin with the first event. Give one of three: their length, their number, or how many events are in each.

    Args:
        events: one recording.
        time_window: the length :math:`w` in microseconds; windows that the recording does not fill are left out.
        n_frames: how many windows; :math:`w` is the duration divided by that, rounded down to a microsecond, so that
            the last events, which are beyond the last window, are left out.
        n_events: events in each window; what is left over is left out.
        overlap: how far a window reaches into the next: in microseconds, in events, or with ``n_frames`` as a part of
            the window, below 1.
        include_incomplete: keep what is left over, in a last window (with ``n_frames``: in the last one, which is
            longer then).
        polarity: count brighter and darker apart; ``False`` adds them up.
        layout: ``"NHWC"``, channels last, as every layer here takes them, or ``"NCHW"``, as torch and ported networks
            do.
        dtype: of the counts.

    Returns:
        ``[T, H, W, 2]``, channel 0 darker and 1 brighter; ``[T, H, W, 1]`` without polarity; for torch
        ``[T, 2, H, W]``. Of a sensor in one dimension ``[T, N]``, or with polarity ``[T, N, 2]`` (``[T, 2, N]``).

    Raises:
        ArgumentError: unless just one of the three is given, for an ``overlap`` as long as the window, no events at
            all, or frames that would hold more than two thousand million numbers.

    Example:
        >>> from snnax.datasets import Events, to_frames
        >>> events = Events(t=[0, 400, 1500], x=[1, 1, 0], y=[0, 0, 2], p=[1, 1, 0], size=(2, 3))
        >>> frames = to_frames(events, time_window=1000, include_incomplete=True)
        >>> frames.shape, float(frames[0, 0, 1, 1]), float(frames[1, 2, 0, 0])
        ((2, 3, 2, 2), 2.0, 1.0)

    The windows are those of tonic 1.7's ``ToFrame(sensor_size, time_window | n_time_bins | event_count, overlap,
    include_incomplete)``, whose frames are ``[T, P, H, W]`` of int16: write ``layout="NCHW"``. Other than there,
    ``include_incomplete`` works with ``n_frames`` too, and loses no event: tonic leaves out the last one if it
    is at the very end of the last window.
    """
    given = {"time_window": time_window, "n_frames": n_frames, "n_events": n_events}
    if sum(value is not None for value in given.values()) != 1:
        raise ArgumentError(
            f"to_frames got {', '.join(f'{k}={v}' for k, v in given.items())}; expected one of the three, as "
            "to_frames(events, n_frames=10)."
        )
    if not len(events):
        raise ArgumentError(
            "to_frames(events) got no events, so there is no time to begin at; leave such recordings out."
        )
    channels = 2 if polarity and events.p is not None else 1
    numbers = channels * int(np.prod(events.size))
    if time_window is not None:
        cuts = _by_time(events.t, time_window, overlap, include_incomplete, numbers)
    elif n_events is not None:
        cuts = _by_count(len(events), n_events, overlap, include_incomplete, numbers)
    else:
        _check_size(int(n_frames or 1), numbers)
        cuts = _by_number(events.t, int(n_frames or 1), overlap, include_incomplete)
    return _counted(events, cuts, channels, layout == "NCHW", np.dtype(dtype))


def _counted(events: Events, cuts: Cuts, channels: int, first: bool, dtype: np.dtype[Any]) -> NDArray[Any]:
    index, pixels, polarity = events.address, int(np.prod(events.size)), channels == 2
    if events.p is not None and polarity:
        index = index + pixels * events.p if first else index * 2 + events.p
    frames = np.empty((len(cuts), pixels * channels), dtype)
    for number, (start, stop) in enumerate(cuts):
        frames[number] = np.bincount(index[start:stop], minlength=pixels * channels)
    space = events.size[::-1]
    if len(space) == 1 and not polarity:
        return frames
    return frames.reshape(len(cuts), *((channels, *space) if first else (*space, channels)))


def _check_size(count: int, numbers: int) -> None:
    if count * numbers > _MOST:
        raise ArgumentError(
            f"to_frames would make {count} frames of {numbers} numbers; expected at most {_MOST} in all. Take longer "
            "windows, or a part of the recording: events.between(start, stop)."
        )


def _stride(window: float, overlap: float, name: str) -> float:
    if overlap >= window:
        raise ArgumentError(
            f"to_frames(overlap={overlap:g}) with {name}={window:g}; expected an overlap below that."
        )
    return window - overlap


def _windows(t: NDArray[Any], starts: NDArray[Any], window: float) -> Cuts:
    return list(
        zip(np.searchsorted(t, starts).tolist(), np.searchsorted(t, starts + window).tolist(), strict=True)
    )


def _windows_in(left: float, stride: float, one_more: bool, numbers: int) -> int:
    """How many windows begin after the first, where ``left`` is what that does not cover; and that one."""
    count = max(int(left // stride), 0) + 1 + one_more
    _check_size(count, numbers)
    return count


def _by_time(t: NDArray[Any], window: int, overlap: float, whole: bool, numbers: int) -> Cuts:
    stride = _stride(window, overlap, "time_window")
    # The last event is at the end of the recording, and no window has its own end.
    count = _windows_in(float(t[-1] - t[0]) - window, stride, whole and int(t[-1] - t[0]) >= window, numbers)
    steps = np.arange(count) * (int(stride) if stride == int(stride) else stride)
    return _windows(t, steps + t[0], window)


def _by_count(events: int, wanted: int, overlap: float, whole: bool, numbers: int) -> Cuts:
    if overlap != int(overlap):
        raise ArgumentError(
            f"to_frames(overlap={overlap:g}) with n_events; expected a whole number of events."
        )
    stride, held = int(_stride(wanted, overlap, "n_events")), min(wanted, events)
    count = _windows_in(events - held, stride, whole and (events - held) % stride > 0, numbers)
    starts = range(0, stride * count, stride)
    return [(start, min(start + held, events)) for start in starts]


def _by_number(t: NDArray[Any], count: int, overlap: float, whole: bool) -> Cuts:
    _stride(1, overlap, "n_frames")
    window: float = int(t[-1] - t[0]) // count
    if overlap:
        window = window * (1 + overlap)
    stride = window * (1 - overlap) if overlap else window
    cuts = _windows(t, np.arange(count) * stride + t[0], window)
    return [*cuts[:-1], (cuts[-1][0], len(t))] if whole else cuts
