"""Frames count each event of their window once; nothing is lost unseen."""

import numpy as np
import pytest
from helpers.recordings import camera, cochlea

from snnax.datasets import Events, to_frames
from snnax.errors import ArgumentError


def counted(events, start, stop):
    """One frame by hand, ``start <= t < stop``."""
    frame = np.zeros((*events.size[::-1], 2))
    for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True):
        if start <= t < stop:
            frame[y, x, int(p)] += 1
    return frame


def test_windows_of_time():
    events = camera(200, (6, 4), latest=1000)
    first, last = int(events.t[0]), int(events.t[-1])
    frames = to_frames(events, time_window=130)
    assert frames.shape == ((last - first) // 130, 4, 6, 2) and frames.dtype == np.float32
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(
            frame, counted(events, first + 130 * number, first + 130 * (number + 1))
        )
    over = to_frames(events, time_window=130, overlap=30)
    for number, frame in enumerate(over):
        np.testing.assert_array_equal(
            frame, counted(events, first + 100 * number, first + 100 * number + 130)
        )
    assert to_frames(events, time_window=5000).sum() == 200  # one window, longer than the recording


@pytest.mark.parametrize(
    "how",
    [
        {"time_window": 130},
        {"time_window": 100},
        {"n_frames": 7},
        {"n_events": 30},
        {"n_events": 50},
        {"n_events": 500},
    ],
)
def test_every_event_is_in_a_frame_if_incomplete_ones_are_kept(how):
    events = camera(200, (6, 4), latest=1000)
    shifted = Events(events.t - events.t[0] + 0, events.x, events.y, events.p, events.size)[:-1]
    ends = Events([*shifted.t, 1000], [*shifted.x, 0], [*shifted.y, 0], [*shifted.p, 0], events.size)
    for each in (events, ends):  # of the second, the last is at the very end of a window
        assert to_frames(each, **how, include_incomplete=True).sum() == 200
        assert to_frames(each, **how).sum() <= 200


def test_a_number_of_frames_or_of_events():
    events = camera(200, (6, 4), latest=1000)
    assert len(to_frames(events, n_frames=7)) == 7
    assert to_frames(events, n_events=30).sum((1, 2, 3)).tolist() == [30.0] * 6
    assert to_frames(events, n_events=30, include_incomplete=True).sum((1, 2, 3)).tolist() == [30.0] * 6 + [
        20.0
    ]
    assert to_frames(events, n_events=30, overlap=10).sum((1, 2, 3)).tolist() == [30.0] * 9


def test_layouts():
    events = camera(200, (6, 4))
    frames = to_frames(events, n_frames=5)
    np.testing.assert_array_equal(to_frames(events, n_frames=5, layout="NCHW"), np.moveaxis(frames, -1, 1))
    merged = to_frames(events, n_frames=5, polarity=False, dtype=np.int16)
    np.testing.assert_array_equal(merged[..., 0], frames.sum(-1))
    assert merged.shape == (5, 4, 6, 1) and merged.dtype == np.int16
    sound = cochlea(100, 20)
    assert to_frames(sound, n_frames=5).shape == (5, 20)
    both = Events(sound.t, sound.x, p=sound.x % 2, size=(20,))
    assert to_frames(both, n_frames=5).shape == (5, 20, 2)
    assert to_frames(both, n_frames=5, layout="NCHW").shape == (5, 2, 20)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "expected one of the three"),
        ({"time_window": 5, "n_frames": 2}, "expected one of the three"),
        ({"time_window": 100, "overlap": 100}, "an overlap below that"),
        ({"n_frames": 5, "overlap": 1}, "an overlap below that"),
        ({"n_events": 5, "overlap": 1.5}, "a whole number of events"),
        ({"n_frames": 2**31 - 1}, r"Take longer windows, or a part.*between\(start, stop\)"),
        ({"time_window": 2, "overlap": 1.99999999}, "Take longer windows"),
        ({"n_frames": 5, "layout": "HWC"}, "one of 'NHWC', 'NCHW'"),
        ({"n_frames": 5, "dtype": complex}, "a type of numbers"),
    ],
)
def test_what_is_refused(given, said):
    with pytest.raises(ArgumentError, match=said):
        to_frames(camera(), **given)


def test_no_events_have_no_time():
    with pytest.raises(ArgumentError, match="no events"):
        to_frames(camera(0), n_frames=3)
