"""Optimizers that are the same although they are two objects, so that they share their compiled programs."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import jax
import numpy as np

from snnax.eager import Same

__all__ = ["first_alike"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.dtype, np.generic, enum.Enum)
_KNOWN = frozenset({"optax", "jax", "flax", "snnax", "chex"})
_SMALL = 1024


def first_alike(tx: Any) -> Any:
    """The first optimizer that was made as ``tx`` is: ``optax.adam(1e-2)`` twice are two objects that do the same.

    They are the same if the functions of optax that they are made of hold the same numbers. A function of the user's
    own, as a schedule, counts by identity.

    Example:
        >>> import optax
        >>> from snnax.training.same_optimizer import first_alike
        >>> first_alike(optax.adam(1e-2)) is first_alike(optax.adam(1e-2)) is not first_alike(optax.adam(2e-2))
        True
    """
    return _first(_Made(tx))


class _Made:
    """An optimizer by what it is made of."""

    def __init__(self, tx: Any) -> None:
        self.tx, self.parts = tx, _parts(tx, ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Made) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


@functools.lru_cache(maxsize=256)
def _first(made: _Made) -> Any:
    return made.tx


def _parts(value: Any, around: tuple[int, ...]) -> Any:
    """What is compared; ``around`` are the functions that it is part of, one of which may name itself."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value)
    if id(value) in around:
        return "itself", around.index(id(value))
    if isinstance(value, np.ndarray | jax.Array) and not isinstance(value, jax.core.Tracer):
        if value.size <= _SMALL:
            return str(value.dtype), value.shape, np.asarray(value).tobytes()
        return Same(value)
    if isinstance(value, tuple | list):
        return type(value), tuple(_parts(item, around) for item in value)
    if isinstance(value, Mapping):
        return type(value), tuple((key, _parts(item, around)) for key, item in value.items())
    within = (*around, id(value))
    if isinstance(value, functools.partial):
        return "partial", tuple(_parts(part, within) for part in (value.func, value.args, value.keywords))
    if isinstance(value, type) or not isinstance(value, FunctionType) or _root(value) not in _KNOWN:
        return Same(value)
    cells = map(_content, value.__closure__ or ())
    held = (*cells, value.__defaults__, value.__kwdefaults__, getattr(value, "__wrapped__", None))
    return value.__code__, tuple(_parts(part, within) for part in held)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that was never set
        return None


def _root(function: FunctionType) -> str:
    return (function.__module__ or "").partition(".")[0]
