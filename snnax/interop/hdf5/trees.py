"""The search trees of HDF5, of which all records are wanted: siblings do not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from snnax.interop.hdf5.source import Fields, Refused, Source, sealed

Place = tuple[int, ...]


def leaves(
    source: Source, address: int, kind: int, key: int, place: Callable[[bytes], Place] | None = None
) -> Iterator[tuple[bytes, int]]:
    """Key and child of all leaves of a tree of version 1.

    Args:
        source: the file.
        address: of the tree.
        kind: 0 for groups, 1 for chunks.
        key: bytes of one key.
        place: what the keys are ordered by. A leaf that a search for it does not find is refused, since HDF5 takes
            it for one that is not there.
    """
    waiting: list[tuple[int, int | None, Place, Place | None]] = [(address, None, (), None)]
    while waiting:
        at, level, low, high = waiting.pop()
        head = Fields(source.read(at, 24))
        if head.take(4) != b"TREE" or head.number(1) != kind:
            raise Refused("it is damaged: a search tree is not where it should be")
        height, used = head.words(1, 2)
        if level is not None and height != level:
            raise Refused("it is damaged: a search tree is not level")
        body = Fields(source.read(at + 24, used * (key + 8) + key))
        found = [(body.take(key), body.number(8)) for _ in range(used)]
        ends: list[tuple[Place, Place | None]] = [((), None)] * used
        if place is not None:
            keys = [place(one) for one, _ in found] + [place(body.take(key))]
            if any(first >= second for first, second in pairwise(keys)):
                raise Refused("it is damaged: a search tree is out of order")
            ends = [(max(a, low), b if high is None else min(b, high)) for a, b in pairwise(keys)]
            if not height and any(k < a or k >= b for k, (a, b) in zip(keys, ends, strict=False) if b):
                raise Refused("it is damaged: a search tree is out of order")
        if height:
            below = [(child, height - 1, *end) for (_, child), end in zip(found, ends, strict=True)]
            waiting += reversed(below)
        else:
            yield from found


def limit_size(limit: int) -> int:
    """Bytes that HDF5 writes numbers up to a limit with."""
    return (max(limit, 1).bit_length() - 1) // 8 + 1


def records(source: Source, address: int, kinds: tuple[int, ...]) -> Iterator[bytes]:
    """All records of a tree of version 2, of one of some kinds, in their order."""
    head = Fields(sealed(source.read(address, 38)))
    head.signed(b"BTHD", 0)
    kind, node, size, depth, _, _, top, count, total = head.words(1, 4, 2, 2, 1, 1, 8, 2, 8)
    if kind not in kinds or size == 0 or node < 10 + size or depth > 32:
        raise Refused("it is damaged: a search tree is of another kind than it should be")
    if total == 0:
        return
    most = [(node - 10) // size]
    every, width = most[0], limit_size(most[0])
    widths = [0]
    for _ in range(depth):
        pointer = 8 + width + widths[-1]
        most.append(max(0, node - 10 - pointer) // (size + pointer))
        every = (most[-1] + 1) * every + most[-1]
        widths.append(limit_size(every))
    waiting: list[bytes | tuple[int, int, int]] = [(top, count, depth)]
    seen = 0
    while waiting:
        following = waiting.pop()
        if isinstance(following, bytes):
            yield following
            continue
        at, count, level = following
        if count > most[level]:
            raise Refused("it is damaged: a search tree has too many records")
        pointers = (count + 1) * (8 + width + widths[level - 1]) if level else 0
        body = Fields(sealed(source.read(at, 10 + count * size + pointers)))
        body.signed(b"BTIN" if level else b"BTLF", 0)
        if body.number(1) != kind:
            raise Refused("it is damaged: a search tree is of another kind than it should be")
        seen += count
        here = [body.take(size) for _ in range(count)]
        if not level:
            yield from here
            continue
        nodes = []
        for _ in range(count + 1):
            child, below = body.words(8, width)
            body.take(widths[level - 1])
            nodes.append((child, below, level - 1))
        for below_it, record in zip(reversed(nodes[1:]), reversed(here), strict=True):
            waiting += [below_it, record]
        waiting.append(nodes[0])
    if seen != total:
        raise Refused("it is damaged: a search tree lacks records")
