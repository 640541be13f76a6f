"""Results of a task on the disk: numbers as JSON, arrays as ``.npz``, pictures drawn from these; whole or none."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from snnax.drafts import npz, write_picture, write_whole
from snnax.errors import ArgumentError

__all__ = ["draw", "folder", "load", "save", "summary", "weights"]

_DRAWN = ("points", "labels", "classes", "validation")


def folder(path: Path) -> Path:
    """A folder for results, made if it is not there.

    Raises:
        ArgumentError: if something else has its name.
        OSError: if it cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"--out {path}: that is a file; pass the name of a folder.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def save(place: Path, name: str, numbers: Mapping[str, Any], arrays: Mapping[str, Any]) -> Path:
    """Write ``name.json`` and ``name.npz``, both or none; the path of the second.

    Raises:
        OSError: if they cannot be written.
    """
    target = folder(place) / f"{name}.npz"
    text = json.dumps(dict(numbers), indent=2) + "\n"
    content = npz({key: np.asarray(value) for key, value in arrays.items()})
    write_whole({place / f"{name}.json": text.encode(), target: content})
    return target


def load(path: Path, *needed: str) -> dict[str, np.ndarray]:
    """The arrays of a file that :func:`save` wrote.

    Raises:
        ArgumentError: for another file, or one without an array that is needed.
        OSError: if there is none.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ArgumentError(f"{path}: expected a .npz file that a task wrote, with --out.") from error
    if missing := [name for name in needed if name not in found]:
        raise ArgumentError(
            f"{path} has no arrays {missing}; expected a .npz file that a task wrote, with --out."
        )
    return found


def draw(saved: Path, picture: Path) -> None:
    """The picture of a saved result with points of a plane.

    Raises:
        ArgumentError: for a file that holds none, or a picture of a format that is not known.
        MissingDependencyError: if matplotlib is not installed.
        OSError: if one cannot be read or the other not be written.
    """
    from snnax.spikeplot import canvas
    from snnax.spikeplot.learning import learned

    arrays = load(saved, *_DRAWN)
    points, labels, classes, validation = (arrays[name] for name in _DRAWN)
    with canvas.aside():
        write_picture(picture, learned(points, labels, classes, validation))


def weights(params: Any, prefix: str = "params") -> dict[str, np.ndarray]:
    """Weights by flat path, as ``"params/layers_0/weights"``."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join((prefix, *(str(key.key) for key in path))): np.asarray(leaf) for path, leaf in leaves}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Accuracies of several seeds, in per cent."""
    each = [round(100 * float(value), 2) for value in values]
    return {"each": each, "mean": round(float(np.mean(each)), 2), "least": min(each)}
