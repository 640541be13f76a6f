"""What a ``.nir`` file holds, as nested dicts of arrays and strings; nothing in it is believed before it is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from snnax.errors import NIRFileError
from snnax.interop import hdf5

MAX_BYTES = 2**32
DEPTH = 32
"""How deep graphs may be nested."""
DIGEST = "snnax_digest"
"""Where a file keeps the digest of its content; other readers ignore it."""


def read(
    file: Path | BinaryIO, max_bytes: int = MAX_BYTES, name: Path | None = None
) -> tuple[dict[str, Any], str | None]:
    """The group ``node`` of a file, and the digest that it was written with; ``name`` is its name in errors.

    Raises:
        NIRFileError: for anything but a graph within the limits; names the file and the place in it.
    """
    content, digest = _read(file, ("node", DIGEST), max_bytes, str(name or file))
    if not isinstance(content, dict):
        raise NIRFileError(f"{name or file}: it has no group 'node', so it is no NIR file.")
    return content, None if digest is None else str(digest)


def version(file: Path) -> str:
    """The version of NIR that a file says it was written by."""
    found = _read(file, ("version",), MAX_BYTES, str(file))[0]
    return "unknown" if found is None else str(found)


def check_file(file: Path) -> None:
    """Refuse what is not there and what is no HDF5 file; reads no more of it than where its groups are.

    Raises:
        FileNotFoundError: if there is no such file.
        NIRFileError: if it is a folder, a pipe, or of another format.
    """
    _read(file, (), MAX_BYTES, str(file))


def _read(file: Path | BinaryIO, keys: tuple[str, ...], max_bytes: int, said: str) -> list[Any]:
    """Some entries of the outermost group, ``None`` for what is not there."""
    if isinstance(file, Path) and not file.is_file():
        if not file.exists():
            raise FileNotFoundError(f"there is no file {said!r}; expected the name of a .nir file.")
        kind = "a folder" if file.is_dir() else "no regular file"
        raise NIRFileError(f"{said}: it is {kind}; expected the name of a .nir file.")
    place: list[str] = []
    try:
        with hdf5.File(file, max_bytes) as opened:
            names = opened.root.names()
            return [_entry(opened, key, names[key], place) if key in names else None for key in keys]
    except hdf5.Refused as error:
        where = f"/{'/'.join(place)}" if place else "not a readable NIR file"
        raise NIRFileError(f"{said}: {where}: {error}.") from error
    except UnicodeDecodeError as error:
        raise NIRFileError(f"{said}: /{'/'.join(place)}: its text is not UTF-8.") from error
    except (
        OSError,
        MemoryError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise NIRFileError(f"{said}: cannot be read ({type(error).__name__}: {error}).") from error


def _entry(file: hdf5.File, name: str, address: int | None, place: list[str]) -> Any:
    """A group as a dict, anything else as its value; ``place`` says where the reader was when it failed."""
    place.append(name if len(name) < 100 else f"{name[:100]}...")
    if len(place) > 2 * DEPTH + 5:
        del place[8:]
        raise hdf5.Refused(f"it is nested more than {DEPTH} deep")
    entry = file.entry(address)
    if isinstance(entry, hdf5.Group):
        value: Any = {key: _entry(file, key, at, place) for key, at in entry.names().items()}
    else:
        value = entry.read()
        value = value.decode() if isinstance(value, bytes) else value
    place.pop()
    return value
