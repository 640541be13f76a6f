"""Sequences of different lengths as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.datasets.events import host
from snnax.errors import ArgumentError, ShapeError

__all__ = ["pad_batch"]


def _sequences(value: Any, what: str) -> list[NDArray[Any]]:
    expected = "a list of sequences [T, ...], of which only T differs"
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes) or not len(value):
        raise checks.refuse(what, value, expected)
    found = []
    for sequence in value:
        try:
            found.append(host(sequence, what))
        except ArgumentError as error:
            raise checks.refuse(what, value, expected) from error
    if any(not array.ndim or not len(array) for array in found):
        raise checks.refuse(what, value, f"{expected}, each of a step or more")
    return found


@checks.takes(sequences=_sequences, length=checks.maybe(checks.count()))
def pad_batch(sequences: Any, length: int | None = None) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Sequences of different lengths as one array, with zeros after their ends, and how long they were.

    Args:
        sequences: a list of B arrays ``[T_i, ...]`` of NumPy, JAX or torch; of their axes only the first may differ.
        length: T of the result; ``None`` for that of the longest. A network is compiled anew for each T, so pass the
            same for all batches, as the longest of the whole data set.

    Returns:
        ``(x, seq_lengths)``: ``[T, B, ...]``, time first, and ``[B]``, as :func:`~snnax.unroll` takes both.

    Raises:
        ArgumentError: for anything but such a list, and a ``length`` that is too short.
        ShapeError: if other axes than the first differ.

    Example:
        >>> import numpy as np
        >>> from snnax.datasets import pad_batch
        >>> x, seq_lengths = pad_batch([np.ones((3, 2)), np.ones((5, 2))])
        >>> x.shape, seq_lengths.tolist(), x[:, 0, 0].tolist()
        ((5, 2, 2), [3, 5], [1.0, 1.0, 1.0, 0.0, 0.0])

    tonic's ``PadTensors`` pads likewise, and does not tell the lengths.
    """
    shapes = {array.shape[1:] for array in sequences}
    if len(shapes) > 1:
        raise ShapeError(
            f"pad_batch got frames of shapes {sorted(shapes)}; expected [T, ...] with frames of one shape."
        )
    lengths = np.array([len(array) for array in sequences], np.int32)
    longest = int(lengths.max())
    if length is not None and length < longest:
        raise ArgumentError(
            f"pad_batch(length={length}), but the longest sequence has {longest} steps; pass length={longest}, or cut "
            "the sequences first."
        )
    x = np.zeros((length or longest, len(sequences), *shapes.pop()), np.result_type(*sequences))
    for number, array in enumerate(sequences):
        x[: len(array), number] = array
    return x, lengths
