"""One step outside of ``jit`` as one compiled program: loops that Python runs, as tutorials write them, stay quick.

Flax takes about a millisecond to set up a call and dispatch its operations one by one; the program takes ten
microseconds. A module has one wherever that cannot be told from its call: all of it is made by this package or Flax,
and it is called with arrays whose values are known. Whatever a user wrote runs as Python, each time.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.core import FrozenDict

from snnax import checks

__all__ = ["Held", "Made", "Same", "intercepted", "made", "program_for"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.dtype, np.generic, enum.Enum)

Program = Callable[..., Any]


def program_for(module: nn.Module, variables: Any, args: Any, options: Mapping[str, Any]) -> Program | None:
    """What does as ``module.apply(variables, *args, **options)``, called without arguments; ``None`` if nothing does.

    An error in it is to be forgotten: the call itself raises it with its own words and place.
    """
    if not options.keys() <= {"mutable", "rngs"} or intercepted():
        return None
    mutable, rngs = options.get("mutable", False), options.get("rngs") or {}
    names = tuple(mutable) if isinstance(mutable, list | tuple) else mutable
    if not isinstance(rngs, dict) or not isinstance(names, bool | str | tuple):
        return None
    if type(variables) not in (dict, FrozenDict) or not all(
        map(_is_known_array, jax.tree.leaves((variables, rngs)))
    ):
        return None
    given = [_as_array(value) for value in args]
    if any(value is NotImplemented for value in given):
        return None
    found = _program_of(Same(module), names)
    if found is not None and not found.held.is_so():  # a field was assigned, which flax allows
        found = _found(module, names)
    return None if found is None else functools.partial(found.program, variables, rngs, *given)


class Same:
    """Equal only for the same object, which it keeps alive: a quicker question than whether two modules are equal."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.module is self.module

    def __hash__(self) -> int:
        return id(self.module)


@dataclasses.dataclass(frozen=True)
class _Found:
    """A module's program, and what the module was made of then."""

    program: Program
    held: Held


class Held:
    """What the modules of a network hold; ``is_so`` is quick enough to be asked in each call."""

    def __init__(self, net: nn.Module) -> None:
        from snnax.neurons.own import instances  # the neurons' base is a module itself

        self._held = [(vars(module), dict(vars(module))) for module in instances(net)]

    def is_so(self) -> bool:
        """Whether it still is what it was."""
        try:
            return all(now == then for now, then in self._held)
        except ValueError:  # an array has no truth
            return False


@functools.lru_cache(maxsize=256)
def _program_of(same: Same, mutable: Any) -> _Found | None:
    return _found(same.module, mutable)


def _found(module: nn.Module, mutable: Any) -> _Found | None:
    if module.scope is not None or isinstance(module.parent, nn.Module) or not _is_ours(module):
        return None
    try:
        return _Found(_compiled(module, made(module), mutable), Held(module))
    except TypeError:  # flax allows fields that cannot be hashed
        return None


@functools.lru_cache(maxsize=256)
def _compiled(module: nn.Module, parts: Made, mutable: Any) -> Program:
    """One program for all modules that are equal and share the same parts."""

    @jax.jit
    def step(variables: Any, rngs: Any, *args: Any) -> Any:
        # linen's own apply: the one of snnax's modules is what brought us here
        return nn.Module.apply(
            module, variables, *args, rngs=rngs, mutable=list(mutable) if named else mutable
        )

    named = isinstance(mutable, tuple)
    return step


class Made:
    """Equal for networks that share the same parts among their places, and hold the same in their fields.

    ``==`` between modules does not see the first, nor that a module which a cache keeps was changed since.
    """

    def __init__(self, numbers: tuple[int, ...], fields: tuple[Any, ...]) -> None:
        self._numbers, self._fields = numbers, fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Made) and (self._numbers, self._fields) == (other._numbers, other._fields)

    def __hash__(self) -> int:
        return hash(self._numbers)


def made(net: nn.Module) -> Made:
    """Which modules of ``net`` are one and the same, and what they hold now."""
    from snnax.neurons.own import instances  # the neurons' base is a module itself

    numbers: dict[Any, int] = {}
    places, fields = [], []
    for module in instances(net):
        places.append(numbers.setdefault(module._id, len(numbers)))
        values = vars(module)
        fields += [values.get(name) for name in module.__dataclass_fields__ if name not in ("parent", "name")]
    return Made(tuple(places), tuple(fields))


def intercepted() -> bool:
    """Whether ``flax.linen.intercept_methods`` is active, so that a call is not what the module says."""
    # Flax has no public question for it; if its stack is elsewhere one day, everything is traced anew, slowly
    stack: Any = getattr(nn.module, "_global_interceptor_stack", None)
    return stack is None or bool(stack)


def _is_known_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)


def _as_array(value: Any) -> Any:
    """An argument as the call would take it; ``NotImplemented`` for what is left to the call."""
    if value is None or _is_known_array(value):
        return value
    if isinstance(value, jax.core.Tracer) or not isinstance(value, float | np.ndarray | np.generic):
        return NotImplemented
    try:
        return checks.array(value, "x")
    except ValueError:
        return NotImplemented


def _is_ours(value: Any) -> bool:
    """Whether nothing in it is of the user's making, or could change without being another value."""
    from snnax.neurons.own import is_known
    from snnax.neurons.values import FrozenArray

    if isinstance(value, (*_PLAIN, FrozenArray)):
        return True
    if isinstance(value, type):
        return is_known(value.__module__)
    if isinstance(value, tuple | list | frozenset):
        return all(map(_is_ours, value))
    if isinstance(value, Mapping):
        return all(map(_is_ours, value.values()))
    if isinstance(value, functools.partial):
        return all(map(_is_ours, (value.func, value.args, value.keywords)))
    if isinstance(value, FunctionType):
        cells = (cell.cell_contents for cell in value.__closure__ or ())
        return is_known(value.__module__) and all(map(_is_ours, cells))
    if not is_known(type(value).__module__) or getattr(value, "reads_values", False):
        return False
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value) if field.name not in ("parent", "name"))
        return all(_is_ours(getattr(value, name, None)) for name in names)
    return callable(value) and is_known(getattr(value, "__module__", None))
