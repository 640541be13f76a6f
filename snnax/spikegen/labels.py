"""Labels as one-hot rows, and back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax.errors import ArgumentError, ShapeError
from snnax.spikegen.arguments import breaks, default_float, extremes, real, whole


def to_one_hot(targets: ArrayLike, num_classes: int) -> jax.Array:
    """One-hot rows of labels.

    Args:
        targets: class indices ``[B]``, or one; whole numbers ``0 ... C - 1`` of any dtype.
        num_classes: ``C``.

    Returns:
        1 at each label, else 0, ``[B, C]``, in JAX's default float.

    Raises:
        ArgumentError: a label is not a whole number from 0 to ``num_classes - 1``.
        ShapeError: the labels have more than one axis.

    Example:
        >>> to_one_hot([0, 2], num_classes=3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    Compared with snnTorch: equal; fractional labels are refused and not cut. Traced labels are not checked:
    one out of range gives a row of zeros.
    """
    labels = real(targets, "to_one_hot(targets)")
    labels = labels.astype(int) if labels.dtype == bool else labels
    classes = whole(num_classes, "to_one_hot", "num_classes", least=1)
    if labels.ndim > 1:
        raise ShapeError(
            f"spikegen.to_one_hot got labels of shape {labels.shape}; expected class indices [B]. From one-hot "
            "rows take spikegen.from_one_hot(targets)."
        )
    if breaks(labels, lambda values: (values >= 0) & (values < classes) & (values == jnp.trunc(values))):
        low, high = extremes(labels)
        raise ArgumentError(
            f"spikegen.to_one_hot(num_classes={classes}) got labels from {low:g} to {high:g}; expected "
            f"whole numbers from 0 to {classes - 1}."
        )
    return jax.nn.one_hot(labels.astype(int), classes, dtype=default_float())


def to_one_hot_inverse(one_hot_targets: ArrayLike) -> jax.Array:
    """1 where there is 0, and 0 elsewhere: the classes that are not the label's.

    Args:
        one_hot_targets: of any shape.

    Returns:
        Zeros and ones in its shape and dtype.

    Example:
        >>> to_one_hot_inverse([0.0, 0.0, 1.0]).tolist()
        [1.0, 1.0, 0.0]

    Compared with snnTorch: equal.
    """
    array = real(one_hot_targets, "to_one_hot_inverse(one_hot_targets)")
    return (array == 0).astype(array.dtype)


def from_one_hot(one_hot_label: ArrayLike) -> jax.Array:
    """Labels of one-hot rows.

    Args:
        one_hot_label: ``[B, C]``, or any ``[..., C]``; one 1 in each row, else zeros.

    Returns:
        Class indices ``[B]`` (``[...]``), integers.

    Raises:
        ArgumentError: a row is not one-hot.
        ShapeError: there is no axis of classes.

    Example:
        >>> from_one_hot([[0, 0, 1], [1, 0, 0]]).tolist()
        [2, 0]

    Compared with snnTorch, which returns the number of each row, 0 to ``B - 1``, whatever its label (a bug):
    the label. A single row ``[C]`` gives one number ``[]`` here, ``[1]`` there. Traced rows are not checked:
    one that is not one-hot gives the place of its first 1, or 0.
    """
    rows = real(one_hot_label, "from_one_hot(one_hot_label)")
    if rows.ndim < 1 or not rows.shape[-1]:
        raise ShapeError(f"spikegen.from_one_hot got shape {rows.shape}; expected one-hot rows [B, C].")
    if breaks(rows, lambda values: ((values == 1).sum(-1) == 1) & ((values != 0).sum(-1) == 1)):
        raise ArgumentError(
            "spikegen.from_one_hot got rows that are not one-hot; expected one 1 in each, else zeros. "
            "For the largest entry take jnp.argmax(rows, -1)."
        )
    return jnp.argmax(rows == 1, -1)
