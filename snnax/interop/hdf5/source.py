"""The bytes of a file, and how much may be made of them."""

from __future__ import annotations

import os
from struct import iter_unpack, unpack
from typing import BinaryIO

import numpy as np

UNDEFINED = 2**64 - 1
"""The address of what is not there."""
_SLACK = 4096
"""Bytes that may be read twice: where the file begins is looked for."""
_32 = 0xFFFFFFFF


class Refused(ValueError):
    """What a file says cannot be true, or is beyond what is read here; a clause that follows the file's name."""


def unread(what: str) -> Refused:
    """The error for what HDF5's own library can read; says what to do with a file that is fine otherwise."""
    return Refused(f"{what}. If you trust the file, write it anew: nir.write(path, nir.read(path))")


class Source:
    """A file whose bytes are read once.

    Args:
        file: an open file.
        limit: bytes that all that is made of it may have.
    """

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        self.base = 0
        self.limit = max(limit, self.size)
        self._unread = self.size + _SLACK
        self._left = self.limit
        self._words = max(self.size, self.limit >> 16)

    def read(self, address: int, count: int) -> bytes:
        """``count`` bytes.

        Raises:
            Refused: if the file does not have them, or all that was read is more than the file.
        """
        self._seek(address, count)
        data = self.file.read(count)
        if len(data) != count:
            raise Refused("it became shorter while it was read")
        return data

    def array(self, address: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """An array that the file holds as it is; room is made for it once the file is known to have it."""
        size = _product(shape) * dtype.itemsize
        self._seek(address, size)
        raw = np.empty(size, np.uint8)
        if self.file.readinto(raw.data) != size:  # type: ignore[attr-defined]
            raise Refused("it became shorter while it was read")
        return raw.view(dtype).reshape(shape)

    def _seek(self, address: int, count: int) -> None:
        start = self.base + address
        if count < 0 or start + count > self.size:
            raise Refused(f"it is cut off or damaged: {count} bytes at {start} of {self.size} are not there")
        self._unread -= count
        if self._unread < 0:
            raise Refused("it uses the same bytes for several things")
        self.file.seek(start)

    def spend(self, size: int) -> None:
        """Count what is about to be made.

        Raises:
            Refused: if it is more than the limit with all that was made before.
        """
        self._left -= size
        if self._left < 0:
            raise Refused(
                f"its arrays are larger than {self.limit} bytes; if that is right, pass a larger max_bytes"
            )

    def spend_words(self, count: int) -> None:
        """Count text that is about to be made; each piece takes far more in memory than its letters.

        Raises:
            Refused: for more pieces than the file has bytes, or a 65536th of the limit, whichever is more.
        """
        self._words -= count
        if self._words < 0:
            raise Refused(
                f"it holds more text than {max(self.size, self.limit >> 16)} pieces; if that is right, pass a larger "
                "max_bytes, of 65536 for each"
            )


class Fields:
    """Numbers and names one after the other."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> int:
        """Bytes to come."""
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self.at + size
        if end > len(self.data):
            raise Refused("it is damaged: a part of it ends too early")
        found = self.data[self.at : end]
        self.at = end
        return found

    def number(self, size: int) -> int:
        """The next bytes as a whole number."""
        return int.from_bytes(self.take(size), "little")

    def words(self, *sizes: int) -> tuple[int, ...]:
        """Several numbers."""
        return tuple(self.number(size) for size in sizes)

    def word(self) -> bytes:
        """What comes before the next NUL."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise Refused("it is damaged: a name does not end")
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def signed(self, signature: bytes, *versions: int) -> int:
        """Check the four bytes that a part begins with, and its version."""
        if self.take(4) != signature:
            raise Refused(f"it is damaged: {signature.decode()!r} is not where it should be")
        return self.version(*versions)

    def version(self, *versions: int) -> int:
        """Check the version of a part."""
        found = self.number(1)
        if found not in versions:
            raise Refused(f"it is damaged or too new: a part is of version {found}, read are {versions}")
        return found


def sealed(data: bytes) -> bytes:
    """What comes before a checksum that is right."""
    if checksum(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise Refused("it is damaged: a checksum is wrong")
    return data[:-4]


def _turned(x: int, by: int) -> int:
    return (x << by | x >> (32 - by)) & _32


def checksum(data: bytes) -> int:
    """HDF5's checksum: Jenkins' ``lookup3``."""
    a = b = c = (0xDEADBEEF + len(data)) & _32
    if not data:
        return c
    whole = (len(data) - 1) // 12 * 12
    for x, y, z in iter_unpack("<III", data[:whole]):
        a, b, c = a + x, b + y, c + z & _32
        a = (a - c & _32) ^ _turned(c, 4)
        c += b
        b = (b - a & _32) ^ _turned(a, 6)
        a += c
        c = (c - b & _32) ^ _turned(b, 8)
        b = b + a & _32
        a = (a - c & _32) ^ _turned(c, 16)
        c += b
        b = (b - a & _32) ^ _turned(a, 19)
        a = a + c & _32
        c = (c - b & _32) ^ _turned(b, 4)
        b = b + a & _32
    x, y, z = unpack("<III", data[whole:].ljust(12, b"\0"))
    a, b, c = a + x & _32, b + y & _32, c + z & _32
    c = (c ^ b) - _turned(b, 14) & _32
    a = (a ^ c) - _turned(c, 11) & _32
    b = (b ^ a) - _turned(a, 25) & _32
    c = (c ^ b) - _turned(b, 16) & _32
    a = (a ^ c) - _turned(c, 4) & _32
    b = (b ^ a) - _turned(a, 14) & _32
    return (c ^ b) - _turned(b, 24) & _32


def _product(shape: tuple[int, ...]) -> int:
    found = 1
    for n in shape:
        found *= n
    return found
