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

__all__ = ["Kept", "Made", "Quick", "Same", "intercepted", "kept", "known", "made", "run"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.dtype, np.generic, enum.Enum)

Program = Callable[..., Any]
Names = tuple[str, ...] | str | bool
"""What of flax's filters for collections can be hashed and asked."""


def run(
    module: nn.Module,
    variables: Any,
    args: Any,
    mutable: Any = False,
    rngs: Any = None,
    check: Callable[[nn.Module], None] | None = None,
) -> Any:
    """What ``module.apply(variables, *args, mutable=mutable, rngs=rngs)`` returns, by the module's program.

    ``NotImplemented`` where it has none, or something stops it: what, the call itself says in its own words. ``check``
    raises for a module that is not to have one, and is asked once for what the module is.
    """
    # every line here is in each step of somebody's loop
    if type(variables) not in (dict, FrozenDict) or intercepted():
        return NotImplemented
    if not known((variables, rngs, args)):
        args = _arrays(args)
        if args is None or not known((variables, rngs)):
            return NotImplemented
    program = kept(module).program(tuple(mutable) if type(mutable) is list else mutable, check)
    if program is None:
        return NotImplemented
    try:
        return program(variables, {} if rngs is None else rngs, *args)
    except Exception:
        return NotImplemented


def known(tree: Any) -> bool:
    """Whether all leaves are arrays of JAX with numbers in them."""
    return all(map(_is_known_kind, set(map(type, jax.tree_util.tree_leaves(tree)))))


@functools.lru_cache(maxsize=64)
def _is_known_kind(kind: Any) -> bool:
    return issubclass(kind, jax.Array) and not issubclass(kind, jax.core.Tracer)


class Same:
    """Equal only for the same object, which it keeps alive: a quicker question than whether two modules are equal."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.module is self.module

    def __hash__(self) -> int:
        return id(self.module)


class Kept:
    """What is known of one module, for as long as it holds what it held: its programs.

    It is kept on the module itself, so that it goes with it.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.keys: dict[Any, Any] = {}  # of programs that others keep for it
        self._programs: dict[Any, Program | None] = {}
        self._now: list[dict[str, Any]] = []
        self._then: list[dict[str, Any]] = []
        self._calls: dict[Any, Any] = {}

    def __reduce__(self) -> Any:
        return Kept, (None,)  # programs are not for copies, nor for files: kept() makes them anew

    def fresh(self) -> Kept:
        """Itself; empty if a field was assigned since, which flax allows, or a class got another ``__call__``."""
        try:
            same = self._now and self._now == self._then
            if same and all(kind.__call__ is call for kind, call in self._calls.items()):
                return self
        except ValueError:  # an array has no truth
            pass
        from snnax.neurons.own import instances  # the neurons' base is a module itself

        self._programs, self.keys = {}, {}
        modules = instances(self.module)
        self._now = list(map(vars, modules))
        self._then = list(map(dict, self._now))
        self._calls = {type(module): type(module).__call__ for module in modules}
        return self

    def program(self, mutable: Any, check: Callable[[nn.Module], None] | None = None) -> Program | None:
        """The module's program; ``None`` where there is none, since Python has to run what a user wrote."""
        try:
            return self._programs[mutable, check]
        except KeyError:
            if check is not None:
                check(self.module)
            found = self._programs[mutable, check] = _found(self.module, mutable, len(self._then) == 1)
            return found
        except TypeError:  # a filter of flax's that cannot be hashed
            return None


def kept(module: nn.Module) -> Kept:
    """What is known of ``module`` as it is now."""
    found: Kept | None = vars(module).get("_kept")
    if found is None or found.module is not module:  # a copy by copy.copy has that of the other one
        found = Kept(module)
        object.__setattr__(module, "_kept", found)
    return found.fresh()


def _found(module: nn.Module, mutable: Any, alone: bool) -> Program | None:
    """Its program; ``alone``: there is no other module in it."""
    try:
        if module.scope is not None and alone:
            return _alone(_Fields(module), mutable)
        if not isinstance(mutable, bool | str | tuple) or not _is_ours(module):
            return None
        if module.scope is not None:
            module = module.clone(parent=None, name=None, _deep_clone=True, _reset_names=True)
        elif isinstance(module.parent, nn.Module):
            return None
        return _compiled(module, made(module), mutable)
    except TypeError:  # flax allows fields that cannot be hashed
        return None


class _Fields:
    """Equal for modules of one class with equal fields; those of a module without modules in it are all that it is."""

    def __init__(self, module: Any) -> None:
        kind: Any = type(module)
        values = vars(module)
        self.kind = kind
        self.values = {name: values.get(name) for name in _own_fields(kind)}
        self._hash = hash((kind, *self.values.values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fields) and self.kind is other.kind and self.values == other.values

    def __hash__(self) -> int:
        return self._hash


@functools.lru_cache(maxsize=256)
def _own_fields(kind: Any) -> tuple[str, ...]:
    names = (field.name for field in dataclasses.fields(kind) if field.init)
    return tuple(name for name in names if name not in ("parent", "name"))


@functools.lru_cache(maxsize=256)
def _alone(fields: _Fields, mutable: Any) -> Program | None:
    """The program of a bound module with these fields, without what it is bound to."""
    return _found(fields.kind(**fields.values, parent=None), mutable, True)


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
    """Equal for networks that share the same parts, hold the same in their fields, and whose classes are called alike.

    ``==`` between modules does not see the first, nor that a module which a cache keeps was changed since, or that its
    class got another ``__call__``.
    """

    def __init__(self, numbers: tuple[int, ...], fields: tuple[Any, ...]) -> None:
        self._numbers, self._fields = numbers, fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Made) and (self._numbers, self._fields) == (other._numbers, other._fields)

    def __hash__(self) -> int:
        return hash(self._numbers)


def made(net: nn.Module) -> Made:
    """Which modules of ``net`` are one and the same, what they hold, and how they are called now."""
    from snnax.neurons.own import instances  # the neurons' base is a module itself

    numbers: dict[Any, int] = {}
    places: list[int] = []
    fields: list[Any] = []
    for module in instances(net):
        places.append(numbers.setdefault(module._id, len(numbers)))
        values = vars(module)
        fields.append(type(module).__call__)
        fields += [values.get(name) for name in module.__dataclass_fields__ if name not in ("parent", "name")]
    return Made(tuple(places), tuple(fields))


def intercepted() -> bool:
    """Whether ``flax.linen.intercept_methods`` is active, so that a call is not what the module says."""
    # Flax has no public question for it; if its stack is elsewhere one day, everything is traced anew, slowly
    stack: Any = getattr(nn.module, "_global_interceptor_stack", None)
    return stack is None or (bool(stack) and not all(isinstance(one, Quick) for one in stack))


class Quick:
    """An interceptor that changes nothing but the time that a call takes."""

    def __init__(self, interceptor: Callable[..., Any]) -> None:
        self._interceptor = interceptor

    def __call__(self, *args: Any) -> Any:
        """As flax calls it."""
        return self._interceptor(*args)


def _arrays(args: Any) -> list[Any] | None:
    """Arguments as the call would take them; ``None`` where one is left to the call."""
    given = [_as_array(value) for value in args]
    return None if any(value is NotImplemented for value in given) else given


def _as_array(value: Any) -> Any:
    kind: Any = type(value)
    if value is None or _is_known_kind(kind):
        return value
    # numbers and arrays of NumPy, and of torch
    if isinstance(value, jax.core.Tracer | int) or not (
        isinstance(value, float) or hasattr(value, "__array__")
    ):
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
