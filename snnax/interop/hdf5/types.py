"""What an array's elements are: numbers, truth values, complex numbers or text, as NumPy has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from snnax.interop.hdf5.source import Fields, Refused

_FLOATS = {
    (2, 15, 10, 5, 0, 10, 15): "f2",
    (4, 31, 23, 8, 0, 23, 127): "f4",
    (8, 63, 52, 11, 0, 52, 1023): "f8",
    (16, 127, 112, 15, 0, 112, 16383): "binary128",
    (16, 79, 64, 15, 0, 64, 16383): "x87",
}
"""Size, place of the sign, place and size of the exponent, of the mantissa, and the exponent's bias."""
_IMPLIED, _NO_BIT_IMPLIED = 2, 0
_MAX_DEPTH = 3
_CLASSES = {
    0: "whole numbers", 1: "numbers", 2: "times", 3: "text", 4: "bits", 5: "opaque bytes", 6: "compounds",
    7: "references", 8: "enumerations", 9: "sequences", 10: "arrays in arrays", 11: "complex numbers",
}  # fmt: skip


@dataclass(frozen=True)
class Type:
    """How the file holds one element.

    Attributes:
        stored: as NumPy reads the file's bytes.
        kind: ``"number"``, ``"truth"``, ``"x87"``, ``"text"`` of fixed size or ``"words"`` of any size.
        padding: of text of fixed size: 0 ends at NUL, 1 is filled with NUL, 2 with spaces.
    """

    stored: np.dtype
    kind: str
    padding: int = 0


WORD = np.dtype([("size", "<u4"), ("address", "<u8"), ("number", "<u4")])
"""How an array refers to text of any size."""


def parse(fields: Fields, depth: int = 0) -> Type:
    """The type that a message describes.

    Raises:
        Refused: for types that no parameter of a network has.
    """
    first = fields.number(1)
    kind, version = first & 15, first >> 4
    bits, size = fields.words(3, 4)
    if (
        version not in (1, 2, 3, 4, 5)
        or kind not in _CLASSES
        or depth > _MAX_DEPTH
        or not 0 < size <= 2**31 - 1
    ):
        raise Refused("it is damaged: the type of its elements is impossible")
    if kind == 0:
        return _whole(fields, bits, size)
    if kind == 1:
        return _float(fields, bits, size)
    if kind == 3 and bits & 15 < 3:
        return Type(np.dtype(f"S{size}"), "text", bits & 15)
    if kind == 6:
        return _complex(fields, version, bits & 0xFFFF, size, depth)
    if kind == 8:
        return _enumeration(fields, version, bits & 0xFFFF, size, depth)
    if kind == 9 and bits & 15 == 1 and size == WORD.itemsize:
        return Type(WORD, "words")
    if kind == 11:
        part = parse(fields, depth + 1)
        return _pair(part, size)
    raise Refused(f"it holds {_CLASSES[kind]}; expected numbers or text")


def _whole(fields: Fields, bits: int, size: int) -> Type:
    if fields.words(2, 2) != (0, 8 * size) or size not in (1, 2, 4, 8):
        raise Refused("it holds whole numbers of an unusual size")
    return Type(np.dtype(f"{'>' if bits & 1 else '<'}{'i' if bits & 8 else 'u'}{size}"), "number")


def _float(fields: Fields, bits: int, size: int) -> Type:
    offset, precision, exponent, exponent_size, mantissa, mantissa_size, bias = fields.words(
        2, 2, 1, 1, 1, 1, 4
    )
    layout = (size, bits >> 8 & 255, exponent, exponent_size, mantissa, mantissa_size, bias)
    name = _FLOATS.get(layout)
    normal = _NO_BIT_IMPLIED if name == "x87" else _IMPLIED
    whole = (0, 80 if name == "x87" else 8 * size)
    if name is None or (bits >> 4 & 3) != normal or bits & 0x40 or (offset, precision) != whole:
        raise Refused(f"it holds numbers of {size} bytes that are none of float16, 32, 64 or long double")
    order: Literal["<", ">"] = ">" if bits & 1 else "<"
    if name == "x87":
        if bits & 1:
            raise Refused("it holds long doubles of an unusual kind")
        return Type(np.dtype([("mantissa", "<u8"), ("high", "<u2"), ("rest", "V6")]), "x87")
    if name == "binary128":
        if np.finfo(np.longdouble).nmant != 112:
            raise Refused("it holds numbers of 128 bits, which this machine does not have")
        return Type(np.dtype(np.longdouble).newbyteorder(order), "number")
    return Type(np.dtype(f"{order}{name}"), "number")


