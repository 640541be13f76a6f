"""All numbers, switches and texts that a network can reach, by path: two snapshots show what a call changed.

A schedule may hang on a counter in a module, in an object or class that it uses, in a global, in a closure or in a
default argument. So attributes are followed, and so are the functions of the user's own code.
"""

from __future__ import annotations

import functools
import itertools
import random
import sysconfig
import types
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from snnax.interop.frameworks import LABELS
from snnax.interop.torch.held import OWN

Following = Callable[[list[Tensor]], list[Tensor]]
"""Finds, among tensors, those that depend on the sample."""

_DEPTH = 6
_LIBRARIES = ("torch", *LABELS, "snnax", "builtins")
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_ENTRIES = 10_000
_APART = (nn.Module, types.ModuleType, TorchFunctionMode)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def scalars(net: nn.Module, skip: Mapping[int, frozenset[str]], followed: Following) -> dict[str, Any]:
    """All numbers, switches and texts that the modules of a network hold or their functions name, by path.

    Args:
        net: the network.
        skip: names to leave out, by the id of a module.
        followed: finds tensors that depend on the sample, which are left out too.
    """
    walk = _Walk()
    for path, module in net.named_modules():
        own = {k: v for k, v in vars(module).items() if k not in OWN}
        for cls in type(module).__mro__:
            if users(cls):
                own = {**{k: v for k, v in vars(cls).items() if not k.startswith("__")}, **own}
        for name, value in {**own, **module._buffers, **module._parameters}.items():
            if name not in skip.get(id(module), ()):
                walk.value(f"{path}.{name}".lstrip("."), value, _DEPTH)
        for name in _HOOKS:
            for hook in vars(module)[name].values():
                walk.value(f"{path}.hook".lstrip("."), hook, _DEPTH)
    tensors = {k: v for k, v in walk.found.items() if isinstance(v, Tensor)}
    single = [t for t in tensors.values() if t.numel() == 1 and not t.is_meta]
    numbers = {id(t) for t in single} - {id(t) for t in followed(single)}
    return {
        k: v.detach().item() if k in tensors else v
        for k, v in walk.found.items()
        if k not in tensors or id(v) in numbers
    }


def chance() -> tuple[Any, ...]:
    """Where the random generators stand that a forward may draw from."""
    numpy: Any = np.random.get_state(legacy=False)
    keys = zlib.crc32(numpy["state"]["key"].tobytes())
    return random.getstate(), keys, numpy["state"]["pos"], zlib.crc32(torch.get_rng_state().numpy().tobytes())


class Draws:
    """Lets calls draw the same numbers of Python's and NumPy's generators, so that they can be compared."""

    def __init__(self) -> None:
        self._start: tuple[Any, Any] | None = None

    @contextmanager
    def same(self) -> Iterator[None]:
        """One call; the first one draws on, and those after it what that drew."""
        if self._start is None:
            self._start = (random.getstate(), np.random.get_state())
            yield
            return
        now = (random.getstate(), np.random.get_state())
        try:
            self._set(self._start)
            yield
        finally:
            self._set(now)

    @staticmethod
    def _set(state: tuple[Any, Any]) -> None:
        random.setstate(state[0])
        np.random.set_state(state[1])


class Kept(list[Any]):
    """A list of a copied module, which notes whether its length is asked for, so that outputs kept in it matter."""

    measured = False

    def __len__(self) -> int:
        self.measured = True
        return super().__len__()


def note_lengths(net: nn.Module) -> None:
    """Let the lists of a copy that is thrown away note whether a call measures them."""
    for module in net.modules():
        lists = {k: Kept(v) for k, v in vars(module).items() if type(v) is list and k not in OWN}
        vars(module).update(lists)


def _drawn(generator: Any) -> str:
    """Where a random generator stands."""
    if isinstance(generator, torch.Generator):
        state: Any = generator.get_state().tolist()
    elif isinstance(generator, random.Random):
        state = generator.getstate()
    else:
        state = (
            generator.bit_generator.state
            if isinstance(generator, np.random.Generator)
            else generator.get_state()
        )
    return f"a state with checksum {zlib.crc32(repr(state).encode()):x}"


def users(cls: type) -> bool:
    """Whether a class is of the user's own code."""
    functions = [f for f in vars(cls).values() if isinstance(f, types.FunctionType)]
    return cls.__module__.partition(".")[0] not in _LIBRARIES and all(map(written, functions))


