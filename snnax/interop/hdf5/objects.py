"""Groups, arrays and attributes of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from snnax.interop.hdf5 import chunks, headers
from snnax.interop.hdf5.headers import Message, messages
from snnax.interop.hdf5.heaps import FractalHeap, GlobalHeap, LocalHeap
from snnax.interop.hdf5.source import UNDEFINED, Fields, Refused, Source, checksum, unread
from snnax.interop.hdf5.trees import leaves, records
from snnax.interop.hdf5.types import Type, native, parse

_LARGEST = 2**55
"""More elements than any machine has bytes for; of an array without elements, too, since NumPy multiplies all axes."""


class File:
    """A file that is open for reading.

    Args:
        file: its path, or the open file.
        limit: bytes that everything read may have in memory; at least the file's own size.

    Raises:
        OSError: if it cannot be opened.
        Refused: if it is no HDF5 file, or cut off.
    """

    def __init__(self, file: str | os.PathLike[str] | BinaryIO, limit: int) -> None:
        self._owned = open(file, "rb") if isinstance(file, str | os.PathLike) else None  # noqa: SIM115
        try:
            self.source = Source(self._owned or file, limit)  # type: ignore[arg-type]
            self.heap = GlobalHeap(self.source)
            self.types: dict[bytes, Type] = {}
            self.seen: set[int] = set()
            found = self.entry(headers.root(self.source))
            if not isinstance(found, Group):
                raise Refused("it is damaged: its root is no group")
            self.root = found
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned is not None:
            self._owned.close()

    def entry(self, address: int | None) -> Group | Dataset:
        """The group or array whose header is at an address."""
        if address is None:
            raise unread("it is a link to elsewhere; a file must hold all of its parts")
        if address in self.seen:
            raise Refused("it is in the file twice or holds itself; copy it instead")
        self.seen.add(address)
        found = messages(self.source, address)
        kinds = {message.kind for message in found}
        if headers.LAYOUT in kinds:
            return Dataset(self, found)
        if kinds & {headers.TABLE, headers.LINK, headers.LINK_INFO}:
            return Group(self, found)
        raise unread("it is neither a group nor an array")

    def type_of(self, data: bytes) -> Type:
        """What a message says of the elements of an array."""
        if data not in self.types:
            self.types[data] = parse(Fields(data))
        return self.types[data]

    def value(self, kind: Type, shape: tuple[int, ...], stored: np.ndarray) -> Any:
        """Elements as NumPy has them, from how the file has them; a scalar for no axes."""
        if kind.kind in ("text", "words"):
            self.source.spend_words(stored.size)
        if kind.kind == "words":
            found = np.empty(stored.size, object)
            for i, (size, address, number) in enumerate(stored.reshape(-1).tolist()):
                found[i] = self.heap.text(address, number, size).partition(b"\0")[0] if size else b""
            return found.reshape(shape) if shape else found[0]
        return native(stored, kind).reshape(shape)[()]


class _Object:
    def __init__(self, file: File, found: list[Message]) -> None:
        self.file = file
        self.messages = found

    def _one(self, kind: int) -> bytes | None:
        found = [message.data for message in self.messages if message.kind == kind]
        if len(found) > 1:
            raise Refused("it is damaged: it is described twice")
        return found[0] if found else None

    def attributes(self) -> dict[str, Any]:
        """All attributes by name.

        Raises:
            Refused: for more than eight, which are kept in another way.
        """
        found = {}
        info = self._one(headers.ATTRIBUTE_INFO)
        if info is not None:
            fields = Fields(info)
            _, flags = fields.words(1, 1)
            fields.take(2 if flags & 1 else 0)
            if fields.number(8) != UNDEFINED:
                raise Refused("it has too many attributes")
        for message in self.messages:
            if message.kind == headers.ATTRIBUTE:
                name, value = self._attribute(Fields(message.data))
                found[name] = value
        return found

    def _attribute(self, fields: Fields) -> tuple[str, Any]:
        version, flags, *sizes = fields.words(1, 1, 2, 2, 2)
        if version not in (1, 2, 3) or (version > 1 and flags):
            raise Refused("it is damaged: an attribute is of an unknown kind")
        fields.take(1 if version == 3 else 0)
        parts = [fields.take(size + (-size % 8 if version == 1 else 0)) for size in sizes]
        kind, (shape, _) = self.file.type_of(parts[1]), _shape(parts[2])
        self.file.source.spend(prod(shape) * kind.stored.itemsize)
        raw = np.frombuffer(fields.take(prod(shape) * kind.stored.itemsize), kind.stored)
        return _text(parts[0].partition(b"\0")[0]), self.file.value(kind, shape, raw.copy())


class Group(_Object):
    """A group: other groups and arrays by name."""

    def names(self) -> dict[str, int | None]:
        """The address of each part, in the order of their names; ``None`` for a link to elsewhere.

        Raises:
            Refused: for a name that is there twice.
        """
        found: dict[bytes, int | None] = {}
        for name, address in self._links():
            if name in found or not name or b"/" in name:
                raise Refused(f"it is damaged: {_text(name)!r} is there twice, or is no name")
            found[name] = address
        return {_text(name): found[name] for name in sorted(found)}

    def _links(self) -> Iterator[tuple[bytes, int | None]]:
        table = self._one(headers.TABLE)
        if table is not None:
            yield from self._table(*Fields(table).words(8, 8))
            return
        for message in self.messages:
            if message.kind == headers.LINK:
                yield _link(message.data)
        info = self._one(headers.LINK_INFO)
        if info is None:
            return
        fields = Fields(info)
        fields.version(0)
        fields.take(8 if fields.number(1) & 1 else 0)
        heap, tree = fields.words(8, 8)
        if heap != UNDEFINED:
            links = FractalHeap(self.file.source, heap)
            for record in records(self.file.source, tree, (5,)):
                name, target = _link(links.object(record[4:]))
                if checksum(name) != int.from_bytes(record[:4], "little"):
                    raise Refused("it is damaged: a name is not where it is looked for")
                yield name, target

    def _table(self, tree: int, heap: int) -> Iterator[tuple[bytes, int | None]]:
        source = self.file.source
        names, before = LocalHeap(source, heap), b""
        for _, address in leaves(source, tree, 0, 8):
            head = Fields(source.read(address, 8))
            head.signed(b"SNOD", 1)
            _, count = head.words(1, 2)
            body = Fields(source.read(address + 8, 40 * count))
            for _ in range(count):
                at, target, kind = body.words(8, 8, 4)
                body.take(20)
                name = names.name(at)
                if name <= before:
                    raise Refused("it is damaged: a name is not where it is looked for")
                before = name
                yield name, None if kind == 2 else target


def _link(data: bytes) -> tuple[bytes, int | None]:
    fields = Fields(data)
    fields.version(1)
    flags = fields.number(1)
    kind = fields.number(1) if flags & 8 else 0
    fields.take((8 if flags & 4 else 0) + (1 if flags & 16 else 0))
    name = fields.take(fields.number(1 << (flags & 3)))
    return name, None if kind else fields.number(8)


class Dataset(_Object):
    """An array, or a single number or text."""

    def read(self) -> Any:
        """What it holds: an array, or a scalar. Text is bytes, of any size as an array of objects.

        Raises:
            Refused: if the file does not hold it as it says.
        """
        kind, shape, most = self._described()
        if self._one(headers.ELSEWHERE) is not None:
            raise unread("it is kept in another file; a file must hold all of its parts")
        layout = Fields(self._one(headers.LAYOUT) or b"")
        _, place = layout.version(3, 4, 5), layout.number(1)
        if place == 0:
            stored = self._compact(layout, kind, shape)
        elif place == 1:
            stored = self._contiguous(layout, kind, shape)
        elif place == 2:
            stored = self._chunked(layout, kind, shape, most)
        else:
            raise unread("it is kept in another file; a file must hold all of its parts")
        return self.file.value(kind, shape, stored)

    def _described(self) -> tuple[Type, tuple[int, ...], tuple[int, ...]]:
        kind, space = self._one(headers.TYPE), self._one(headers.SPACE)
        if kind is None or space is None:
            raise Refused("it is damaged: it has no type or no shape")
        return self.file.type_of(kind), *_shape(space)

    def _compact(self, layout: Fields, kind: Type, shape: tuple[int, ...]) -> np.ndarray:
        size = prod(shape) * kind.stored.itemsize
        data = layout.take(layout.number(2))
        self._check(size, len(data), shape)
        if len(data) != size:
            raise Refused("it has another size than it says")
        self.file.source.spend(size)
        return np.frombuffer(data, kind.stored).reshape(shape).copy()

    def _contiguous(self, layout: Fields, kind: Type, shape: tuple[int, ...]) -> np.ndarray:
        size = prod(shape) * kind.stored.itemsize
        address, held = layout.words(8, 8)
        if size and address == UNDEFINED:
            raise unread("it was never written, so it is not in the file")
        self._check(size, held, shape)
        if size and held != size:
            raise Refused("it has another size than it says")
        self.file.source.spend(size)
        return self.file.source.array(address if size else 0, kind.stored, shape)

    def _chunked(
        self, layout: Fields, kind: Type, shape: tuple[int, ...], most: tuple[int, ...]
    ) -> np.ndarray:
        source = self.file.source
        pipeline = chunks.filters(self._one(headers.FILTERS), kind.stored.itemsize)
        sizes, found = chunks.listed(source, layout, shape, most, bool(pipeline))
        if sizes[-1] != kind.stored.itemsize:
            raise Refused("it is damaged: its pieces are of other elements")
        self._check(prod(shape) * sizes[-1], sum(chunk.size for chunk in found) * chunks.RATIO, shape)
        chunks.check(found, prod(sizes))
        source.spend(max(prod(shape) * sizes[-1], len(found) * prod(sizes)))
        array = np.empty(shape, kind.stored)
        chunks.assembled(source, found, sizes, pipeline, array)
        return array

    @staticmethod
    def _check(size: int, held: int, shape: tuple[int, ...]) -> None:
        if size and (not held or size > held + chunks.SPARE):
            raise Refused(f"it claims the shape {shape}, {size} bytes, of which the file holds {held}")


def _shape(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape, and the one that it can grow to."""
    fields = Fields(data)
    version, axes, flags = fields.version(1, 2), fields.number(1), fields.number(1)
    kind = fields.number(1) if version == 2 else int(axes > 0)
    fields.take(0 if version == 2 else 5)
    if kind == 2:
        raise Refused("it is empty")
    if axes > 32 or kind != int(axes > 0):
        raise Refused("it is damaged: its shape is impossible")
    shape = tuple(fields.number(8) for _ in range(axes))
    if prod(n or 1 for n in shape) >= _LARGEST:
        raise Refused(f"it claims the shape {shape}")
    most = tuple(fields.number(8) for _ in range(axes)) if flags & 1 else shape
    if any(large < n for large, n in zip(most, shape, strict=True)):
        raise Refused("it is damaged: its shape is impossible")
    return shape, most


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise Refused("it is damaged: a name is no text") from error
