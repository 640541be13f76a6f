"""AEDAT 3.1, the files of DVS128 Gesture: a header of text, then packets of events.

Little-endian. A packet has a header of 28 bytes: type and source (16 bits each), then 32 bits each: bytes of an event,
offset of its time, how often the clock ran over, capacity, number of events, number of valid ones. A polarity event
(type 1) is 32 bits, from the lowest: valid (1), polarity (1), y (15), x (15); and 32 bits of microseconds.

Source: iniVation's specification of AEDAT 3.1; the layout is that of libcaer's ``polarity.h``.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from snnax.datasets.decoded import Source, decoded, mapped, refusal
from snnax.datasets.events import Events
from snnax.errors import ArgumentError

__all__ = ["read", "write"]

SIZE = (128, 128)
_MAGIC, _END = b"#!AER-DAT3.1\r\n", b"#!END-HEADER\r\n"
_PACKET = struct.Struct("<hhiiiiii")
_POLARITY, _BYTES = 1, 8
_MOST_HEADER = 2**20
_PER_PACKET = 8192


def read(path: Source, size: tuple[int, ...] | None, sort: bool) -> Events:
    """The polarity events of a file; events marked as invalid, and those of other types, are left out."""
    data = mapped(path)
    packets = list(_packets(path, data, _start(path, data)))
    words = np.concatenate([p for p, _ in packets]) if packets else np.empty((0, 2), np.uint32)
    passed = np.repeat([o for _, o in packets], [len(p) for p, _ in packets]).astype(np.int64)
    bits, t = words[:, 0], words[:, 1].astype(np.int64) + (passed << 31)
    valid = (bits & 1) == 1
    x, y, p = bits >> 17, (bits >> 2) & 0x7FFF, (bits >> 1) & 1
    about = " Of another sensor than DVS128 pass its size, as size=(346, 260)."
    return decoded(path, t[valid], x[valid], y[valid], p[valid], size or SIZE, sort, about)


def _start(path: Source, data: NDArray[np.uint8]) -> int:
    head = data[:_MOST_HEADER].tobytes()
    if not head.startswith(_MAGIC):
        line = head[:20].partition(b"\n")[0]
        raise refusal(
            path,
            f"begins with {line!r}; expected {_MAGIC[:-2].decode()!r}. AEDAT 4 ends with .aedat4.",
        )
    if (end := head.find(_END)) < 0:
        raise refusal(
            path, f"has no line {_END[:-2].decode()!r} in its first {len(head)} bytes; the header is cut off."
        )
    return end + len(_END)


def _packets(path: Source, data: NDArray[np.uint8], at: int) -> list[tuple[NDArray[np.uint32], int]]:
    """Of each packet of polarity events its words ``[N, 2]``, and how often the clock had run over."""
    found = []
    while at < len(data):
        if len(data) - at < _PACKET.size:
            raise refusal(
                path,
                f"byte {at}: {len(data) - at} bytes are left, too few for a packet; the file is cut off.",
            )
        kind, _, width, _, overflow, capacity, number, _ = _PACKET.unpack(
            data[at : at + _PACKET.size].tobytes()
        )
        begin, at = at + _PACKET.size, at + _PACKET.size + width * capacity
        if (
            min(width, capacity, overflow) < 0
            or width == 0
            or number != capacity
            or (kind == _POLARITY and width != _BYTES)
        ):
            raise refusal(
                path,
                f"byte {begin - _PACKET.size}: a packet of type {kind} with {number} of {capacity} events, "
                f"{width} bytes each, clock {overflow}; no file of this format has one.",
            )
        if at > len(data):
            raise refusal(
                path,
                f"byte {begin}: {len(data) - begin} of the {at - begin} bytes of a packet; the file is cut off.",
            )
        if kind == _POLARITY:
            found.append((data[begin:at].view("<u4").reshape(-1, 2), overflow))
    return found


def write(path: Source, events: Events) -> None:
    """Write an AEDAT 3.1 file."""
    if events.y is None or events.p is None:
        raise ArgumentError(
            f"write_events({str(path)!r}): AEDAT 3.1 has x, y and polarity; {events!r} lacks one. Write .csv or .h5."
        )
    if len(events) and not 0 <= events.t[0] <= events.t[-1] < 2**62:
        raise ArgumentError(
            f"write_events({str(path)!r}) got times from {events.t[0]} to {events.t[-1]} us; expected 0 to 2**62."
        )
    bits = (
        1
        | events.p.astype(np.uint32) << 1
        | events.y.astype(np.uint32) << 2
        | events.x.astype(np.uint32) << 17
    )
    words = np.stack([bits, (events.t & (2**31 - 1)).astype(np.uint32)], axis=1).astype("<u4")
    passed = events.t >> 31
    # A packet ends where it is full, and where the clock runs over; without events there is none.
    cuts = np.union1d(np.arange(0, len(events), _PER_PACKET), np.flatnonzero(np.diff(passed)) + 1)
    with open(path, "wb") as file:
        file.write(_MAGIC + b"#Format: RAW\r\n#Source 1: snnax\r\n" + _END)
        for part, first in zip(np.split(words, cuts[1:]), cuts, strict=False):
            file.write(
                _PACKET.pack(_POLARITY, 1, _BYTES, 4, int(passed[first]), len(part), len(part), len(part))
            )
            file.write(part.tobytes())
