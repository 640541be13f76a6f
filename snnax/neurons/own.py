"""What a module is made of, and which parts of it are of the user's own making."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any

import flax.linen as nn

__all__ = ["instances", "is_known", "is_own", "is_own_class", "own_bases", "starts_elsewhere"]

_KNOWN = frozenset({"snnax", "flax", "jax", "numpy", "optax", "builtins", "typing", "abc", "collections"})

EQUATION = ("charge", "level", "after_reset")
"""What of ``CustomNeuron`` is an equation: functions of arrays that declare nothing."""

_PLAIN = frozenset({bool, int, float, str, type(None), FunctionType})


def instances(value: Any) -> list[nn.Module]:
    """Every module in the fields of ``value``, itself first, each as often as it is there."""
    found: list[nn.Module] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[nn.Module]) -> None:
    if isinstance(value, nn.Module):
        found.append(value)
        for name in value.__dataclass_fields__:
            if name not in ("parent", "name"):
                item = getattr(value, name, None)
                if type(item) not in _PLAIN:  # each call of unroll comes along here
                    _collect(item, found)
    elif isinstance(value, tuple | list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, Mapping):
        for item in value.values():
            _collect(item, found)


def is_own(net: nn.Module) -> bool:
    """Whether any part of ``net`` is of a class that neither this package nor Flax defines, and may do anything.

    A neuron of which the user wrote no more than the equation is none: its states are those of every neuron.
    """
    for module in instances(net):
        kind: Any = type(module)
        # a Sequential may hold functions that make modules
        if (own_bases(kind) and not _is_equation(kind)) or (
            kind is nn.Sequential
            and any(isinstance(layer, FunctionType) for layer in getattr(module, "layers", ()))
        ):
            return True
    return False


def starts_elsewhere(net: nn.Module) -> bool:
    """Whether a neuron in ``net`` has a state that starts from another value than zero."""
    return any(getattr(type(module), "state_starts", None) for module in instances(net))


@lru_cache(maxsize=1024)
def _is_equation(kind: Any) -> bool:
    """Whether the user's part of a neuron class is an equation and numbers, without a method that declares a state."""
    return hasattr(kind, "charge") and not any(
        name == "__call__" or not (name in EQUATION or name.startswith("__"))
        for base in own_bases(kind)
        for name, value in vars(base).items()
        if callable(value) or isinstance(value, property | staticmethod | classmethod)
    )


def is_own_class(kind: Any) -> bool:
    """Whether the class, or one that it comes from, is defined elsewhere."""
    return bool(own_bases(kind))


@lru_cache(maxsize=1024)
def own_bases(kind: Any) -> tuple[type, ...]:
    """The class and those that it comes from, as far as they are defined elsewhere."""
    return tuple(base for base in kind.__mro__ if not is_known(base.__module__))


def is_known(module: str | None) -> bool:
    """Whether a module of Python belongs to this package or one that it rests on."""
    return (module or "").partition(".")[0] in _KNOWN
