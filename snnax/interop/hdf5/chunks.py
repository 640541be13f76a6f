"""Arrays in pieces: where each piece is, and what it unpacks to, which must be what it should be."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from snnax.interop.hdf5.source import UNDEFINED, Fields, Refused, Source, sealed, unread
from snnax.interop.hdf5.trees import leaves, records

RATIO = 1032
"""What deflate packs into one byte at most; lzf packs less."""
SPARE = 2**16
_DEFLATE, _SHUFFLE, _LZF = 1, 2, 32000
_ALLOWED: tuple[list[int], ...] = ([], [_DEFLATE], [_SHUFFLE], [_SHUFFLE, _DEFLATE], [_LZF], [_SHUFFLE, _LZF])
_NAMES = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}


@dataclass(frozen=True)
class Chunk:
    """One piece: where it begins in the array and in the file, its bytes there, and the filters it was spared."""

    offset: tuple[int, ...]
    address: int
    size: int
    mask: int = 0


def filters(data: bytes | None, itemsize: int) -> list[int]:
    """The filters that a message lists.

    Raises:
        Refused: for any but deflate and lzf, with or without shuffle.
    """
    if data is None:
        return []
    fields = Fields(data)
    version, count = fields.words(1, 1)
    if version == 1:
        fields.take(6)
    found = []
    for _ in range(count):
        kind = fields.number(2)
        named = fields.number(2) if version == 1 or kind >= 256 else 0
        _, numbers = fields.words(2, 2)
        fields.take(-(-named // 8) * 8 if version == 1 else named)
        given = [fields.number(4) for _ in range(numbers)]
        if version == 1 and numbers % 2:
            fields.take(4)
        if kind == _SHUFFLE and given != [itemsize]:
            raise Refused("it is damaged: it is shuffled by another size than its elements have")
        found.append(kind)
    if version not in (1, 2) or found not in _ALLOWED:
        names = ", ".join(_NAMES.get(kind, f"filter {kind}") for kind in found)
        raise unread(f"it is packed by {names}; read are deflate and lzf, with or without shuffle")
    return found


def listed(
    source: Source, layout: Fields, shape: tuple[int, ...], most: tuple[int, ...], packed: bool
) -> tuple[tuple[int, ...], list[Chunk]]:
    """Sizes of one piece, and all pieces, from a layout of version 3 to 5 after its class.

    Args:
        source: the file.
        layout: the message.
        shape: of the array.
        most: the shape that it can grow to, by which pieces are numbered.
        packed: whether it has filters.

    Raises:
        Refused: if pieces are missing, doubled or out of place.
    """
    version = layout.data[0]
    flags = layout.number(1) if version > 3 else 0
    axes = layout.number(1) - 1
    address = layout.number(8) if version == 3 else UNDEFINED
    width = 4 if version == 3 else layout.number(1)
    if flags & 1:
        raise unread("its last pieces are packed in another way than the others, which is not read")
    if axes != len(shape) or axes < 1 or width > 8:
        raise Refused("it is damaged: its pieces have other axes than it has")
    sizes = tuple(layout.number(width) for _ in range(axes))
    itemsize = layout.number(width)
    if min(sizes) < 1:
        raise Refused("it is damaged: its pieces have no size")
    grid = tuple(-(-n // size) for n, size in zip(shape, sizes, strict=True))
    if prod(grid) * 8 > source.size:
        raise Refused("parts of it are missing")
    whole = prod(sizes) * itemsize
    if not prod(grid):
        found = []
    elif version == 3:
        _check_written(address)
        found = list(_tree_1(source, address, axes, whole, packed))
    else:
        numbered = tuple(-(-n // size) for n, size in zip(most, sizes, strict=True))
        found = list(_index(source, layout, flags, sizes, grid, numbered, whole, packed))
    places = {chunk.offset for chunk in found}
    right = all(
        n % size == 0 and n < end
        for offset in places
        for n, size, end in zip(offset, sizes, shape, strict=True)
    )
    if not right or len(found) > prod(grid) or len(places) != len(found):
        raise Refused("it is damaged: parts of it are out of place")
    _check_written(*(chunk.address for chunk in found), *[UNDEFINED] * (len(found) < prod(grid)))
    return (*sizes, itemsize), found


def _tree_1(source: Source, address: int, axes: int, whole: int, packed: bool) -> Iterator[Chunk]:
    def place(key: bytes) -> tuple[int, ...]:
        return Fields(key[8:]).words(*[8] * (axes + 1))

    for key, child in leaves(source, address, 1, 16 + 8 * axes, place):
        size, mask = Fields(key).words(4, 4)
        offset = list(place(key))
        if offset.pop() or (not packed and (mask or size != whole)):
            raise Refused("parts of it have another size than it says")
        yield Chunk(tuple(offset), child, size, mask)


def _index(
    source: Source,
    layout: Fields,
    flags: int,
    sizes: tuple[int, ...],
    grid: tuple[int, ...],
    numbered: tuple[int, ...],
    whole: int,
    packed: bool,
) -> Iterator[Chunk]:
    kind = layout.number(1)
    size, mask = whole, 0
    if kind == 1:
        if flags & 2:
            size, mask = layout.words(8, 4)
        yield Chunk((0,) * len(grid), layout.number(8), size, mask)
    elif kind == 2 and not packed:
        start = layout.number(8)
        _check_written(start)
        for place, i in _numbers(grid, numbered):
            yield Chunk(_at(place, sizes), start + i * whole, whole)
    elif kind == 3:
        layout.take(1)
        entries = _fixed_array(source, layout.number(8), prod(numbered), packed)
        for place, i in _numbers(grid, numbered):
            yield Chunk(_at(place, sizes), *_entry(entries[i], whole, packed))
    elif kind == 5:
        layout.take(6)
        tail = 8 * len(grid)
        address, before = layout.number(8), (-1,) * len(grid)
        _check_written(address)
        for record in records(source, address, (11 if packed else 10,)):
            place = Fields(record[-tail:]).words(*[8] * len(grid))
            if place <= before:
                raise Refused("it is damaged: a search tree is out of order")
            before = place
            yield Chunk(_at(place, sizes), *_entry(record[:-tail], whole, packed))
    else:
        raise unread("it is an array that can grow, of the newest format, which is not read")


def _check_written(*addresses: int) -> None:
    """Refuse what HDF5 fills with one number where nothing was written."""
    if UNDEFINED in addresses:
        raise unread("parts of it were never written, so they are not in the file")


def _numbers(grid: tuple[int, ...], numbered: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Each piece that there is, and its number among those that there can be."""
    for place in np.ndindex(grid):
        number = 0
        for n, size in zip(place, numbered, strict=True):
            number = number * size + n
        yield place, number


