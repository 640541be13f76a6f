"""Python source as ``ruff format`` leaves it, and flax modules as the calls that make them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

import snnax
from snnax.errors import ConversionError, SnnaxError
from snnax.layers.given import Held
from snnax.layers.rounding import rounding_of
from snnax.network.containers import Graph, Sequential
from snnax.network.topology import INPUT
from snnax.neurons.base import SpikingNeuron
from snnax.neurons.quantize import NearestLevel
from snnax.neurons.values import FrozenArray
from snnax.surrogate import Surrogate

# --- Text as the formatter leaves it: what fits stays on one line, the rest goes one item to a line
# A bracket that is taken apart gets a comma after its last item, so the formatter keeps it so at any line length.

WIDTH = 88
"""The formatter's default; what is shorter stays as it is at longer line lengths too."""


@dataclass
class Bracket:
    """A call, list, tuple or dict: ``opening`` items ``closing``; a string is an expression without parts.

    Attributes:
        opening: up to the bracket, as ``"nn.Dense("``.
        items: what stands before each expression (``"beta="``, ``'"fc": '`` or nothing), and the expression.
        closing: the bracket.
        comments: one for each item or nothing.
    """

    opening: str
    items: list[tuple[str, Expression]]
    closing: str
    comments: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """On one line."""
        comma = "," if self.opening == "(" and len(self.items) == 1 else ""
        return self.opening + ", ".join(f"{head}{value}" for head, value in self.items) + comma + self.closing


Expression = str | Bracket


def call(function: str, positional: Sequence[Expression] = (), /, **named: Expression) -> Bracket:
    """``function(positional, named=...)``."""
    items = [("", value) for value in positional] + [(f"{name}=", value) for name, value in named.items()]
    return Bracket(f"{function}(", items, ")")


def literal(value: Any) -> Expression:
    """A constant as it is written, strings in double quotes.

    Raises:
        TypeError: for what has no such form.

    Example:
        >>> from snnax.interop.expressions import literal
        >>> [str(literal(v)) for v in ("a", 1.0, (1, 2), float("inf"), None)]
        ['"a"', '1.0', '(1, 2)', 'float("inf")', 'None']
    """
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if np.isfinite(value) else f'float("{value}")'
    if isinstance(value, tuple):
        return Bracket("(", [("", literal(v)) for v in value], ")")
    if isinstance(value, list):
        return Bracket("[", [("", literal(v)) for v in value], "]")
    raise TypeError(f"{value!r} cannot be written as a constant")


def quoted(text: str) -> str:
    """A string as the formatter quotes it: in double quotes, unless that needs more backslashes."""
    plain = repr(text)
    if plain[0] == '"' or '"' in text:
        return plain
    return f'"{plain[1:-1]}"'


def readable(text: str) -> str:
    """``text`` as part of a comment or docstring: printable, without quotes that could end it."""
    return "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text)


def lines(head: str, value: Expression, tail: str = "", indent: int = 4) -> list[str]:
    """``head value tail`` as lines.

    Example:
        >>> from snnax.interop.expressions import call, lines
        >>> lines("model = ", call("snn.Sequential", ["layers"]))
        ['    model = snn.Sequential(layers)']
    """
    space = " " * indent
    one = f"{space}{head}{value}{tail}"
    if isinstance(value, str) or not value.items or (len(one) <= WIDTH and not any(value.comments)):
        return [one]
    found = [f"{space}{head}{value.opening}"]
    notes = value.comments or [""] * len(value.items)
    for (before, item), note in zip(value.items, notes, strict=True):
        part = lines(before, item, ",", indent + 4)
        if not note:
            found += part
        elif len(part) == 1 and len(part[0]) + len(note) + 4 <= WIDTH:
            found.append(f"{part[0]}  # {note}")
        else:
            found += [f"{space}    # {note}", *part]
    return [*found, f"{space}{value.closing}{tail}"]


# --- Flax modules as Python expressions: the call that makes them, without what is the default anyway

# A person writes these arguments without their names.
_POSITIONAL = (
    "features", "kernel_size", "shape", "scale", "rate", "layers", "nodes", "edges", "state", "levels", "size",
    "function",
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
            options = {"channels_first": "True"} if module.channels_first else {}
            return call("snn.Sequential", [Bracket("[", layers, "]")], **options)
        if (rounding := rounding_of(module)) is not None:
            layer = self.new(path, module.clone(promote_dtype=promote_dtype))
            options = {"per_channel": "True"} if rounding.per_channel else {}
            return call("snn.quantized", [layer], bits=literal(rounding.bits), **options)
        kind = type(module)
        given = {f.name: getattr(module, f.name) for f in dataclasses.fields(kind) if f.init}
        # weights to start from are among the variables
        given = _plain(
            kind, {k: v for k, v in given.items() if k not in ("parent", "name") and not isinstance(v, Held)}
        )
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
        if isinstance(value, np.dtype):
            return f"jnp.{value.name}"
        if callable(value):
            for prefix, home in (("nn", nn), ("jnp", jnp), ("nn.initializers", nn.initializers)):
                name = getattr(value, "__name__", "")
                if name.isidentifier() and getattr(home, name, None) is value:
                    return f"{prefix}.{name}"
        try:
            return literal(value)
        except TypeError as error:
            raise ConversionError(
                path,
                f"its argument {key}={value!r} cannot be written down",
                "Use a function of flax.linen or jax.numpy, as nn.gelu, or a module of your own."
                if isinstance(value, FunctionType)
                else "Leave it at its default.",
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
