"""Handwritten digits, scanned, 8x8 pixels: the test set of UCI's optical recognition data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from snnax import checks
from snnax.errors import ArgumentError, MissingDependencyError

FOLDS = 5


LAYOUTS = ("NHWC", "NCHW")


def digits(
    split: str = "train", dtype: DTypeLike = np.float32, layout: str = "NHWC"
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The 1797 handwritten digits that come with scikit-learn, in a fixed split.

    Sorted by label, every fifth digit is held out: 360 for testing, 35 to 37 of each class, and the other
    1437 for training. The 13 people who wrote them are in both sets.

    Args:
        split: ``"train"`` or ``"test"``.
        dtype: floating dtype of the images.
        layout: ``"NHWC"``, channels last, as every layer here takes them, or ``"NCHW"``, as torch and ported networks
            do.

    Returns:
        ``(images, labels)``: images ``[N, 8, 8, 1]``, or ``[N, 1, 8, 8]`` for torch, from 0 (paper) to 1 (ink),
        exact sixteenths; labels ``[N]``, integers 0 to 9.

    Raises:
        ArgumentError: ``split``, ``dtype`` or ``layout`` is none of these.
        MissingDependencyError: scikit-learn is not installed.

    Example:
        >>> images, labels = digits("test")
        >>> images.shape, labels.shape, float(images.max())
        ((360, 8, 8, 1), (360,), 1.0)

    Source: E. Alpaydin, C. Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning
    Repository, CC BY 4.0, doi:10.24432/C50P49.
    """
    if not isinstance(split, str) or split not in ("train", "test"):
        raise ArgumentError(f'digits(split) is "train" or "test", got {split!r}. Call digits("test").')
    checks.one_of(*LAYOUTS)(layout, "digits(layout=...)")
    try:
        kind = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise checks.refuse("digits(dtype=...)", dtype, "a floating dtype, as np.float32") from error
    if kind.kind not in "fV" or kind.itemsize < 2:  # bfloat16 is of no kind that NumPy knows
        raise checks.refuse("digits(dtype=...)", dtype, "a floating dtype, as np.float32")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError("scikit-learn", "demo", "datasets.digits") from error
    images, labels = load_digits(return_X_y=True)
    held_out = np.zeros(len(labels), bool)
    held_out[np.argsort(labels, kind="stable")[::FOLDS]] = True
    chosen = held_out if split == "test" else ~held_out
    shape = (-1, 8, 8, 1) if layout == "NHWC" else (-1, 1, 8, 8)
    return (images[chosen] / 16).reshape(shape).astype(kind), labels[chosen].astype(np.int64)
