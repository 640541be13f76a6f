"""The parameters of NIR nodes: numbers, finite, and of sizes that fit one another. NIR itself checks nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError, NIRFileError, ShapeError
from snnax.interop.nodes import metadata
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.spec import NATIVE, VALUES
from snnax.interop.numbers import array, plain, real

Cast = Callable[[str, str, Any], np.ndarray]

_COUNTS: dict[type, dict[str, tuple[int | None, int]]] = {
    nir.Conv1d: {"stride": (1, 1), "dilation": (1, 1), "groups": (1, 1), "padding": (0, 1)},
    nir.Conv2d: {"stride": (1, 2), "dilation": (1, 2), "groups": (1, 1), "padding": (0, 2)},
    nir.SumPool2d: {"kernel_size": (1, 2), "stride": (1, 2), "padding": (0, 2)},
    nir.AvgPool2d: {"kernel_size": (1, 2), "stride": (1, 2), "padding": (0, 2)},
    nir.Flatten: {"start_dim": (None, 1), "end_dim": (None, 1)},
}
"""Whole numbers of each node: the least one that makes sense, and how many at most."""
_SINGLE = ("groups", "start_dim", "end_dim")
"""Those of them that are no arrays."""


def check_node(name: str, node: nir.NIRNode) -> None:
    """Refuse a node whose parameters cannot be meant.

    Raises:
        NIRFileError: for parameters that are no finite real numbers, counts that are none, and metadata of ours
            that belongs to another node.
        ShapeError: for parameters of one node that do not fit one another.
    """
    check_numbers(name, node)
    for what, value in parameters(node):
        if not value.size:
            raise ShapeError(f"node {name!r}: {what} has shape {value.shape}, which holds no number.")
    for what, (least, most) in _COUNTS.get(type(node), {}).items():
        if not _is_rule(node, what, getattr(node, what)):
            _check_count(name, what, getattr(node, what), least, most)
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        _check_convolution(name, node)
    if type(node).__name__ in NATIVE:
        _check_neuron(name, node)
    _check_metadata(name, node)


def check_arrays(name: str, node: nir.NIRNode) -> None:
    """Refuse a node with a field that is no array, before anything asks for its shape.

    Raises:
        NIRFileError: names the node and the parameter.
    """
    try:
        list(parameters(node))
    except ConversionError as error:
        raise NIRFileError(f"node {name!r}: {error.problem}. {error.remedy}") from error


def check_numbers(name: str, node: nir.NIRNode) -> None:
    """Refuse a node whose parameters are no finite real numbers, those in our metadata too.

    Raises:
        NIRFileError: names the node and the parameter.
    """
    spec = metadata.read_spec(node, name)
    try:
        for what, value in parameters(node):
            if value.dtype == bool:
                raise ConversionError(name, f"{what} holds truth values", "Every parameter is a number.")
            plain(name, what, value)
        for what, value in spec.values.items() if spec is not None else ():
            plain(name, f"{what} of its snnax metadata", value)
    except ConversionError as error:
        raise NIRFileError(f"node {name!r}: {error.problem}. {error.remedy}") from error


def fitting(node: str, what: str, value: Any) -> np.ndarray:
    """A parameter as JAX computes with it: see :func:`~snnax.interop.numbers.real`."""
    return real(node, what, value, weights=what in ("weight", "bias"))


def exact(name: str, node: nir.NIRNode, cast: Cast = fitting) -> nir.NIRNode:
    """The node with its parameters as float32 or float64, itself if they are.

    Args:
        name: its name.
        node: the node, left as it is.
        cast: :func:`fitting`, ``written`` for files, or ``plain``.

    Raises:
        ConversionError: for numbers that the type does not hold; names the node and the parameter.
    """
    counts = _COUNTS.get(type(node), {})
    found = {what: cast(name, what, value) for what, value in parameters(node) if what not in counts}
    given = node.arrays if isinstance(node, Extension) else vars(node)
    changed = {what: value for what, value in found.items() if value is not given[what]}
    if not changed:
        return node
    twin = copy.copy(node)
    if isinstance(twin, Extension):
        twin.arrays = {**twin.arrays, **changed}
    else:
        for what, value in changed.items():
            setattr(twin, what, value)
    return twin


def check_flatten(name: str, node: nir.Flatten, shape: tuple[int, ...]) -> None:
    """Refuse to flatten axes that a sample does not have.

    Raises:
        ShapeError: names the node.
    """
    start, end, rank = int(node.start_dim), int(node.end_dim), len(shape)
    if not (-rank <= start < rank and -rank <= end < rank and start % rank <= end % rank):
        raise ShapeError(f"{name!r} flattens the axes {start} to {end} of samples of shape {shape}.")


def parameters(node: nir.NIRNode) -> Iterable[tuple[str, np.ndarray]]:
    """The arrays of a node by name."""
    given = node.arrays if isinstance(node, Extension) else vars(node)
    for what, value in given.items():
        if what in ("metadata", "input_type", "output_type", "input_shape") or _is_rule(node, what, value):
            continue
        yield what, array(type(node).__name__, what, value)


def _is_rule(node: Any, what: str, value: Any) -> bool:
    """True for the padding of a convolution in words, ``"same"`` or ``"valid"``."""
    return what == "padding" and isinstance(node, nir.Conv1d | nir.Conv2d) and isinstance(value, str | bytes)


def _check_count(name: str, what: str, value: Any, least: int | None, most: int) -> None:
    array = np.asarray(value)
    alone = what in _SINGLE
    fits = array.ndim == 0 if alone else array.size in (1, most)
    whole = fits and bool((array == np.floor(array)).all())
    if not whole or (least is not None and (array < least).any()):
        limit = "" if least is None else f" >= {least}"
        raise NIRFileError(
            f"node {name!r}: {what} is {np.array2string(array, threshold=4)}; expected {'one' if most == 1 else 'two'} "
            f"whole number{'' if most == 1 else 's'}{' without axes' if alone else ''}{limit}."
        )


def _check_convolution(name: str, node: Any) -> None:
    weight, bias, groups = np.shape(node.weight), np.shape(node.bias), int(node.groups)
    if len(weight) != (3 if isinstance(node, nir.Conv1d) else 4) or bias != weight[:1] or weight[0] % groups:
        raise ShapeError(
            f"{name!r} has a weight of shape {weight}, a bias of {bias} and {groups} groups; expected a weight (out, "
            f"in/groups, {'L' if isinstance(node, nir.Conv1d) else 'H, W'}), a bias (out,), and groups that divide out."
        )


def _check_neuron(name: str, node: Any) -> None:
    shapes = {key: np.shape(getattr(node, key)) for key in NATIVE[type(node).__name__]}
    full = shapes.get("v_threshold", shapes["r"])
    if wrong := {k: s for k, s in shapes.items() if s not in ((), (1,), full)}:
        raise ShapeError(f"{name!r} has neurons of shape {full}, but {wrong}; expected one value per neuron.")


def _check_metadata(name: str, node: nir.NIRNode) -> None:
    """Ours says the same kind of neuron as the node is, and has all of its numbers."""
    spec = metadata.read_spec(node, name)
    if spec is None or spec.kind not in VALUES:
        return
    if spec.kind in NATIVE and (
        type(node).__name__ != spec.kind or set(NATIVE[spec.kind]) - set(spec.values)
    ):
        raise NIRFileError(
            f"node {name!r}: its snnax metadata is of a {spec.kind} with {sorted(spec.values)}. Remove the key 'snnax' "
            "from its metadata to read the node by NIR's own semantics."
        )
