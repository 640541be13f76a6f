"""Flax modules as Python expressions: the call that makes them, without what is the default anyway."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

import snnax
from snnax.errors import ConversionError, SnnaxError
from snnax.interop.source_text import Bracket, Expression, call, literal, quoted
from snnax.network.containers import Graph, Sequential
from snnax.network.topology import INPUT
from snnax.neurons.base import SpikingNeuron
from snnax.neurons.quantize import NearestLevel
from snnax.neurons.values import FrozenArray
from snnax.surrogate import Surrogate

# A person writes these arguments without their names.
_POSITIONAL = (
    "features", "kernel_size", "shape", "scale", "rate", "layers", "nodes", "edges", "state", "levels", "size",
)  # fmt: skip
_ONE_FOR_ALL = {"Conv": ("strides", "kernel_dilation", "padding")}
_MOST_LEVELS = 8


class Writer:
    """Writes modules, and collects what their source needs.

    Args:
        arrays: the variables by flat path, as ``"params/fc/kernel"``.

    Attributes:
        constants: arrays that are arguments of modules and no variables, by flat path.
        imports: further import lines.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.constants: dict[str, np.ndarray] = {}
        self.imports: set[str] = set()
        self.labels: dict[Any, str] = {}

    def module(self, path: str, module: nn.Module) -> Expression:
        """The call that makes a module, or its label, if it is at several places.

        Raises:
            ConversionError: for a class or an argument that has no public name.
        """
        if module._id in self.labels:
            return self.labels[module._id]
        return self.new(path, module)

    def new(self, path: str, module: nn.Module) -> Expression:
        """The call that makes a module."""
        if isinstance(module, Graph):
            return self._graph(path, module)
        if isinstance(module, Sequential):
            layers = [("", self.module(f"{path}/{n}", m)) for n, m in module.members().items()]
            return call("snn.Sequential", [Bracket("[", layers, "]")])
        kind = type(module)
        given = {f.name: getattr(module, f.name) for f in dataclasses.fields(kind) if f.init}
        given = _plain(kind, {k: v for k, v in given.items() if k not in ("parent", "name")})
        positional: list[Expression] = []
        named: dict[str, Expression] = {}
        leading = not isinstance(module, SpikingNeuron)
        for key, value in _needed(kind, given).items():
            written = self._argument(path, kind, key, value, given)
            leading = leading and key in _POSITIONAL and not named
            if leading:
                positional.append(written)
            else:
                named[key] = written
        return call(self._class(path, kind), positional, **named)

    def _graph(self, path: str, module: Graph) -> Expression:
        nodes = [(f"{quoted(n)}: ", self.module(f"{path}/{n}", m)) for n, m in module.members().items()]
        return call(
            "snn.Graph",
            [Bracket("{", nodes, "}"), literal(edges_in_order(module))],
            **graph_options(module),
        )

    def _class(self, path: str, kind: type) -> str:
        for prefix, public in (("snn", snnax), ("nn", nn)):
            if getattr(public, kind.__name__, None) is kind:
                return f"{prefix}.{kind.__name__}"
        home = inspect.getmodule(kind)
        if kind.__module__.startswith("snnax.") and kind.__name__ in getattr(
            home, "__all__", (kind.__name__,)
        ):
            self.imports.add(f"from {kind.__module__} import {kind.__name__}")
            return kind.__name__
        raise ConversionError(
            path,
            f"{kind.__module__}.{kind.__name__} is no public class of snnax or flax.linen",
            "Build the network of layers of snnax and flax.linen.",
        )

    def _argument(self, path: str, kind: type, key: str, value: Any, given: Mapping[str, Any]) -> Expression:
        if isinstance(value, nn.Module):
            return self.module(f"{path}/{key}", value)
        if isinstance(value, FrozenArray | np.ndarray):
            return self._array(path, key, np.asarray(value))
        if isinstance(value, Surrogate):
            options = {k: self._constant(path, key, v) for k, v in value.options.items()}
            return call(f"snn.surrogate.{value.name}", (), **options)
        if isinstance(value, NearestLevel):
            levels = value.levels
            if len(levels) > _MOST_LEVELS:
                return call(self._class(path, NearestLevel), [self._array(path, key, np.asarray(levels))])
            return call(self._class(path, NearestLevel), [literal(list(levels))])
        if isinstance(value, float):
            short = str(np.float32(value))
            tidier = len(repr(value)) > len(short) + 4
            if tidier and _same(kind, {**given, key: np.float32(short)}, key, value):
                self.imports.add("from numpy import float32")
                return call("float32", [short])
        return self._constant(path, key, value)

    def _constant(self, path: str, key: str, value: Any) -> Expression:
        if callable(value):
            for prefix, home in (("nn", nn), ("jnp", jnp), ("nn.initializers", nn.initializers)):
                name = getattr(value, "__name__", "")
                if name.isidentifier() and getattr(home, name, None) is value:
                    return f"{prefix}.{name}"
        try:
            return literal(value)
        except TypeError as error:
            raise ConversionError(
                path, f"its argument {key}={value!r} cannot be written down", "Leave it at its default."
            ) from error

    def _array(self, path: str, key: str, value: np.ndarray) -> Expression:
        """From the weights file: the variable that holds it, or an entry of its own."""
        for collection in ("params", "buffers"):
            flat = f"{collection}/{path}/{key}"
            if flat in self.arrays and self.arrays[flat].shape == value.shape:
                return f"weights[{quoted(flat)}]"
        flat = f"constants/{path}/{key}"
        self.constants[flat] = value
        return f"weights[{quoted(flat)}]"


