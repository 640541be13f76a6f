"""What commands read and write: arrays in, whole files out or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from snnax.drafts import npz, write_picture, write_whole
from snnax.errors import ArgumentError
from snnax.interop import npy


def check_network(*paths: Path) -> None:
    """Before the work: refuse what is no ``.nir`` file. This takes a tenth of the time of importing JAX.

    Raises:
        FileNotFoundError: if there is no such file.
        NIRFileError: if it is no HDF5 file.
    """
    from snnax.interop.nir import contents

    for path in paths:
        contents.check_file(path)


def load(path: Path) -> np.ndarray:
    """The numeric array in a ``.npy`` file.

    Raises:
        ArgumentError: for anything else.
        OSError: if there is no such file, or it may not be read.
    """
    one = f"{path}: expected one numeric array x [T, B, ...], as numpy.save writes it."
    if not path.is_file():
        if not path.exists():
            raise FileNotFoundError(f"there is no file {str(path)!r}; expected the name of a .npy file.")
        kind = "a folder" if path.is_dir() else "no regular file"
        raise ArgumentError(f"{path} is {kind}; expected the name of a .npy file.")
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"PK"):
            raise ArgumentError(one)
        if not start.startswith(b"\x93NUMPY"):
            raise ArgumentError(
                f"{path}: not a .npy file; write one with numpy.save({path.stem + '.npy'!r}, x)."
            )
        try:
            array = npy.read(file, path.stat().st_size)
        except (ValueError, MemoryError) as error:
            reason = str(error).partition("\n")[0]
            raise ArgumentError(f"{path}: not a .npy file with one array ({reason}).") from error
    if array.dtype.kind not in "biuf":
        raise ArgumentError(one)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def refuse_existing(*paths: Path | None, force: bool = False) -> None:
    """Before the work: refuse to write over a file, or into a folder that is not there.

    Raises:
        ArgumentError: names the file and the option.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir() or not path.name:
            raise ArgumentError(f"{path} is a folder; pass the name of the file to write.")
        if not path.parent.is_dir():
            raise ArgumentError(f"{path}: there is no folder {str(path.parent)!r}.")
        if path.exists() and not force:
            raise ArgumentError(f"{path} is there already; pass --force to replace it.")


def check_folder(path: Path) -> None:
    """Before the work: refuse a folder that is a file, or lies in one. It need not be there.

    Raises:
        ArgumentError: names the file.
    """
    there = next((place for place in (path, *path.parents) if place.exists()), path)
    if not there.is_dir():
        raise ArgumentError(
            f"--out {path}: {there} is no folder; expected the name of a folder, as --out results."
        )


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name to a ``.npz`` or ``.safetensors`` file, all of it or nothing."""
    from snnax.interop.state_dict import safetensors_content

    content: Any = npz(arrays) if path.suffix != ".safetensors" else safetensors_content(arrays)
    write_whole({path: content})


def check_page(path: Path | None) -> None:
    """Before the work: refuse a page that cannot be written. It replaces an older one.

    Raises:
        ArgumentError: for a name that ends otherwise, or a folder that is not there.
    """
    if path is None:
        return
    refuse_existing(path, force=True)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"--html {path}: expected a name that ends in .html, as --html page.html.")


def check_picture(path: Path | None) -> None:
    """Before the work: refuse a picture that cannot be written. It replaces an older one.

    Raises:
        ArgumentError: for a format that matplotlib does not know, or a folder that is not there.
        MissingDependencyError: matplotlib is not installed.
    """
    if path is None:
        return
    from snnax.spikeplot import canvas

    refuse_existing(path, force=True)
    with canvas.aside():
        known = sorted(canvas.figure(None, 1, 1).canvas.get_supported_filetypes())
    if path.suffix[1:].lower() not in known:
        raise ArgumentError(f"{path}: the name of a picture ends in one of {', '.join(known)}.")


def save_figure(path: Path, draw: Callable[[], Any]) -> None:
    """Write the picture that ``draw`` returns in the format that the name of the file asks for, or nothing."""
    from snnax.spikeplot import canvas

    with canvas.aside():
        write_picture(path, draw())
