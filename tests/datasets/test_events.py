"""Events are in order and on their sensor."""

import numpy as np
import pytest
from helpers.recordings import camera, cochlea

from snnax.datasets import Events
from snnax.errors import ArgumentError, ShapeError


def test_parts():
    events = camera(50)
    assert len(events) == 50 and events.duration == events.t[-1] - events.t[0]
    np.testing.assert_array_equal(events.address, np.arange(34 * 34).reshape(34, 34)[events.y, events.x])
    assert events[10:20] == events[np.arange(10, 20)] == events[np.arange(50) // 10 == 1] != events
    part = events.between(int(events.t[10]), int(events.t[20]))
    assert part == events[10:20]
    assert cochlea() == cochlea() != cochlea(seed=1) and cochlea(channels=700) != camera(50)
    assert len(Events([], [], size=(3,))) == Events([], [], size=(3,)).duration == 0


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"t": [0, 5, 4]}, ArgumentError, r"event 2 has t=4 us, before t=5 us"),
        ({"x": [0, 34, 1]}, ArgumentError, r"event 1 has x=34, outside of the sensor; expected 0 to 33"),
        ({"y": [0, 1, -1]}, ArgumentError, r"event 2 has y=-1"),
        ({"p": [0, 1, 2]}, ArgumentError, r"event 2 has p=2"),
        ({"t": [0, 1]}, ShapeError, "t of 2, x of 3"),
        ({"t": [0.5, 1, 2]}, ArgumentError, "whole numbers"),
        ({"y": None}, ArgumentError, r"without y; expected size=\(width, height\) with y"),
        ({"size": (34,)}, ArgumentError, "with y; expected"),
        ({"size": (34, 34, 2)}, ArgumentError, r"\(width, height\)"),
        ({"size": 10**9}, ArgumentError, r"\(width, height\)"),
        ({"t": np.array([0, 1, 2**63], np.uint64)}, ArgumentError, "below 2"),
    ],
)
def test_what_is_refused(given, kind, said):
    right = {"t": [0, 1, 2], "x": [0, 1, 2], "y": [0, 1, 2], "p": [0, 1, 0], "size": (34, 34)}
    Events(**right)
    with pytest.raises(kind, match=said):
        Events(**right | given)


@pytest.mark.parametrize("chosen", [1.5, [100], "all", [[0]]])
def test_what_cannot_be_picked_is_refused(chosen):
    with pytest.raises(ArgumentError, match="Events"):
        camera()[chosen]