def _at(place: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n * size for n, size in zip(place, sizes, strict=True))


def _entry(entry: bytes, whole: int, packed: bool) -> tuple[int, int, int]:
    fields = Fields(entry)
    address = fields.number(8)
    if not packed:
        return address, whole, 0
    size = fields.number(fields.left - 4)
    return address, size, fields.number(4)


def _fixed_array(source: Source, address: int, count: int, packed: bool) -> list[bytes]:
    """The entries of an index whose number does not change."""
    _check_written(address)
    head = Fields(sealed(source.read(address, 28)))
    head.signed(b"FAHD", 0)
    client, size, bits, total, start = head.words(1, 1, 1, 8, 8)
    if client != int(packed) or total != count or not 8 <= size <= 20 or (packed and size < 13):
        raise Refused("it is damaged: the list of its parts is of another array")
    page = 1 << min(bits, 62)
    pages = -(-count // page) if count > page else 0
    marks = -(-pages // 8)
    ahead = 14 + marks
    block = source.read(start, ahead + 4 if pages else ahead + count * size + 4)
    body = Fields(sealed(block))
    body.signed(b"FADB", 0)
    if body.words(1, 8) != (client, address):
        raise Refused("it is damaged: the list of its parts is of another array")
    written = body.take(marks)
    if not pages:
        return [body.take(size) for _ in range(count)]
    found: list[bytes] = []
    at = start + ahead + 4
    if at + count * size > source.size:
        raise Refused("parts of it are missing")
    for number, first in enumerate(range(0, count, page)):
        here = min(page, count - first)
        if not written[number // 8] >> (7 - number % 8) & 1:
            found += [b"\xff" * size] * here
            at += page * size + 4
            continue
        fields = Fields(sealed(source.read(at, page * size + 4 if here == page else here * size + 4)))
        found += [fields.take(size) for _ in range(here)]
        at += page * size + 4
    return found


def assembled(
    source: Source, chunks: list[Chunk], sizes: tuple[int, ...], pipeline: list[int], array: np.ndarray
) -> None:
    """Unpack all pieces into an array."""
    for chunk in chunks:
        raw = _unpacked(source, chunk, pipeline, prod(sizes), sizes[-1])
        piece = np.frombuffer(raw, array.dtype).reshape(sizes[:-1])
        inside = tuple(slice(0, end - at) for at, end in zip(chunk.offset, array.shape, strict=True))
        there = tuple(slice(at, at + n) for at, n in zip(chunk.offset, sizes, strict=False))
        array[there] = piece[inside]


def check(chunks: list[Chunk], whole: int) -> None:
    """Refuse pieces that cannot unpack to ``whole`` bytes, before room is made for any.

    Raises:
        Refused: says the sizes.
    """
    for chunk in chunks:
        if chunk.address == UNDEFINED or whole > chunk.size * RATIO + SPARE:
            raise Refused(f"a part of it claims {whole} bytes, of which the file holds {chunk.size}")


def _unpacked(source: Source, chunk: Chunk, pipeline: list[int], whole: int, itemsize: int) -> bytes:
    """The bytes of a piece, neither fewer nor more than it should have."""
    data = source.read(chunk.address, chunk.size)
    for place in reversed(range(len(pipeline))):
        if chunk.mask >> place & 1:
            continue
        if pipeline[place] == _DEFLATE:
            data = _inflated(data, whole)
        elif pipeline[place] == _LZF:
            data = lzf(data, whole)
        elif len(data) == whole:
            data = np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()
    if len(data) != whole:
        raise Refused("parts of it have another size than it says")
    return data


def _inflated(data: bytes, whole: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, whole + 1)
    except zlib.error as error:
        raise Refused(f"parts of it are damaged ({error})") from error
    if not stream.eof or len(found) != whole:
        raise Refused("parts of it have another size than it says")
    return found


def lzf(data: bytes, whole: int) -> bytes:
    """Unpack what ``lzf`` packed: runs of bytes, and copies of what came before.

    Raises:
        Refused: if that is not ``whole`` bytes.
    """
    found = bytearray()
    at, end = 0, len(data)
    try:
        while at < end and len(found) <= whole:
            first = data[at]
            if first < 32:
                found += data[at + 1 : at + 2 + first]
                at += 2 + first
                continue
            size, at = first >> 5, at + 1
            if size == 7:
                size, at = size + data[at], at + 1
            back = ((first & 31) << 8 | data[at]) + 1
            size, at = size + 2, at + 1
            if back > len(found):
                raise Refused("parts of it are damaged")
            piece = bytes(found[-back:][:size])
            found += piece if len(piece) == size else (piece * (size // back + 1))[:size]
    except IndexError as error:
        raise Refused("parts of it are damaged") from error
    if at != end or len(found) != whole:
        raise Refused("parts of it have another size than it says")
    return bytes(found)
