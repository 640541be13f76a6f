"""One registry of stateless layers: what each is in NIR, in flax, in NumPy, and in a ``state_dict``.

A *builder* makes a flax module of a NIR node; a *writer* makes a NIR node of a flax module; an *evaluation*
computes in NumPy what the node means, for the reference simulator and for bounds of rounding errors. Each family
registers them side by side in a file of its own. Extension nodes are registered by their ``op``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import flax.linen as nn
import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError, SnnaxError
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.readings import Reading

Variables = dict[str, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Site:
    """Where a node stands.

    Attributes:
        name: the node's name.
        shape_in: shape of one sample that enters, channels first.
        shape_out: shape of one sample that leaves, channels first; ``None`` while not known.
        dt: time step in seconds.
        reading: what NIR leaves open.
        wide: the model is in double precision, and so is what is written.
    """

    name: str
    shape_in: Shape
    shape_out: Shape | None
    dt: float
    reading: Reading = field(default_factory=Reading)
    wide: bool = False

    def real(self, value: Any = 0.0) -> Any:
        """The type in which ``value`` is written: float64 in a model of that precision, or for an array of it."""
        given = np.asarray(value)
        return np.float64 if self.wide or (given.dtype == np.float64 and given.ndim) else np.float32


@dataclass(frozen=True)
class Built:
    """A flax module with its variables, and what it makes of ``shape_in``."""

    module: nn.Module
    variables: Variables
    shape_out: Shape


Builder = Callable[[Any, Site], Built]
Writer = Callable[[Any, Variables, Site], nir.NIRNode]
Array = np.ndarray
Function = Callable[[Array], Array]
Maker = Callable[[str, Any, Any], Function]
Value = TypeVar("Value", bound=Callable[..., Any])
UNFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)
"""What NumPy raises where parameters or shapes do not fit."""


class Table(Generic[Value]):
    """Functions by class or, for extensions, by ``op``; called as a decorator, it registers one.

    Args:
        what: the functions are, for the error about a key that has one already.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.entries: dict[Any, Value] = {}

    def __call__(self, *keys: Any) -> Callable[[Value], Value]:
        """Register a function under these keys; refuses a second one under any of them."""

        def register(function: Value) -> Value:
            for key in keys:
                if key in self.entries:
                    raise KeyError(f"{key} has a {self.what} already")
                self.entries[key] = function
            return function

        return register

    def of(self, thing: Any) -> Value | None:
        """The function of a NIR node, or of a module's class or the nearest above it; ``None`` if it has none."""
        if isinstance(thing, nir.NIRNode):
            return self.entries.get(key_of(thing))
        return next((self.entries[kind] for kind in type(thing).__mro__ if kind in self.entries), None)

    def words(self) -> list[str]:
        """The keys in words."""
        return sorted(map(word, self.entries))


builds: Table[Builder] = Table("builder")
writes: Table[Writer] = Table("writer")
evaluates: Table[Maker] = Table("NumPy evaluation")
"""Of a node's name, the node and a dtype: the function that it is of channels-first samples ``[N, ...]``."""
sums: Table[Callable[[Any], int]] = Table("number of terms")
"""How many rounded terms a node adds up for one output; none where nothing is registered."""


def key_of(node: nir.NIRNode) -> Any:
    """Under what a node is registered: its class, of an extension its ``op``."""
    return node.op if isinstance(node, Extension) else type(node)


def word(key: Any) -> str:
    """A class by its name, an ``op`` as it is."""
    return key if isinstance(key, str) else str(key.__name__)


def build(node: nir.NIRNode, site: Site) -> Built:
    """The flax module of a NIR node.

    Raises:
        ConversionError: for a node without builder, or that its builder refuses.
    """
    builder = builds.of(node)
    if builder is None:
        raise ConversionError(
            site.name, f"snnax cannot import the NIR node {word(key_of(node))}", f"It imports {supported()}."
        )
    return builder(node, site)


def write(module: nn.Module, variables: Variables, site: Site) -> nir.NIRNode:
    """The NIR node of a flax module.

    Raises:
        ConversionError: for a module without writer, or that its writer refuses.
    """
    writer = writes.entries.get(type(module))  # by exact type: a subclass may do anything
    if writer is None:
        names = sorted(f"{c.__module__.split('.')[0]}.{c.__name__}" for c in writes.entries)
        raise ConversionError(
            site.name, f"{type(module).__module__}.{type(module).__name__} has no NIR form",
            f"Layers that have one: {', '.join(names)}.",
        )  # fmt: skip
    return writer(module, variables, site)


def supported() -> list[str]:
    """Names of the nodes that can be imported; extensions carry the prefix of their files."""
    return builds.words()


def applied(name: str, function: Function, x: Array) -> Array:
    """What a layer makes of ``x``; whatever stops it is a matter of shapes."""
    try:
        return function(x)
    except UNFIT as error:
        if isinstance(error, SnnaxError):
            raise
        raise ShapeError(f"{name!r} cannot take samples of shape {x.shape[1:]} ({error}).") from error


def cast(value: Any, dtype: Any) -> Array:
    """A parameter in the dtype of an evaluation; fractions are not made whole numbers."""
    return np.asarray(value).astype(dtype, casting="same_kind")


def broadcast(name: str, function: Any, value: Array, x: Array) -> Array:
    """``function(value, x)`` for a parameter that broadcasts to each sample."""
    if value.ndim >= x.ndim or np.broadcast_shapes(value.shape, x.shape[1:]) != x.shape[1:]:
        raise ShapeError(f"{name!r} has values of shape {value.shape}, its samples have {x.shape[1:]}.")
    return np.asarray(function(value, x))