def _name(fields: Fields, version: int) -> bytes:
    start = fields.at
    found = fields.word()
    if version < 3:
        fields.take(-(fields.at - start) % 8)
    return found


def _enumeration(fields: Fields, version: int, count: int, size: int, depth: int) -> Type:
    """Whole numbers with names; ``FALSE`` and ``TRUE`` are how h5py keeps truth values."""
    base = parse(fields, depth + 1)
    if base.kind != "number" or base.stored.kind not in "iu" or base.stored.itemsize != size:
        raise Refused("it is damaged: an enumeration is none of whole numbers")
    names = [_name(fields, version) for _ in range(count)]
    values = [fields.take(size) for _ in range(count)]
    if size == 1 and dict(zip(names, values, strict=True)) == {b"FALSE": b"\0", b"TRUE": b"\1"}:
        return replace(base, kind="truth")
    return base


def _complex(fields: Fields, version: int, count: int, size: int, depth: int) -> Type:
    """Two numbers called ``r`` and ``i``, as h5py keeps complex ones."""
    width = (size.bit_length() + 7) // 8
    parts = []
    for _ in range(count):
        name = _name(fields, version)
        offset = fields.number(width if version >= 3 else 4)
        if version == 1:
            fields.take(28)
        parts.append((name, offset, parse(fields, depth + 1)))
    same = len(parts) == 2 and parts[0][2] == parts[1][2]
    if not same or [p[:2] for p in parts] != [(b"r", 0), (b"i", size // 2)]:
        raise Refused("it holds compounds; expected numbers or text")
    return _pair(parts[0][2], size)


def _pair(part: Type, size: int) -> Type:
    if part.kind != "number" or part.stored.kind != "f" or 2 * part.stored.itemsize != size or size > 16:
        raise Refused("it holds complex numbers of an unusual kind")
    return Type(np.dtype(f"{part.stored.byteorder}c{size}".replace("=", "<")), "number")


def native(array: np.ndarray, kind: Type) -> np.ndarray:
    """Numbers or text of fixed size in this machine's own form, every one as the file has it.

    Raises:
        Refused: for long doubles that this machine cannot hold.
    """
    if kind.kind == "truth":
        return array != 0
    if kind.kind == "x87":
        return _extended(array)
    if kind.kind == "text":
        return _text(array, kind.padding)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _text(array: np.ndarray, padding: int) -> np.ndarray:
    """NumPy ends text before the NULs at its end; HDF5 at the first one, or before the spaces at its end."""
    if padding == 1 or not array.size:
        return array
    letters = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize).copy()
    if padding == 0:
        letters[np.logical_or.accumulate(letters == 0, axis=1)] = 0
    else:
        turned = letters[:, ::-1]
        turned[np.logical_and.accumulate(turned == ord(" "), axis=1)] = 0
    return letters.view(array.dtype).reshape(array.shape)


def _extended(array: np.ndarray) -> np.ndarray:
    """Long doubles of x86, 64 bits of mantissa, exactly: as the machine's own, or as float64 where all fit."""
    if np.finfo(np.longdouble).nmant == 63 and np.dtype(np.longdouble).itemsize == 16:
        return array.view(np.longdouble)
    mantissa, high = array["mantissa"], array["high"]
    exponent = (high & 0x7FFF).astype(np.int64)
    sign = np.where(high >> 15, -1.0, 1.0)
    with np.errstate(all="ignore"):
        big, small = mantissa >> np.uint64(32), mantissa & np.uint64(0xFFFFFFFF)
        found = np.ldexp(big.astype(float), exponent - 16414) + np.ldexp(
            small.astype(float), exponent - 16383 - 63
        )
    fraction = mantissa & np.uint64(2**63 - 1)
    found = np.where(exponent == 0x7FFF, np.where(fraction == 0, np.inf, np.nan), found)
    exact = (
        (exponent == 0x7FFF)
        | (mantissa == 0)
        | ((mantissa & np.uint64(2**11 - 1) == 0) & (np.abs(exponent - 16383) < 1022))
    )
    if not exact.all():
        raise Refused("it holds long doubles that this machine does not have; write float64")
    return sign * found