def written(function: types.FunctionType) -> bool:
    """Whether a function is of the user's own code, and not of something installed."""
    library = (function.__module__ or "").partition(".")[0] in _LIBRARIES
    return not library and not function.__code__.co_filename.startswith((*_INSTALLED, "<frozen"))


def names(code: types.CodeType) -> Iterator[str]:
    """What a function names, the functions inside it included."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from names(part)


class _Walk:
    """Follows everything once, and keeps what it followed, so that no id is given out twice."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._seen: dict[int, Any] = {}

    def value(self, path: str, value: Any, depth: int) -> None:
        """Note a value, or follow its parts."""
        if value is None or isinstance(value, bool | int | float | complex | str | Tensor):
            self.found[path] = value
            return
        if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
            small = value.size <= 4
            self.found[path] = (
                value.tolist() if small else f"an array with checksum {zlib.crc32(value.tobytes()):x}"
            )
            return
        if not depth or isinstance(value, _APART) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        for key, part in self._parts(path, value):
            self.value(f"{path}.{key}" if key else path, part, depth - 1)

    def _parts(self, path: str, value: Any) -> Iterator[tuple[str, Any]]:
        """What a value consists of, by name; functions note what they name as globals and variables."""
        if isinstance(value, types.FunctionType):
            if written(value):
                self._function(value)
        elif isinstance(value, types.MethodType):
            yield from (("", value.__func__), ("", value.__self__))
        elif isinstance(value, functools.partial):
            yield from (("", value.func), ("args", value.args), ("keywords", value.keywords))
        elif isinstance(value, staticmethod | classmethod | property):
            yield "", value.fget if isinstance(value, property) else value.__func__
        elif hasattr(type(value), "cache_info"):  # of an instance, some ask their own rules
            yield "misses", value.cache_info().misses
            yield "", getattr(value, "__wrapped__", None)
        elif isinstance(value, random.Random | np.random.Generator | np.random.RandomState | torch.Generator):
            yield "state", _drawn(value)
        elif isinstance(value, dict | list | tuple | set | frozenset | deque):
            yield from _items(value)
        elif hasattr(type(value), "__next__"):
            yield from _position(value)
        elif isinstance(value, type):
            if users(value):
                yield from (
                    (k, v) for k, v in vars(value).items() if not k.startswith("__") or k == "__call__"
                )
        elif not callable(value) or users(type(value)):
            yield from getattr(value, "__dict__", {}).items()
            for cls in type(value).__mro__:
                slots = vars(cls).get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    if not name.startswith("__"):  # "__weakref__" of JAX's arrays cannot be asked for
                        yield name, getattr(value, name, None)
            yield "", type(value)

    def _function(self, function: types.FunctionType) -> None:
        name, depth = function.__name__, _DEPTH - 1
        for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with_value = cell if cell != types.CellType() else None
            if with_value is not None:
                self.value(f"variable {free}", cell.cell_contents, depth)
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        self.value(f"default arguments of {name}", defaults, depth)
        self.value(f"function {name}", dict(vars(function)), depth)
        for used in sorted(set(names(function.__code__))):
            if used not in function.__globals__:
                continue
            thing = function.__globals__[used]
            self.value(f"global {used}", thing, depth)
            if isinstance(thing, types.ModuleType) and not _installed(thing):
                for inner in sorted(set(names(function.__code__)) & {*vars(thing)}):
                    self.value(f"global {used}.{inner}", vars(thing)[inner], depth)


def _installed(module: types.ModuleType) -> bool:
    home = getattr(module, "__file__", None) or ""
    return not home or home.startswith(_INSTALLED) or module.__name__.partition(".")[0] in _LIBRARIES


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a container, and how many they are; a list of outputs is a record that is kept."""
    mapping = isinstance(value, dict)
    parts = [(str(k), v) for k, v in value.items()] if mapping else [(str(i), v) for i, v in enumerate(value)]
    if getattr(value, "measured", False) or not any(isinstance(part, Tensor) for _, part in parts):
        yield "length", len(parts)
    yield from parts[:_ENTRIES]


def _position(value: Any) -> Iterator[tuple[str, Any]]:
    """How far an iterator or generator is."""
    if isinstance(value, types.GeneratorType):
        frame = value.gi_frame
        yield "rest", -1 if frame is None else frame.f_lasti
        yield from () if frame is None else frame.f_locals.items()
        return
    rest = length_hint(value, -1)
    yield "rest", rest
    if isinstance(value, itertools.count):
        yield "next", repr(value)
    elif rest < 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its end in Python 3.14
            try:
                yield "state", list(value.__reduce__()[1:])
            except TypeError:
                return
