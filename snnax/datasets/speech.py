"""Real speech, small: two vowels by nine speakers, as cepstra."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks

__all__ = ["speech"]


def speech(split: str = "train") -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """Nine men say the Japanese vowels /ae/: who is it?

    Each utterance is 7 to 29 frames of 12 cepstral coefficients, by linear prediction: the shape of the spectrum, each
    6.4 ms.
    ``train`` has 30 utterances of each speaker, ``test`` 24 to 88, as their authors split them. The utterances
    differ in length; :func:`~snnax.datasets.pad_batch` makes one array of them.

    Args:
        split: ``"train"`` or ``"test"``.

    Returns:
        ``(utterances, speakers)``: a list of arrays ``[T, 12]``, coefficients from about -2 to 2, and labels ``[N]``,
        0 to 8. 270 utterances to train on, 370 to test.

    Raises:
        ArgumentError: ``split`` is none of the two.

    Example:
        >>> from snnax import datasets
        >>> utterances, speakers = datasets.speech("test")
        >>> len(utterances), utterances[0].shape, int(speakers.max())
        (370, (19, 12), 8)

    Source: M. Kudo, J. Toyama, M. Shimbo (1999), Multidimensional curve classification using passing-through regions,
    Pattern Recognition Letters 20; UCI Machine Learning Repository, CC BY 4.0, doi:10.24432/C5NS47.
    ``japanese_vowels.txt`` beside the data says what was changed.
    """
    checks.one_of("train", "test")(split, "speech(split=...)")
    with (
        resources.files(__package__).joinpath("japanese_vowels.npz").open("rb") as file,
        np.load(file) as stored,
    ):
        # Millionths plus 2**23, the lowest byte first: so stored they need half of the space of floats.
        low, middle, high = stored["planes"].astype(np.int64)
        lengths, speakers, training = stored["lengths"], stored["speaker"], int(stored["training"])
    values = ((low + (middle << 8) + (high << 16) - 2**23) / 1e6).astype(np.float32).T
    ends = np.cumsum(lengths, dtype=np.int64)[:-1]
    utterances: list[Any] = np.split(values, ends)
    part = slice(training) if split == "train" else slice(training, None)
    return [np.ascontiguousarray(utterance) for utterance in utterances[part]], speakers[part].astype(
        np.int64
    )
