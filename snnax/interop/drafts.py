"""Whole files or none: what is written takes the place of a file when it is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
