"""What the methods and functions of a network read beside its fields: a program is right only while that stays.

Flax compares modules by their class and fields, and so does ``jax.jit`` where a module is a static argument.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from snnax.network.places import Places
from snnax.neurons.own import instances, is_known, own_bases

__all__ = ["Entry", "is_foreign", "outside"]

Entry = tuple[str, Any]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MOST = 10_000
"""Values that are read at most; what comes after them counts by identity."""


class _Same:
    """Equal only to the same object, which it keeps alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def outside(net: nn.Module) -> tuple[tuple[Entry, ...], Places]:
    """What ``net`` reads beside its fields, as ``(name, what it is now)``; two calls agree if all of it is the same.

    Besides where all of it was found: while that holds, another call would find the same.

    That are class attributes of the user's own modules, and what their methods, and functions in fields of any module
    (as ``spike_grad``), name: global variables, those of enclosing functions, attributes of the user's own modules of
    Python, and so on through functions, classes and objects that they name. Numbers, text, NumPy arrays and what is
    in containers and objects count by value; objects of JAX, and what lies beyond 10 000 values, by identity.
    """
    reader = _Reader()
    for module in instances(net):
        kind: Any = type(module)
        for base in own_bases(kind):
            reader.read_class(base)
        reader.read_fields(module)
    return tuple(reader.found), reader.places