def edges_in_order(module: Graph) -> list[tuple[str, str]]:
    """The edges from the input to the output, where that leaves the graph as it is, else in their own order."""
    edges = [(str(s), str(t)) for s, t in module.edges]
    places = {name: place for place, name in enumerate((INPUT, *module.plan().order))}
    ordered = sorted(edges, key=lambda edge: places[edge[0]])
    return ordered if module.clone(edges=ordered).plan() == module.plan() else edges


def graph_options(module: Graph) -> dict[str, Expression]:
    """The arguments of a graph after its nodes and edges, where they are not the defaults."""
    given = {
        f.name: getattr(module, f.name)
        for f in dataclasses.fields(Graph)
        if f.init and f.name not in ("nodes", "edges", "parent", "name")
    }
    defaults = {f.name: f.default for f in dataclasses.fields(Graph)}
    chosen = {key: value for key, value in given.items() if not _equal(value, defaults[key])}
    for key in ("outputs", "delayed", "early"):
        if chosen.get(key):
            chosen[key] = [tuple(pair) for pair in chosen[key]]
    return {key: literal(value) for key, value in chosen.items()}


def _plain(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """``strides=(2, 2)`` as ``strides=2``, where the layer takes one number for all axes."""
    found = dict(given)
    for key in _ONE_FOR_ALL.get(kind.__name__, ()):
        value = found[key]
        while isinstance(value, tuple | list) and len(value) and all(v == value[0] for v in value):
            value = value[0]
        if isinstance(value, int):
            found[key] = value
    return found


def _needed(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments without which the module would be another one."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    kept = dict(given)
    for key, value in given.items():
        default = fields[key].default
        if default is dataclasses.MISSING and fields[key].default_factory is dataclasses.MISSING:
            uniform = isinstance(value, tuple) and len(value) > 1 and len(set(map(repr, value))) == 1
            if uniform and _same(kind, {**kept, key: value[0]}, key, value):
                kept[key] = value[0]
            continue
        less = {k: v for k, v in kept.items() if k != key}
        if _equal(value, default) or _same(kind, less, key, value):
            kept = less
    return kept


def _same(kind: type, arguments: Mapping[str, Any], key: str, value: Any) -> bool:
    """Whether these arguments give the module this value of ``key``."""
    try:
        return _equal(getattr(kind(**arguments), key), value)
    except (SnnaxError, TypeError, ValueError):
        return False


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    try:
        return bool(a == b)
    except ValueError:
        return False
