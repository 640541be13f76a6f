"""What a module is made of, which parts of it are of the user's own making, and what those read from outside.

Flax compares modules by their class and fields; what a method reads beside them is found here, as far as it can be.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

import flax.linen as nn

__all__ = ["instances", "is_own", "is_own_class", "outside"]

_KNOWN = frozenset({"snnax", "flax", "jax", "numpy", "optax", "builtins", "typing", "abc", "collections"})


def instances(value: Any) -> Iterator[nn.Module]:
    """Every module in the fields of ``value``, itself first, each as often as it is there."""
    if isinstance(value, nn.Module):
        yield value
        for name in value.__dataclass_fields__:
            if name not in ("parent", "name"):
                yield from instances(getattr(value, name, None))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from instances(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from instances(item)


def is_own(net: nn.Module) -> bool:
    """Whether any part of ``net`` is of a class that neither this package nor Flax defines."""
    return any(True for _ in _own_parts(net))


def is_own_class(kind: type) -> bool:
    """Whether the class, or one that it comes from, is defined elsewhere."""
    return not all(_is_known(base.__module__) for base in kind.__mro__)


def _own_parts(net: nn.Module) -> Iterator[type | FunctionType]:
    for module in instances(net):
        yield from (base for base in type(module).__mro__ if not _is_known(base.__module__))
        if type(module) is nn.Sequential:  # which may hold functions that make modules
            yield from (layer for layer in module.layers if isinstance(layer, FunctionType))


def _is_known(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _KNOWN


class _Same:
    """Equal only to the same object, which it keeps alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def outside(net: nn.Module) -> tuple[Any, ...]:
    """What the own classes in ``net`` read beside their fields: class attributes, and what their methods name.

    That are global variables and those of enclosing functions, also of functions and classes that the methods name.
    Numbers, text and tuples of them count by value, other objects by identity: what changes inside of a list, an
    object or an array is not seen. What the methods themselves write, as a counter of their calls, does not count.
    """
    reader = _Reader()
    for part in _own_parts(net):
        if isinstance(part, type):
            reader.read_class(part)
        else:
            reader.read(part.__qualname__, part)
    return tuple(entry for entry in reader.found if entry[0] not in reader.written)


class _Reader:
    """Collects names and values, each function and class once."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Any]] = []
        self.written: set[str] = set()
        self._seen: set[Any] = set()

    def read_class(self, kind: type) -> None:
        """Attributes and methods of one class, without those of its bases."""
        if kind in self._seen or _is_known(kind.__module__):
            return
        self._seen.add(kind)
        for name, value in vars(kind).items():
            if not name.startswith("__") or name == "__call__":
                self.read(name, inspect.unwrap(value) if callable(value) else value)

    def read(self, name: str, value: Any) -> None:
        """One value, and what it reads if it is a function or a module's class."""
        self.found.append((name, _comparable(value)))
        if isinstance(value, type) and issubclass(value, nn.Module):
            self.read_class(value)
        if not isinstance(value, FunctionType) or value in self._seen or _is_known(value.__module__):
            return
        self._seen.add(value)
        for cell_name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                self.read(cell_name, cell.cell_contents)
            except ValueError:  # not filled yet
                continue
        read, written = _names(value.__code__)
        self.written |= written
        for named in read:
            if named in value.__globals__ and not inspect.ismodule(value.__globals__[named]):
                self.read(named, value.__globals__[named])


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """The names that a function, or one defined in it, looks up, and those of attributes and globals that it writes."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    stores = ("STORE_ATTR", "STORE_GLOBAL")
    written = {step.argval for step in dis.get_instructions(code) if step.opname in stores}
    read = dict.fromkeys([*code.co_names, *(name for names, _ in inner for name in names)])
    return tuple(read), frozenset(written).union(*(names for _, names in inner))


def _comparable(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_comparable(item) for item in value)
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return type(value), repr(value)
    return _Same(value)
