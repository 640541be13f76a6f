"""The start of a file, and object headers: what each group and array says of itself, message by message."""

from __future__ import annotations

from dataclasses import dataclass

from snnax.interop.hdf5.source import UNDEFINED, Fields, Refused, Source, sealed, unread

SPACE, LINK_INFO, TYPE, LINK, ELSEWHERE, LAYOUT, FILTERS, ATTRIBUTE, TABLE, ATTRIBUTE_INFO = (
    1, 2, 3, 6, 7, 8, 11, 12, 17, 21,
)  # fmt: skip
_CONTINUED = 16
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MUST_KNOW = 0x80


@dataclass(frozen=True)
class Message:
    """One message of an object header."""

    kind: int
    data: bytes


def root(source: Source) -> int:
    """The address of the outermost group's header.

    Raises:
        Refused: if this is no HDF5 file, or cut off.
    """
    start = 0
    while start + 64 <= source.size and source.read(start, 8) != _SIGNATURE:
        start = start * 2 or 512
    if start + 64 > source.size:
        raise Refused("it is no HDF5 file, as nir.write and snnax.interop.write_nir write it")
    version = source.read(start + 8, 1)[0]
    if version > 3:
        raise Refused(f"it is damaged or too new: its superblock is of version {version}")
    base, end, found = _old(source, start, version) if version < 2 else _new(source, start)
    if base != start or end > source.size:
        raise Refused(
            f"it is damaged: it says that it starts at {base} and ends at {end}; it has {source.size} bytes"
        )
    source.base = base
    return found


def _old(source: Source, start: int, version: int) -> tuple[int, int, int]:
    fields = Fields(source.read(start + 9, 87 + 4 * version))
    fields.take(4)
    _check_sizes(*fields.words(1, 1))
    fields.take(9 + 4 * version)
    base, _, end, driver, _, found = fields.words(8, 8, 8, 8, 8, 8)
    if driver != UNDEFINED:
        raise Refused("it is one of several files that belong together")
    return base, end, found


def _new(source: Source, start: int) -> tuple[int, int, int]:
    fields = Fields(sealed(source.read(start, 48)))
    fields.take(9)
    *sizes, flags = fields.words(1, 1, 1)
    _check_sizes(*sizes)
    if flags & 5:
        raise Refused("whoever wrote it has not closed it")
    base, _, end, found = fields.words(8, 8, 8, 8)
    return base, end, found


def _check_sizes(offsets: int, lengths: int) -> None:
    if (offsets, lengths) != (8, 8):
        raise unread(f"its addresses have {offsets} bytes and its lengths {lengths}; read are 8 and 8")


def messages(source: Source, address: int) -> list[Message]:
    """All messages of an object header.

    Raises:
        Refused: for damage, and for what only a newer HDF5 knows.
    """
    start = source.read(address, 16)
    return (
        _messages_2(source, address, start) if start[:4] == b"OHDR" else _messages_1(source, address, start)
    )


def _messages_1(source: Source, address: int, start: bytes) -> list[Message]:
    fields = Fields(start)
    fields.version(1)
    _, count, _, size = fields.words(1, 2, 4, 4)
    found: list[Message] = []
    waiting, seen = [(address + 16, size)], 0
    while waiting:
        block = Fields(source.read(*waiting.pop(0)))
        while block.left >= 8:
            kind, size, flags = block.words(2, 2, 1)
            block.take(3)
            seen += 1
            _keep(found, waiting, kind, flags, block.take(size))
    if seen != count:
        raise Refused(f"it is damaged: an object says that it has {count} messages and has {seen}")
    return found


def _messages_2(source: Source, address: int, start: bytes) -> list[Message]:
    flags = start[5]
    if start[4] != 2:
        raise Refused(f"it is damaged or too new: an object header is of version {start[4]}")
    head = 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
    width = 1 << (flags & 3)
    if head + width > 16:
        start += source.read(address + 16, head + width - 16)
    size = int.from_bytes(start[head : head + width], "little")
    total = head + width + size + 4
    if total < len(start):
        raise Refused("it is damaged: an object header is too short")
    data = sealed(start + source.read(address + len(start), total - len(start)))
    found: list[Message] = []
    waiting: list[tuple[int, int]] = []
    _block_2(data[head + width :], flags, found, waiting)
    while waiting:
        at, size = waiting.pop(0)
        data = source.read(at, size)
        if data[:4] != b"OCHK":
            raise Refused("it is damaged: a part of an object header is not where it should be")
        _block_2(sealed(data)[4:], flags, found, waiting)
    return found


def _block_2(data: bytes, flags: int, found: list[Message], waiting: list[tuple[int, int]]) -> None:
    ordered = 2 if flags & 4 else 0
    block = Fields(data)
    while block.left >= 4 + ordered:
        kind, size, how = block.words(1, 2, 1)
        block.take(ordered)
        _keep(found, waiting, kind, how, block.take(size))


def _keep(found: list[Message], waiting: list[tuple[int, int]], kind: int, flags: int, data: bytes) -> None:
    if kind == _CONTINUED:
        address, size = Fields(data).words(8, 8)
        if size < 8:
            raise Refused("it is damaged: an object header goes on nowhere")
        waiting.append((address, size))
    elif kind in (SPACE, TYPE, LINK_INFO, LINK, ELSEWHERE, LAYOUT, FILTERS, ATTRIBUTE, TABLE, ATTRIBUTE_INFO):
        if flags & 2:
            raise unread("it keeps a type or shape in another place, which is not read")
        found.append(Message(kind, data))
    elif kind > 0x17 and flags & _MUST_KNOW:
        raise Refused(f"it is damaged or too new: an object has a message of kind {kind}")
