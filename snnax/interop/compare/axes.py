"""Other orders of axes and other orientations of kernels, to try out on a recorded current."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.stages import Stages
from snnax.interop.compare.stateless import edited as edited
from snnax.interop.nodes.extension import Extension

Array = np.ndarray
_LETTERS = {2: ("C", "L"), 3: ("C", "H", "W")}


def turned(node: Any) -> Iterator[tuple[str, Array]]:
    """A node's weights transposed, flipped or turned, where the shape stays the same."""
    weight = getattr(node, "weight", None)
    if weight is None:
        return
    weight = np.asarray(weight)
    if weight.ndim == 3:
        yield "flipped in time, as a convolution instead of a correlation", weight[..., ::-1]
    if weight.ndim == 4:
        if weight.shape[2] == weight.shape[3]:
            yield "with height and width swapped", weight.swapaxes(2, 3)
            yield "turned by 90 degrees", np.rot90(weight, 1, (2, 3))
            yield "turned by 270 degrees", np.rot90(weight, 3, (2, 3))
            yield "transposed along the other diagonal", weight.swapaxes(2, 3)[..., ::-1, ::-1]
        yield "flipped in both directions, as a convolution instead of a correlation", weight[..., ::-1, ::-1]
        yield "flipped top to bottom", weight[..., ::-1, :]
        yield "flipped left to right", weight[..., ::-1]
    if weight.shape[0] == weight.shape[1] > 1:
        yield "with inputs and outputs swapped", weight.swapaxes(0, 1)
        if weight.ndim == 4 and weight.shape[2] == weight.shape[3]:
            yield "with inputs and outputs, height and width swapped", weight.transpose(1, 0, 3, 2)


def flattenings(stages: Stages | None, layer: str) -> Iterator[tuple[str, str, Array]]:
    """Each flattening of an image in a layer's stage, done in another order of axes or undone in one.

    Yields:
        Name of the node that takes the flat features, the order in letters, and for each feature the place in
        C, H, W order from which it then comes.
    """
    for name in _stage(stages, layer):
        if stages is None or (shape := _image_into(stages.flat.nodes[name])) is None:
            continue
        after = next((t for s, t in stages.flat.edges if s == name), name)
        while isinstance(node := stages.flat.nodes.get(after), Extension) and node.op == "Dropout":
            after = next((t for s, t in stages.flat.edges if s == after), layer)
        index = np.arange(int(np.prod(shape))).reshape(shape)
        for order in permutations(range(len(shape))):
            words = ", ".join(_LETTERS[len(shape)][i] for i in order)
            there = index.transpose(order).ravel()
            for places in (there, np.argsort(there)):
                if not np.array_equal(places, index.ravel()):
                    yield after, words, places


def _stage(stages: Stages | None, layer: str) -> list[str]:
    try:
        return [] if stages is None else stages.nodes(layer)
    except ConversionError:
        return []


def _image_into(node: nir.NIRNode) -> tuple[int, ...] | None:
    """Shape of one sample that a node flattens; ``None`` if it does not."""
    given = (node.input_type or {}).get("input")
    flat = isinstance(node, nir.Flatten)
    if isinstance(node, Extension) and node.op == "Reshape":
        flat = len(node.options["shape"]) == 1
    if not flat or given is None:
        return None
    shape = tuple(int(n) for n in np.ravel(given))
    return shape if len(shape) in _LETTERS else None


def with_permuted_columns(node: Any, other: Any) -> Array | None:
    """The weights of ``node`` with their columns in the order in which ``other`` has the same columns."""
    left, right = getattr(node, "weight", None), getattr(other, "weight", None)
    if left is None or right is None or np.shape(left) != np.shape(right) or np.ndim(left) != 2:
        return None
    left, right = np.asarray(left), np.asarray(right)
    order_l, order_r = np.lexsort(left), np.lexsort(right)
    if np.array_equal(left, right) or not np.array_equal(left[:, order_l], right[:, order_r]):
        return None
    columns = np.empty_like(order_l)
    columns[order_r] = order_l
    return left[:, columns]


def reordered(current: Array) -> Iterator[tuple[str, Array]]:
    """A current ``[T, b, C, ...]`` whose sample axes were taken in another order and read as before."""
    shape = current.shape[2:]
    if len(shape) not in _LETTERS:
        return
    for order in permutations(range(len(shape))):
        if order == tuple(range(len(shape))):
            continue
        words = ", ".join(_LETTERS[len(shape)][i] for i in order)
        yield words, current.transpose(0, 1, *(i + 2 for i in order)).reshape(current.shape)
