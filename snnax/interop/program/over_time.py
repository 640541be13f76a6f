"""Parts of a tensor that a loop goes through step by step, as one tensor with the axis of time first.

Each function gives the operations that make it: triples of a name, the arguments after the tensor, and the result.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from snnax.interop.program.nodes import Affine, Node, PerStep, Result

Made = list[tuple[str, tuple[Any, ...], Result]]


def stretch(node: Node, form: Result, steps: int) -> Made | None:
    """``x[:, t]`` for all ``t``: a stretch of an axis, which becomes the first; None for other orders.

    Args:
        node: the ``select.int``, whose index changes.
        form: of ``x``.
        steps: how many.
    """
    axis, index = node.args[1], node.args[2]
    if not isinstance(axis, int) or not isinstance(index, PerStep):
        return None
    axis, size = _axis(axis, form), form.shape[axis]
    first, by = _even(index.values, size)
    if first is None or not by or isinstance(size, Affine):
        return None
    made: Made = []
    shape = list(form.shape)
    low = min(first, first + by * (steps - 1))
    if (low, abs(by), steps) != (0, 1, size):
        shape[axis] = steps
        end = low + abs(by) * (steps - 1) + 1
        made.append(("slice.Tensor", (axis, low, end, abs(by)), Result(tuple(shape), form.dtype)))
    if by < 0:
        made.append(("flip", ([axis],), Result(tuple(shape), form.dtype)))
    return [*made, *_first(shape, axis, form)]


def windows(node: Node, form: Result, width: int | None, steps: int) -> Made | None:
    """``x[:, t : t + width]`` for all ``t``; None if the parts have several widths.

    Args:
        node: the ``slice.Tensor``, whose bounds change.
        form: of ``x``.
        width: of a part.
        steps: how many.
    """
    axis = node.args[1]
    if width is None or not isinstance(axis, int):
        return None
    axis, size = _axis(axis, form), form.shape[axis]
    first, by = _even(node.args[2].values, size)
    if first is None or by is None or by < 1 or isinstance(size, Affine):
        return None
    end = first + by * (steps - 1) + width
    if end > size or first < 0 or node.results[0].shape[axis] != width:
        return None
    made: Made = []
    shape = list(form.shape)
    if (first, end) != (0, size):
        shape[axis] = end - first
        made.append(("slice.Tensor", (axis, first, end), Result(tuple(shape), form.dtype)))
    shape[axis] = steps
    shape.append(width)
    made.append(("unfold", (axis, width, by), Result(tuple(shape), form.dtype)))
    last = len(shape) - 1
    rest = [i for i in range(last) if i != axis]
    order = [axis, *rest[:axis], last, *rest[axis:]]
    return [*made, ("permute", (order,), Result(tuple(shape[i] for i in order), form.dtype))]


def _axis(axis: int, form: Result) -> int:
    return axis + len(form.shape) if axis < 0 else axis


def _even(values: tuple[Any, ...], size: Any) -> tuple[int | None, int | None]:
    """First entry and distance of indices that lie evenly; None for others."""
    if not all(isinstance(value, int) for value in values):
        return None, None
    if not isinstance(size, Affine):
        values = tuple(value + size if value < 0 else value for value in values)
    by = values[1] - values[0]
    even = all(b - a == by for a, b in pairwise(values))
    return (values[0], by) if even and min(values) >= 0 else (None, None)


def _first(shape: list[Any], axis: int, form: Result) -> Made:
    """Turn an axis into the first."""
    if not axis:
        return []
    order = [axis, *(i for i in range(len(shape)) if i != axis)]
    return [("permute", (order,), Result(tuple(shape[i] for i in order), form.dtype))]