class _Reader:
    """Collects names and values, each function, class and object once."""

    def __init__(self) -> None:
        self.found: list[Entry] = []
        self.places = Places()
        self._seen: set[int] = set()
        self._left = _MOST
        self._in_fields = False  # what is there is compared by Flax as well: identity says too much

    def read_class(self, kind: type) -> None:
        """Attributes and methods of one class, without those of its bases."""
        if not self._is_new(kind):
            return
        self.places.contents(vars(kind))
        with self._beside_fields():
            for name, value in vars(kind).items():
                if not name.startswith("__") or name == "__call__":
                    self.read(f"{kind.__module__}.{kind.__qualname__}.{name}", value)

    def read_fields(self, module: nn.Module) -> None:
        """What is in the fields of one module, which compare equal while an object in them changes."""
        self._in_fields = True
        self.places.contents(vars(module))
        kind: Any = type(module)
        for name in _field_names(kind):
            value = getattr(module, name, None)
            if type(value) in _PLAIN or isinstance(value, nn.Module):
                continue
            if is_known(getattr(value, "__module__", None)) and not isinstance(value, Mapping):
                continue  # a function, or an object that does not change
            self.read(f"{kind.__qualname__}.{name}", value)
        self._in_fields = False

    @contextmanager
    def _beside_fields(self) -> Iterator[None]:
        before, self._in_fields = self._in_fields, False
        yield
        self._in_fields = before

    def _same(self, value: Any) -> Any:
        return type(value) if self._in_fields else _Same(value)

    def read(self, name: str, value: Any, names: tuple[str, ...] = ()) -> None:
        """One value, and what it reads if it is a function; ``names`` are those that the reader of a module uses."""
        if isinstance(value, ModuleType):
            for attribute in names if not is_known(value.__name__) else ():
                self.places.item(vars(value), attribute)
                held = vars(value).get(attribute, value)
                if not is_foreign(value.__name__) or isinstance(held, (*_PLAIN, Mapping)):  # as os.environ
                    self._attribute(value, attribute, names)
            return
        self.found.append((name, self._now(name, value)))

    def _attribute(self, module: ModuleType, name: str, names: tuple[str, ...]) -> None:
        if name in vars(module) and self._is_new(module, name):
            self.read(f"{module.__name__}.{name}", vars(module)[name], names)

    def _now(self, name: str, value: Any) -> Any:
        """What ``value`` is now, to be compared; functions and objects in it are read as entries called ``name``."""
        self._left -= 1
        if isinstance(value, _PLAIN):
            return type(value), repr(value)
        if self._left < 0 or isinstance(value, jax.Array | np.random.Generator | np.dtype):
            return self._same(value)
        if isinstance(value, np.ndarray | np.generic):
            self.places.unsure()
            array = np.ascontiguousarray(value)
            if array.dtype.hasobject:
                return self._same(value)
            return array.shape, str(array.dtype), hashlib.blake2b(array.tobytes()).digest()
        if isinstance(value, tuple | list | set | frozenset | Mapping):
            return self._contents(name, value)
        if (parts := _parts(value)) is not None:
            for part in parts:
                self.places.attribute(value, part)
            return self._same(value), tuple(self._now(name, getattr(value, part, None)) for part in parts)
        if isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, type):
            kind: Any = value
            for base in own_bases(kind):
                if not is_foreign(base.__module__):
                    self.read_class(base)
        elif isinstance(value, nn.Module):
            kind = type(value)
            return self._object(name, value, {n: getattr(value, n, None) for n in _field_names(kind)})
        elif not is_known(type(value).__module__):
            return self._object(name, value, getattr(value, "__dict__", {}))
        return self._same(value)

    def _object(self, name: str, value: Any, held: Mapping[str, Any]) -> Any:
        """An object: its class and what it holds; where that is all of it, another that holds the same is as good."""
        if not self._is_new(value):
            return self._same(value)
        self._now(name, type(value))
        self.places.attribute(value, "__class__")
        self.places.attribute(value, "__dict__")
        self.places.contents(getattr(value, "__dict__", {}))
        identity = (
            self._same(value)
            if is_foreign(type(value).__module__) and not isinstance(value, nn.Module)
            else 0
        )
        return identity, type(value), self._contents(name, held)

    def _contents(self, name: str, value: Any) -> Any:
        if not self._is_new(value):
            return self._same(value)
        if isinstance(value, set | frozenset):
            self.places.unsure()
            return type(value), frozenset(self._now(name, item) for item in value)
        self.places.contents(value)
        items: Any = value
        if isinstance(value, Mapping):
            items = [part for key in list(value) for part in (key, value[key])]
        found: list[Any] = []
        for item in items:
            if self._left < 0:
                return self._same(value), tuple(found)
            found.append(self._now(name, item))
        return type(value), tuple(found)

    def _is_new(self, value: Any, attribute: str = "") -> bool:
        """Whether it is met for the first time; what is in a circle is read once."""
        mark = hash((id(value), attribute)) if attribute else id(value)
        new = mark not in self._seen
        self._seen.add(mark)
        return new

    def _function(self, function: FunctionType) -> None:
        """What a function names."""

        def goes_on(wrapper: Any) -> bool:
            self.places.attribute(wrapper, "__wrapped__")
            return False

        inner = inspect.unwrap(function, stop=goes_on)  # Flax wraps methods
        goes_on(inner)
        if inner is not function:
            self._now(function.__qualname__, inner)
        if is_foreign(function.__module__) or not self._is_new(function):
            return
        with self._beside_fields():
            self._named(function)

    def _named(self, function: FunctionType) -> None:
        where = f"{function.__module__}.{function.__qualname__}"
        for part in ("__code__", "__defaults__", "__kwdefaults__"):
            self.places.attribute(function, part)
        for default in (function.__defaults__ or (), function.__kwdefaults__ or {}):
            if default:
                self.read(f"{where}()", default)
        names = _names(function.__code__)
        for cell_name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.places.attribute(cell, "cell_contents")
            try:
                self.read(f"{where}.{cell_name}", cell.cell_contents, names)
            except ValueError:  # not filled yet
                continue
        for named in names:
            self.places.item(function.__globals__, named)
            if named in function.__globals__:
                self.read(f"{function.__module__}.{named}", function.__globals__[named], names)
                continue
            self.places.item(sys.modules, named)
            if named in sys.modules:  # imported where it is used
                self.read(named, sys.modules[named], names)


def _parts(value: Any) -> tuple[str, ...] | None:
    """The attributes that hold what something that is called is made of."""
    return next((parts for kind, parts in _PARTS if isinstance(value, kind)), None)


_PARTS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (MethodType, ("__self__", "__func__")),
    (staticmethod | classmethod, ("__func__",)),
    (property, ("fget", "fset")),
    (functools.partial, ("func", "args", "keywords")),
    (jax.custom_jvp | jax.custom_vjp, ("fun", "jvp", "fwd", "bwd")),
    (functools.cached_property, ("func",)),
    (nn.module.DescriptorWrapper, ("wrapped",)),  # what Flax makes of a property
)


@lru_cache(maxsize=1024)
def _field_names(kind: Any) -> tuple[str, ...]:
    """The fields of a module, without what Flax puts there."""
    return tuple(field.name for field in dataclasses.fields(kind) if field.name not in ("parent", "name"))


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[str, ...]:
    """The names that a function, or one defined in it, looks up, also those of attributes."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for names in inner for name in names)]))


@lru_cache(maxsize=1024)
def is_foreign(module: str | None) -> bool:
    """Whether a module of Python is installed, and not where somebody writes their networks."""
    top = (module or "").partition(".")[0]
    if is_known(top) or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return file.startswith(tuple(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")))
