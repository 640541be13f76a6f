"""What a layer has in a ``state_dict``: torch's names and layouts, and where flax keeps the same numbers.

A layer joins by one function under :data:`entries_of`, and tells the axes of its samples by one under :data:`axes_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.conventions import (
    kernel_from_torch,
    kernel_to_torch,
    per_neuron_first,
    per_neuron_last,
    same_shape,
)
from snnax.interop.layers.registry import Table

Array = np.ndarray
Keys = tuple[str, ...]
Given = Mapping[str, Array]
Put = Callable[[Array | None, Array], Array]


@dataclass(frozen=True)
class Entry:
    """One array of a layer.

    Attributes:
        key: its name in the ``state_dict``, without the layer's.
        value: its present value, in torch's layout.
        path: where it is, or would be, among the layer's variables; ``None`` for what flax does not keep.
        put: the new value of the array at ``path``, from that one (``None`` if it is not there) and torch's.
        check: what is wrong with torch's value, given all of the layer's, or ``None``.
        setting: it may be an argument of the module instead: it is stored only if it differs.
        optional: it may be missing.
    """

    key: str
    value: Array
    path: Keys | None = None
    put: Put = lambda _, new: new
    check: Callable[[Array, Given], str | None] | None = None
    setting: bool = False
    optional: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape can take its place; settings may have axes of length 1 in front."""
        if not self.setting:
            return shape == self.value.shape
        return same_shape(shape, self.value.shape)


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        path: of its variables, in each collection.
        name: in the ``state_dict``.
        module: the flax module.
        rank: axes of its input without the batch, if known.
    """

    path: Keys
    name: str
    module: Any
    rank: int | None = None


Rule = Callable[[Layer, Mapping[str, Any]], list[Entry]]
entries_of: Table[Rule] = Table("rule for its state_dict")
"""Of a layer and its own variables, by collection; a subclass has its parent's."""
axes_of: Table[Callable[[Any, int | None], int | None]] = Table("rule for its axes")
"""Of a module and the axes of one sample that enters, if known: those of one that leaves, if that tells them."""


def find(variables: Mapping[str, Any], path: Keys) -> Array | None:
    """The array at ``path``, or ``None``."""
    value: Any = variables
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return np.asarray(value)


def there(layer: Layer, variables: Mapping[str, Any], path: Keys) -> Array:
    """The array at ``path``; :class:`~snnax.errors.ConversionError` if it is not there."""
    value = find(variables, path)
    if value is None:
        raise ConversionError(
            layer.name or type(layer.module).__name__, f"its {'/'.join(path)} is not among the variables",
            "Pass what init or from_snntorch returned.",
        )  # fmt: skip
    return value


def kernel(layer: Layer, variables: Mapping[str, Any], key: str, *path: str) -> Entry:
    """A weight: ``(out, in)`` there and ``(in, out)`` here, ``(O, I, H, W)`` there and ``(H, W, I, O)`` here."""
    value = kernel_to_torch(there(layer, variables, path))
    return Entry(key, value, path, lambda _, new: kernel_from_torch(new))


def plain(layer: Layer, variables: Mapping[str, Any], key: str, *path: str) -> Entry:
    """An array that is the same on both sides."""
    return Entry(key, there(layer, variables, path), path)


def affine(layer: Layer, variables: Mapping[str, Any], prefix: str, *path: str) -> list[Entry]:
    """Weight and, if there is one, bias."""
    found = [kernel(layer, variables, f"{prefix}weight", *path, "kernel")]
    if find(variables, (*path, "bias")) is not None:
        found.append(plain(layer, variables, f"{prefix}bias", *path, "bias"))
    return found


def number(
    layer: Layer, variables: Mapping[str, Any], name: str, *, learn: bool | None = None, field: Any = None
) -> Entry:
    """A decay, a threshold, a weight for each neuron: learned, stored, or an argument of the module.

    Args:
        layer: the layer.
        variables: its own, by collection.
        name: of the number.
        learn: whether it is learned; ``None``: as the module says.
        field: what it is where it is not stored, channels first; ``None``: as the module says.

    Raises:
        ConversionError: for an array for each neuron of samples of which the number of axes is not known.
    """
    learn = getattr(layer.module, f"learn_{name}", False) if learn is None else learn
    path = ("params" if learn else "buffers", name)
    stored = there(layer, variables, path) if learn else find(variables, path)
    rank, derived = layer.rank, stored is None and field is not None
    if stored is None:
        stored = np.asarray(getattr(layer.module, name) if field is None else field, np.float32)
    if rank is None and stored.size > 1:
        raise ConversionError(
            layer.name or type(layer.module).__name__,
            f"its {name} of shape {stored.shape} lies along other axes in torch, and the axes of its samples are not "
            "known",
            "Pass sample=x[0], one step's input.",
        )  # fmt: skip
    value = stored if rank is None or derived else _first(layer, name, stored, rank)

    def put(_: Array | None, new: Array) -> Array:
        if not stored.ndim or (new.size == 1 and not learn):
            return new
        last = new if rank is None else per_neuron_last(new, rank)
        return last if derived else last.reshape(stored.shape)

    return Entry(name, np.array(value), path, put, setting=True)


def _first(layer: Layer, name: str, value: Array, rank: int) -> Array:
    """Channels first, and with the axis for the batch where it has one."""
    try:
        first = per_neuron_first(value, rank)
        return first.reshape((1,) * (rank + 1 - first.ndim) + first.shape) if value.ndim > rank else first
    except ValueError as error:
        raise ConversionError(
            layer.name or type(layer.module).__name__,
            f"its {name} of shape {value.shape} has more axes than one of its samples, which have {rank}",
            "Give one number, or an array that broadcasts from the right to one sample.",
        ) from error
