"""Where HDF5 keeps what has no fixed size: names, links and text."""

from __future__ import annotations

from bisect import bisect_right

from snnax.interop.hdf5.source import UNDEFINED, Fields, Refused, Source, sealed, unread
from snnax.interop.hdf5.trees import limit_size

_NO_MORE = 1
"""The end of a list of free room."""


class LocalHeap:
    """Names of one group."""

    def __init__(self, source: Source, address: int) -> None:
        head = Fields(source.read(address, 32))
        head.signed(b"HEAP", 0)
        _, size, free, start = head.words(3, 8, 8, 8)
        data = bytearray(source.read(start, size))
        if data[:1] != b"\0":  # what every such heap begins with: the name of nothing
            raise Refused("it is damaged: names are not where they should be")
        left = size
        while free != _NO_MORE:
            fields = Fields(bytes(data[free : free + 16]))
            after, room = fields.words(8, 8)
            left -= room
            if not 16 <= room <= size - free or left < 0:
                raise Refused("it is damaged: the free room between names is impossible")
            data[free : free + room] = b"\xff" * room  # no name begins or goes on here: it would be no text
            free = after
        self.data = bytes(data)
        self.left = size + 8

    def name(self, offset: int) -> bytes:
        """The name at a place; no two names share their bytes."""
        end = self.data.find(b"\0", offset)
        if end < 0 or offset >= len(self.data):
            raise Refused("it is damaged: a name is not where it should be")
        self.left -= end - offset + 1
        if self.left < 0:
            raise Refused("it is damaged: names lie over one another")
        return self.data[offset:end]


class GlobalHeap:
    """Text of any length, by the address of its collection and its number in there."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.known: dict[int, dict[int, bytes]] = {}

    def text(self, address: int, number: int, size: int) -> bytes:
        """One piece of text, which belongs to whoever asks first.

        Raises:
            Refused: if it is not there, or shorter than ``size``.
        """
        if address not in self.known:
            self.known[address] = self._collection(address)
        found = self.known[address].pop(number, None)
        if found is None or len(found) < size:
            raise Refused("it is damaged: text is not where it should be")
        return found[:size]

    def _collection(self, address: int) -> dict[int, bytes]:
        start = self.source.read(address, 16)
        head = Fields(start)
        head.signed(b"GCOL", 1)
        _, size = head.words(3, 8)
        if size < 16:
            raise Refused("it is damaged: a collection of text has no size")
        body = Fields(self.source.read(address + 16, size - 16))
        found: dict[int, bytes] = {}
        while body.left >= 16:
            number, _, _, size = body.words(2, 2, 4, 8)
            if number == 0:  # the rest is free
                break
            if number in found:
                raise Refused("it is damaged: a collection of text has a number twice")
            found[number] = body.take(size)
            body.take(min(-size % 8, body.left))
        return found


class FractalHeap:
    """Links of a large group."""

    def __init__(self, source: Source, address: int) -> None:
        self.source = source
        head = Fields(source.read(address, 146))
        head.signed(b"FRHP", 0)
        _, filters, self.flags, largest = head.words(2, 2, 1, 4)
        head.take(12 * 8)
        self.width, self.first, self.direct, bits, _, top, rows = head.words(2, 8, 8, 2, 2, 8, 2)
        if filters:
            raise unread("it packs the names of its parts, which is not read")
        sealed(head.data)
        powers = all(n > 0 and n & (n - 1) == 0 for n in (self.width, self.first, self.direct))
        if not powers or bits > 64 or self.first > self.direct:
            raise Refused("it is damaged: a heap has impossible sizes")
        self.address = address
        self.offset_size = (bits + 7) // 8
        self.length_size = min((self.direct.bit_length() - 1 + 7) // 8, limit_size(largest))
        self.blocks: list[tuple[int, int, int]] = []
        self.loaded: dict[int, bytes] = {}
        if top != UNDEFINED:
            if rows:
                self._indirect(top, rows, 0)
            else:
                self.blocks.append((0, self.first, top))
        self.starts = [start for start, _, _ in self.blocks]

    def _row(self, row: int) -> int:
        """Size of the blocks in a row."""
        return self.first << max(0, row - 1)

    def _indirect(self, address: int, rows: int, offset: int) -> None:
        """List the blocks under one; they come in the order of their places."""
        if rows > 64:
            raise Refused("it is damaged: a heap has too many rows")
        head = 13 + self.offset_size
        data = Fields(sealed(self.source.read(address, head + rows * self.width * 8 + 4)))
        data.signed(b"FHIB", 0)
        owner, start = data.words(8, self.offset_size)
        if owner != self.address or start != offset:
            raise Refused("it is damaged: a block of a heap is of another one")
        for row in range(rows):
            size = self._row(row)
            for _ in range(self.width):
                child = data.number(8)
                if child != UNDEFINED and size <= self.direct:
                    self.blocks.append((offset, size, child))
                elif child != UNDEFINED:
                    below = (size // (self.first * self.width)).bit_length()
                    self._indirect(child, below, offset)
                offset += size

    def object(self, identity: bytes) -> bytes:
        """What an identity stands for."""
        fields = Fields(identity)
        if fields.number(1) & 0xF0:
            raise unread("a name in it is longer than 4000 bytes, which is read in the oldest format only")
        offset, size = fields.words(self.offset_size, self.length_size)
        at = bisect_right(self.starts, offset) - 1
        if at < 0:
            raise Refused("it is damaged: a link is not where it should be")
        start, whole, address = self.blocks[at]
        if address not in self.loaded:
            self.loaded[address] = self._block(address, start, whole)
        found = self.loaded[address][offset - start : offset - start + size]
        if len(found) != size:
            raise Refused("it is damaged: a link is not where it should be")
        return found

    def _block(self, address: int, start: int, size: int) -> bytes:
        data = self.source.read(address, size)
        head = Fields(data)
        head.signed(b"FHDB", 0)
        if head.words(8, self.offset_size) != (self.address, start):
            raise Refused("it is damaged: a block of a heap is of another one")
        if self.flags & 2:
            at = head.at
            sealed(data[:at] + bytes(4) + data[at + 4 :] + data[at : at + 4])
        return data
