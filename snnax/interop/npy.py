"""Arrays in NumPy's own files, ``.npy`` and ``.npz``, of which nothing is believed and nothing unpickled."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAX_BYTES = 2**32
_RATIO, _SPARE = 1032, 2**16
"""What deflate packs into one byte at most, and what is not worth a question."""


def read(file: BinaryIO, size: int) -> np.ndarray:
    """The numbers or text in a ``.npy`` file of ``size`` bytes.

    Raises:
        ValueError: for objects, structures, and a file that is larger or smaller than it says.
    """
    shape, fortran, dtype = _header(file)
    if dtype.kind not in "biufcSU":
        raise ValueError(f"it holds {dtype}; expected numbers")
    count = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + count != size:
        raise ValueError(f"it claims the shape {shape}, {count} bytes, and has {size - file.tell()}")
    raw = np.empty(count, np.uint8)
    if file.readinto(raw.data) != count:  # type: ignore[attr-defined]
        raise ValueError("it ends too early")
    if not count:
        return np.empty(shape, dtype)
    return raw.view(dtype).reshape(shape, order="F" if fortran else "C")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    parse: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if parse is None:
        raise ValueError(f"it is of version {version}")
    try:
        found: tuple[tuple[int, ...], bool, np.dtype] = parse(file)
    except Exception as error:  # NumPy hands the text to Python's parser, which has errors of many kinds
        raise ValueError(f"its header is damaged ({type(error).__name__})") from error
    return found


def read_all(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """All arrays in a ``.npz`` file by name.

    Raises:
        ValueError: as :func:`read`; for arrays larger than ``max_bytes`` together, or packed by anything but deflate.
        zipfile.BadZipFile: if it is none, or damaged; and other errors of :mod:`zipfile` for what it does not read.
    """
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check(entries, path.stat().st_size, max_bytes)
        for entry in entries:
            with archive.open(entry) as member:
                found[entry.filename.removesuffix(".npy")] = read(member, entry.file_size)  # type: ignore[arg-type]
    return found


def _check(entries: list[zipfile.ZipInfo], size: int, max_bytes: int) -> None:
    """Refuse what cannot be true before anything is unpacked: no byte of an honest file belongs to two arrays."""
    if len({entry.filename for entry in entries}) != len(entries):
        raise ValueError("it holds an array twice")
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename} is packed by another method than deflate")
        if entry.file_size > entry.compress_size * _RATIO + _SPARE:
            raise ValueError(
                f"{entry.filename} claims {entry.file_size} bytes, packed into {entry.compress_size}"
            )
    if sum(entry.compress_size for entry in entries) > size:
        raise ValueError("it uses the same bytes for several arrays")
    if sum(entry.file_size for entry in entries) > max(max_bytes, size):
        raise ValueError(
            f"its arrays are larger than {max_bytes} bytes; if that is right, pass a larger max_bytes"
        )
