"""What is written is read back equal; what is damaged is refused in words, never read as something else."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.recordings import camera, cochlea
from hypothesis import given, settings
from hypothesis import strategies as st

from snnax.datasets import Events, read_events, recordings, write_events
from snnax.errors import ArgumentError, EventFileError, MissingDependencyError, ShapeError

CAMERA = (".bin", ".aedat", ".csv")
SIZE = (34, 34)


@pytest.mark.parametrize("suffix", CAMERA)
@pytest.mark.parametrize("count", [0, 1, 500])
def test_a_recording_comes_back(tmp_path, suffix, count):
    path, events = tmp_path / f"a{suffix}", camera(count)
    write_events(path, events)
    assert read_events(path, size=SIZE) == events


def test_recordings_come_back(tmp_path):
    path, several = tmp_path / "a.h5", [cochlea(200, seed=0), cochlea(0), cochlea(30, seed=1)]
    write_events(
        path, several, [4, 0, 1], classes=["zero", "eins", "zwei", "drei", "vier"], speakers=[1, 2, 3]
    )
    assert [read_events(path, sample=n) for n in range(3)] == several
    found = recordings(path)
    assert found.labels.tolist() == [4, 0, 1] and found.classes[4] == "vier"
    assert found[-1] == (several[2], 1) and [label for _, label in found[1:]] == [0, 1]
    write_events(path, several[0])
    assert read_events(path) == several[0]


def test_bytes_of_n_mnist(tmp_path):
    """One event by hand, and an overflow of the clock, which is a record of its own."""
    path = tmp_path / "a.bin"
    first, overflow = bytes([3, 5, 0x81, 0x02, 0x03]), bytes([0, 240, 0, 0, 0])
    path.write_bytes(first + overflow + bytes([4, 6, 0x01, 0x02, 0x04]))
    t = 0x010203
    assert read_events(path) == Events([t, t + 1 + 2**13], [3, 4], [5, 6], [1, 0], SIZE)


def test_long_and_large_recordings_in_aedat(tmp_path):
    path = tmp_path / "a.aedat"
    t = np.array([0, 2**31 - 1, 2**31, 2**33 + 5])  # microseconds: the clock has 31 bits
    events = Events(t, [0, 345, 1, 2], [0, 259, 1, 2], [0, 1, 1, 0], (346, 260))
    write_events(path, events)
    assert read_events(path, size=(346, 260)) == events
    many = camera(20_000)
    write_events(path, many)
    assert read_events(path, size=SIZE) == many


def test_packets_of_other_types_and_invalid_events_are_left_out(tmp_path):
    path, events = tmp_path / "a.aedat", camera(3)
    write_events(path, events)
    data = path.read_bytes()
    other = np.array([2, 1], "<i2").tobytes() + np.array([12, 4, 0, 1, 1, 1], "<i4").tobytes() + bytes(12)
    path.write_bytes(data[:-8] + bytes([data[-8] & 0xFE]) + data[-7:] + other)
    assert read_events(path, size=SIZE) == events[:2]


def damaged(path, suffix):
    """Files that are wrong, each with what the error must say."""
    write_events(path, camera(20))
    data = path.read_bytes()
    if suffix == ".bin":
        yield data[:-1], "99 bytes; expected five"
        yield data[5:] + data[:5], "before"
        yield bytes([200, 0, 0, 0, 1]), r"x=200, outside of the sensor.*size=\(240, 180\)"
    elif suffix == ".aedat":
        yield b"#!AER-DAT2.0\r\n", "begins with b'#!AER-DAT2.0"
        yield data[:20], "no line '#!END-HEADER'"
        yield data[:-1], "the file is cut off"
        yield data + data[-3:], "3 bytes are left, too few for a packet"
        start = data.index(b"END-HEADER\r\n") + 12
        yield data[: start + 4] + b"\x07" + data[start + 5 :], "7 bytes each"
        yield data[: start + 4] + bytes(4) + data[start + 8 :], "0 bytes each"
        yield data[: start + 16] + b"\xff" * 8 + data[start + 24 :], "-1 of -1 events"
    else:
        yield b"", "line 1 is ''"
        yield b"t,x,y,p\n1,2,3\n", "line 2 is '1,2,3'; expected 4 whole numbers"
        yield b"t,x,y,p\n1,2,3,1\n1,2,3,1.5\n", "line 3"
        yield b"t,x,y,p\n99999999999999999999,2,3,1\n", "line 2"
        yield b"t,x,y,q\n", "expected the names of columns"
        yield b"\xff\xfe", "is no text"
        yield b"t,x,y,p\n1,2,3,7\n", "p=7"


@pytest.mark.parametrize("suffix", CAMERA)
def test_damaged_files_are_refused_in_words(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for data, said in damaged(path, suffix):
        path.write_bytes(data)
        with pytest.raises(EventFileError, match=said) as caught:
            read_events(path, size=SIZE)
        assert str(path) in str(caught.value)


def test_times_that_go_back_can_be_put_in_order(tmp_path):
    path, events = tmp_path / "a.csv", Events([1, 2, 3], [0, 1, 2], size=(5,))
    path.write_text("x,t\n2,3\n0,1\n1,2\n")
    with pytest.raises(EventFileError, match=r"event 1 has t=1 us, before t=3 us.*sort=True"):
        read_events(path, size=(5,))
    assert read_events(path, size=(5,), sort=True) == events


def test_damaged_files_of_spikes_are_refused_in_words(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    write_events(path, [cochlea(20), cochlea(20)], [0, 1])
    whole = path.read_bytes()
    for data in (b"", b"nonsense", whole[:100], whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(EventFileError, match=r"a\.h5: no file of spikes"):
            recordings(path)[1]
    for change, said in (
        (lambda f: f.__delitem__("labels"), "no file of spikes"),
        (lambda f: f["spikes/units"].__setitem__(1, np.array([3], np.uint16)), "as many of each"),
        (lambda f: f["spikes/units"].__setitem__(1, np.full(20, 700, np.uint16)), "x=700, outside"),
        (lambda f: f["spikes/times"].__setitem__(1, np.full(20, np.nan)), "no seconds"),
        (lambda f: f["spikes/times"].__setitem__(1, -np.arange(20.0)), "before"),
    ):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(EventFileError, match=said):
            recordings(path)[1]
    path.write_bytes(whole)
    with pytest.raises(ArgumentError, match=r"has 2 recordings.*datasets\.recordings"):
        read_events(path)


@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from(CAMERA), at=st.integers(0, 10**4), byte=st.integers(0, 255), cut=st.integers(0, 400),
    more=st.binary(max_size=60),
)  # fmt: skip
def test_any_damage_ends_in_events_or_in_words(tmp_path_factory, suffix, at, byte, cut, more):
    path = tmp_path_factory.mktemp("files") / f"a{suffix}"
    write_events(path, camera(40))
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(bytes(data[: max(len(data) - cut, 0)]) + more)
    try:
        events = read_events(path, size=SIZE)
    except EventFileError:
        return
    assert len(events) <= len(data) + len(more)
    assert (np.diff(events.t) >= 0).all() and (events.address < 34 * 34).all()


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    late = Events([2**23], [0], [0], [1], SIZE)
    for path, events, said in (
        ("a.bin", late, r"times from 0 to 8388607 us.*\.aedat"),
        ("a.bin", cochlea(), "has x, y and polarity"),
        ("a.aedat", cochlea(), "has x, y and polarity"),
        ("a.aedat", Events([-1], [0], [0], [1], SIZE), "times from -1"),
        ("a.h5", camera(), r"recording 0.*has rows or polarities"),
        ("a.txt", camera(), r"ends with one of \.bin"),
        ("a.aedat4", camera(), r"ends with one of \.bin"),
        ("a.bin", [camera()], "holds one recording"),
    ):
        with pytest.raises(ArgumentError, match=said):
            write_events(tmp_path / path, events)
    with pytest.raises(ShapeError, match="labels"):
        write_events(tmp_path / "a.h5", [cochlea()], [1, 2])
    with pytest.raises(ArgumentError, match="pass size="):
        read_events(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError):
        read_events(tmp_path / "a.h5")


def fake_aedat(packets, streams):
    class Decoder:
        def __init__(self, path):
            self.path = path

        def id_to_stream(self):
            return streams

        def __iter__(self):
            return iter(packets)

    return SimpleNamespace(Decoder=Decoder)


def test_aedat_4_as_the_package_reads_it(tmp_path, monkeypatch):
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"")
    parts = np.array(
        [(5, 3, 2, True), (9, 1, 0, False)], [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")]
    )
    packets = [
        {"stream_id": 1, "frame": {}},
        {"stream_id": 0, "events": parts[:1]},
        {"stream_id": 0, "events": parts[1:]},
    ]
    streams = {1: {"type": "frame"}, 0: {"type": "events", "width": 8, "height": 6}}
    monkeypatch.setitem(sys.modules, "aedat", fake_aedat(packets, streams))
    assert read_events(path) == Events([5, 9], [3, 1], [2, 0], [1, 0], (8, 6))
    monkeypatch.setitem(sys.modules, "aedat", fake_aedat([], {}))
    with pytest.raises(EventFileError, match="no stream of events"):
        read_events(path)
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(MissingDependencyError, match="pip install aedat"):
        read_events(path)


def test_aedat_4_that_is_none(tmp_path):
    pytest.importorskip("aedat")
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"nonsense")
    with pytest.raises(EventFileError, match="no AEDAT 4 file"):
        read_events(path)
