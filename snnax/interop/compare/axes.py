"""Other orders of axes and features, and other orientations of kernels, to try out on a recorded current."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import nir
import numpy as np

from snnax.interop.compare.stages import Stages
from snnax.interop.nir.extension import Extension

Array = np.ndarray
LETTERS = {2: ("C", "L"), 3: ("C", "H", "W")}
"""Axes of a sample by its rank."""


def turned(node: Any) -> Iterator[tuple[str, Array]]:
    """A node's weights transposed, flipped or turned, where the shape stays the same."""
    weight = getattr(node, "weight", None)
    if weight is None:
        return
    weight = np.asarray(weight)
    square = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
    if weight.ndim == 3:
        yield "flipped in time, as a convolution instead of a correlation", weight[..., ::-1]
    if square:
        yield "with height and width swapped", weight.swapaxes(2, 3)
        yield "turned by 90 degrees", np.rot90(weight, 1, (2, 3))
        yield "turned by 270 degrees", np.rot90(weight, 3, (2, 3))
        yield "transposed along the other diagonal", weight.swapaxes(2, 3)[..., ::-1, ::-1]
    if weight.ndim == 4:
        yield "flipped in both directions, as a convolution instead of a correlation", weight[..., ::-1, ::-1]
        yield "flipped top to bottom", weight[..., ::-1, :]
        yield "flipped left to right", weight[..., ::-1]
    if weight.shape[0] == weight.shape[1] > 1:
        yield "with inputs and outputs swapped", weight.swapaxes(0, 1)
        if square:
            yield "with inputs and outputs, height and width swapped", weight.transpose(1, 0, 3, 2)


def flattenings(stages: Stages, nodes: list[str], layer: str) -> Iterator[tuple[str, str, Array]]:
    """Each flattening of an image among some nodes, done in another order of axes or undone in one.

    Yields:
        Name of the node that takes the flat features, the order in letters, and for each feature the place in
        C, H, W order from which it then comes.
    """
    for name in nodes:
        shape = _image_into(stages.flat.nodes[name])
        if shape is None:
            continue
        after = next((t for s, t in stages.flat.edges if s == name), name)
        while isinstance(node := stages.flat.nodes.get(after), Extension) and node.op == "Dropout":
            after = next((t for s, t in stages.flat.edges if s == after), layer)
        index = np.arange(int(np.prod(shape))).reshape(shape)
        for order, words in _orders(len(shape)):
            places = index.transpose(order).ravel()
            yield after, words, places
            yield after, words, np.argsort(places)


def _orders(rank: int) -> Iterator[tuple[tuple[int, ...], str]]:
    """Every other order of a sample's axes, and the same in letters."""
    _, *others = permutations(range(rank))
    for order in others if rank in LETTERS else ():
        yield order, ", ".join(LETTERS[rank][i] for i in order)


def _image_into(node: nir.NIRNode) -> tuple[int, ...] | None:
    """Shape of one sample that a node flattens; ``None`` if it does not."""
    given = (node.input_type or {}).get("input")
    flat = isinstance(node, nir.Flatten)
    if isinstance(node, Extension) and node.op == "Reshape":
        flat = len(node.options["shape"]) == 1
    if not flat or given is None:
        return None
    shape = tuple(int(n) for n in np.ravel(given))
    return shape if len(shape) in LETTERS else None


def with_permuted_columns(node: Any, other: Any) -> Array | None:
    """The weights of ``node`` with their columns in the order in which ``other`` has the same columns."""
    left, right = getattr(node, "weight", None), getattr(other, "weight", None)
    if left is None or right is None or np.shape(left) != np.shape(right) or np.ndim(left) != 2:
        return None
    left, right = np.asarray(left), np.asarray(right)
    sorted_left, sorted_right = np.lexsort(left), np.lexsort(right)
    if np.array_equal(left, right) or not np.array_equal(left[:, sorted_left], right[:, sorted_right]):
        return None
    columns = np.empty_like(sorted_left)
    columns[sorted_right] = sorted_left
    return left[:, columns]


def reordered(current: Array) -> Iterator[tuple[str, Array]]:
    """A current ``[T, b, C, ...]`` whose sample axes were taken in another order and read as before."""
    for order, words in _orders(current.ndim - 2):
        yield words, current.transpose(0, 1, *(i + 2 for i in order)).reshape(current.shape)
