"""Files written here are read equal by tonic, and frames are tonic's; skipped where it is not installed (it is GPL)."""

import numpy as np
import pytest
from helpers.recordings import camera, cochlea

from snnax.datasets import from_tonic, from_torch, to_frames, write_events

tonic = pytest.importorskip("tonic", reason="tonic is not installed: pip install tonic")


def test_files_of_n_mnist(tmp_path):
    from tonic.io import read_mnist_file

    kind = tonic.datasets.NMNIST
    for seed in range(5):
        write_events(tmp_path / "a.bin", camera(500, seed=seed))
        found = read_mnist_file(str(tmp_path / "a.bin"), kind.dtype)
        assert from_tonic(found, kind.sensor_size) == camera(500, seed=seed)


def test_files_of_spikes(tmp_path):
    from tonic.datasets.hsd import HSD

    class Local(HSD):
        data_filename = "a.h5"

    several = [cochlea(300, seed=seed) for seed in range(5)]
    write_events(tmp_path / "a.h5", several, np.arange(5))
    data = Local(str(tmp_path))
    data.location_on_system = str(tmp_path)
    assert [*from_torch(data)] == [(events, label) for label, events in enumerate(several)]


def test_files_of_aedat(tmp_path):
    from tonic.io import get_aer_events_from_file, read_aedat_header_from_file

    path, events = str(tmp_path / "a.aedat"), camera(10_000, (128, 128))
    write_events(path, events)
    version, start, _ = read_aedat_header_from_file(path)
    found = get_aer_events_from_file(path, version, start)
    for ours, theirs in ((events.x, found["address"] >> 17), (events.y, (found["address"] >> 2) & 0x1FFF)):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(events.t, found["timeStamp"])
    np.testing.assert_array_equal(events.p, (found["address"] >> 1) & 1)


@pytest.mark.parametrize("seed", range(30))
def test_frames(seed):
    rng = np.random.default_rng(seed)
    events = camera(int(rng.integers(1, 200)), (5, 4), seed, latest=int(rng.integers(2, 5000)))
    array = np.empty(len(events), [("t", int), ("x", int), ("y", int), ("p", int)])
    array["t"], array["x"], array["y"], array["p"] = events.t, events.x, events.y, events.p
    for ours, theirs, most in (("time_window", "time_window", 999), ("n_events", "event_count", 50)):
        value = int(rng.integers(1, most))
        overlap = int(rng.integers(0, value))
        for incomplete in (False, True):
            if incomplete and ours == "time_window" and (events.duration - value) % (value - overlap) == 0:
                continue  # tonic loses the last event
            more = {"overlap": overlap, "include_incomplete": incomplete}
            expected = tonic.transforms.ToFrame(sensor_size=(5, 4, 2), **{theirs: value}, **more)(
                array.copy()
            )
            np.testing.assert_array_equal(to_frames(events, **{ours: value}, **more, layout="NCHW"), expected)
    for overlap in (0, 0.25):
        value = int(rng.integers(1, 20))
        expected = tonic.transforms.ToFrame(sensor_size=(5, 4, 2), n_time_bins=value, overlap=overlap)(
            array.copy()
        )
        found = to_frames(events, n_frames=value, overlap=overlap, layout="NCHW")
        np.testing.assert_array_equal(found, expected)
