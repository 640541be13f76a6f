"""Folders of recordings are sequences of events and labels."""

import numpy as np
import pytest
from helpers.recordings import camera

from snnax.datasets import recordings, write_events
from snnax.errors import ArgumentError


def test_a_folder_for_each_class(tmp_path):
    for label in (2, 10, 1):
        (tmp_path / str(label)).mkdir()
        for number in range(2):
            write_events(tmp_path / str(label) / f"{number}.bin", camera(5, seed=10 * label + number))
    (tmp_path / "1" / "notes.txt").write_text("no events")
    found = recordings(tmp_path)
    assert found.classes == ("1", "2", "10") and found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [events for events, _ in found] == [camera(5, seed=s) for s in (10, 11, 20, 21, 100, 101)]
    assert found[-1] == (camera(5, seed=101), 2) == found[3:][2] and len(found[::2]) == 3
    assert found[np.int64(3)][1] == 1
    for wrong in (6, -7, 1.5, "1"):
        with pytest.raises(IndexError):
            found[wrong]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="a folder for each class"):
        recordings(tmp_path)
    with pytest.raises(FileNotFoundError):
        recordings(tmp_path / "nothing.h5")
