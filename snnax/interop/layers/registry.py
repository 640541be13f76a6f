"""One registry of converters between NIR nodes and flax modules.

A *builder* makes a flax module of a NIR node; a *writer* makes a NIR node of a flax module. Each family of
nodes registers both side by side in a file of its own. Extension nodes are registered by their ``op``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax.errors import ConversionError
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

_BUILDERS: dict[Any, Builder] = {}
_WRITERS: dict[type, Writer] = {}


def builds(*keys: Any) -> Callable[[Builder], Builder]:
    """Register a builder for NIR node classes or, by name, for extensions."""

    def register(function: Builder) -> Builder:
        for key in keys:
            if key in _BUILDERS:
                raise KeyError(f"{key} has a builder already")
            _BUILDERS[key] = function
        return function

    return register


def writes(*classes: type) -> Callable[[Writer], Writer]:
    """Register a writer for flax module classes."""

    def register(function: Writer) -> Writer:
        for key in classes:
            if key in _WRITERS:
                raise KeyError(f"{key} has a writer already")
            _WRITERS[key] = function
        return function

    return register


def build(node: nir.NIRNode, site: Site) -> Built:
    """The flax module of a NIR node.

    Raises:
        ConversionError: for a node without builder, or that its builder refuses.
    """
    key = node.op if isinstance(node, Extension) else type(node)
    if key not in _BUILDERS:
        kind = key if isinstance(key, str) else key.__name__
        raise ConversionError(
            site.name, f"snnax cannot import the NIR node {kind}", f"It imports {supported()}."
        )
    return _BUILDERS[key](node, site)


def write(module: nn.Module, variables: Variables, site: Site) -> nir.NIRNode:
    """The NIR node of a flax module.

    Raises:
        ConversionError: for a module without writer, or that its writer refuses.
    """
    if type(module) not in _WRITERS:
        names = sorted(f"{c.__module__.split('.')[0]}.{c.__name__}" for c in _WRITERS)
        raise ConversionError(
            site.name, f"{type(module).__module__}.{type(module).__name__} has no NIR form",
            f"Layers that have one: {', '.join(names)}.",
        )  # fmt: skip
    return _WRITERS[type(module)](module, variables, site)


def supported() -> list[str]:
    """Names of the nodes that can be imported; extensions carry the prefix of their files."""
    return sorted(k if isinstance(k, str) else k.__name__ for k in _BUILDERS)
