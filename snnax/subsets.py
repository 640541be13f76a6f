"""Parts of a dataset, with the blocks and permutations that snnTorch's helpers take."""

from __future__ import annotations

import copy
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.errors import ArgumentError, ShapeError

__all__ = ["data_subset", "valid_split"]

_PER_SAMPLE = ("data", "targets", "labels", "samples", "imgs")


def data_subset(dataset: Any, subset: int, idx: int = 0) -> Any:
    """Block ``idx`` of the ``subset`` blocks of ``N // subset`` samples that a dataset is cut into.

    Samples left over at the end (``N % subset``) are in no block. ``subset=1`` keeps everything.

    Args:
        dataset: an array of N samples; a tuple or list of arrays, as ``(x, y)``; or a torch-like dataset, whose
            samples are in its attributes ``data`` and ``targets``, or ``labels``, ``samples`` or ``imgs``.
        subset: factor by which the dataset shrinks, at least 1.
        idx: which block, from 0 to ``subset - 1``.

    Returns:
        A new dataset of the same kind; the given one is left as it is. A torch-like one shares everything else.

    Raises:
        ArgumentError: ``subset`` or ``idx`` is out of range, or the dataset has no samples to cut.
        ShapeError: its arrays are not of one length.

    Example:
        >>> import numpy as np, snnax as snn
        >>> x, y = snn.utils.data_subset((np.zeros((60, 4)), np.arange(60)), subset=10, idx=1)
        >>> x.shape, y.tolist()
        ((6, 4), [6, 7, 8, 9, 10, 11])

    Compared with snnTorch: the same samples. There the dataset that is passed shrinks itself, it must have ``data`` and
    ``targets`` that can be indexed by arrays, and an ``idx`` out of range leaves an empty dataset.
    """
    subset, idx = _whole("subset", subset), _whole("idx", idx)
    if subset < 1 or not 0 <= idx < subset:
        raise ArgumentError(
            f"data_subset(subset={subset}, idx={idx}); expected subset >= 1 and idx from 0 to subset - 1, "
            "as data_subset(dataset, 10, idx=9) for the last tenth."
        )
    count = _length(dataset)
    if subset > count:
        raise ArgumentError(
            f"data_subset(subset={subset}) of {count} samples would be empty; pass at most {count}."
        )
    if subset == 1:
        return _taken(dataset, np.arange(count))
    step = count // subset
    return _taken(dataset, np.arange(step * idx, step * (idx + 1)))


def valid_split(ds_train: Any, ds_val: Any = None, split: float = 0.1, seed: int = 0) -> tuple[Any, Any]:
    """A dataset split at random into one for training and one for validation, of ``int(N * split)`` samples.

    The training samples are in random order, the validation samples in the order of the dataset.

    Args:
        ds_train: the whole dataset, of a kind that :func:`data_subset` takes.
        ds_val: another copy of it, as snnTorch asks for: the validation set keeps this one's other attributes (its
            transform). ``None`` for those of ``ds_train``.
        split: share of the samples that go into the validation set, in [0, 1).
        seed: of ``numpy.random.default_rng``; the same seed takes the samples that snnTorch takes.

    Returns:
        ``(train, validation)``: new datasets of the same kind; the given ones are left as they are.

    Raises:
        ArgumentError: ``split`` is not in [0, 1), or the dataset has no samples to split.
        ShapeError: its arrays are not of one length.

    Example:
        >>> import numpy as np, snnax as snn
        >>> train, val = snn.utils.valid_split(np.arange(10), split=0.3)
        >>> len(train), len(val), sorted({*train.tolist(), *val.tolist()}) == list(range(10))
        (7, 3, True)

    Compared with snnTorch: the same samples in the same order. There both datasets that are passed change
    themselves, and finding the validation samples takes time that grows with the square of N.
    """
    count = _length(ds_train)
    seed = checks.count(0, 2**63)(seed, "valid_split(seed=...)")
    split = checks.number()(split, "valid_split(split=...)")
    if isinstance(split, bool) or not 0 <= split < 1:
        raise ArgumentError(f"valid_split(split={split!r}); expected a share in [0, 1), as split=0.1.")
    chosen = np.random.default_rng(seed=seed).choice(count, size=count - int(count * split), replace=False)
    rest = np.setdiff1d(np.arange(count), chosen)
    source = ds_train if ds_val is None or not _names(ds_train) else _filled(ds_val, ds_train)
    return _taken(ds_train, chosen), _taken(source, rest)


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise ArgumentError(f"data_subset({name}={value!r}); expected a whole number.") from error


def _names(dataset: Any) -> list[str]:
    """Attributes of a torch-like dataset that hold something for each sample."""
    if isinstance(dataset, tuple | list) or hasattr(dataset, "shape"):
        return []
    return [name for name in _PER_SAMPLE if hasattr(getattr(dataset, name, None), "__getitem__")]


def _columns(dataset: Any) -> dict[str, Any]:
    if names := _names(dataset):
        return {name: getattr(dataset, name) for name in names}
    if hasattr(dataset, "shape") and len(dataset.shape):
        return {"the array": dataset}
    if isinstance(dataset, tuple | list) and dataset and all(_is_column(part) for part in dataset):
        return {f"part {number}": part for number, part in enumerate(dataset)}
    raise ArgumentError(
        f"the dataset is a {type(dataset).__name__} without samples to index; expected an array, a tuple of arrays "
        f"as (x, y), or an object with one of the attributes {', '.join(_PER_SAMPLE)}. "
        "Wrap any other torch dataset in torch.utils.data.Subset."
    )


def _length(dataset: Any) -> int:
    sizes = {name: len(column) for name, column in _columns(dataset).items()}
    if len(set(sizes.values())) > 1:
        raise ShapeError(
            f"the dataset's samples are not equally many: {sizes}; pass one target for each sample."
        )
    return next(iter(sizes.values()))


def _is_column(part: Any) -> bool:
    return (
        hasattr(part, "__len__") and not isinstance(part, str | bytes) and getattr(part, "shape", None) != ()
    )


def _rows(column: Any, rows: NDArray[np.intp]) -> Any:
    """Rows of an array or a list, in the same library and type."""
    if isinstance(column, list):
        return [column[row] for row in rows]
    if isinstance(column, tuple):
        return tuple(column[row] for row in rows)
    return column[rows]


def _taken(dataset: Any, rows: NDArray[np.intp]) -> Any:
    if names := _names(dataset):
        part = copy.copy(dataset)
        for name in names:
            setattr(part, name, _rows(getattr(dataset, name), rows))
        return part
    if hasattr(dataset, "shape"):
        return _rows(dataset, rows)
    parts = [_rows(part, rows) for part in dataset]
    if hasattr(dataset, "_fields"):
        return type(dataset)(*parts)
    return tuple(parts) if isinstance(dataset, tuple) else parts


def _filled(dataset: Any, source: Any) -> Any:
    """A copy of ``dataset`` with the samples of ``source``."""
    filled = copy.copy(dataset)
    for name in _names(source):
        setattr(filled, name, getattr(source, name))
    return filled
