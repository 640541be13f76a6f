"""Whole files or none: what is written takes the place of a file when it is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from snnax.errors import ConversionError


@contextmanager
def drafts(*paths: Path) -> Iterator[list[Path]]:
    """Files to write to, which take the place of ``paths`` when all of them are complete."""
    made: list[Path] = []
    try:
        for path in paths:
            handle, name = tempfile.mkstemp(suffix=path.suffix, dir=path.resolve().parent)
            os.close(handle)
            made.append(Path(name))
        yield made
        mask = os.umask(0)
        os.umask(mask)
        for draft, path in zip(made, paths, strict=True):
            draft.chmod(0o666 & ~mask)
            os.replace(draft, path)
    finally:
        for draft in made:
            draft.unlink(missing_ok=True)


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by flat path, ``"params/fc/kernel"``, to a ``.npz`` file.

    Raises:
        ConversionError: for a name that such a file cuts short, or an array of a type that it does not hold.
    """
    for name, array in arrays.items():
        if "\x00" in name:
            raise ConversionError(
                name, "a NUL in the name of an array ends it in a .npz file", "Rename the node."
            )
        if array.dtype.kind not in "biuf":
            raise ConversionError(
                name, f"a .npz file cannot hold arrays of {array.dtype}", "Convert it to float32."
            )
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
