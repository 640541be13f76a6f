"""Where values were found: a second look asks only whether the same ones are still there."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from operator import is_
from types import MappingProxyType
from typing import Any

from flax.core import FrozenDict

__all__ = ["Places"]

_GONE = object()
_MAPPINGS = (dict, MappingProxyType, FrozenDict, OrderedDict, defaultdict)
_MOST = 10_000


class Places:
    """Attributes, items and containers with what they held, by identity.

    Whoever notes them sees to it that each value is one that cannot change, or whose own contents are noted as well.

    Example:
        >>> from snnax.network.places import Places
        >>> levels = {"a": 1.0}
        >>> places = Places()
        >>> places.contents(levels)
        >>> places.hold()
        True
        >>> levels["b"] = 2.0
        >>> places.hold()
        False
    """

    def __init__(self) -> None:
        self._single: list[tuple[Callable[..., Any], str, Any]] = []
        self._whole: list[tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = []
        self._sure = True

    def attribute(self, owner: Any, name: str) -> None:
        """``owner.name``, also where there is none."""
        self._one(partial(getattr, owner), name)

    def item(self, mapping: Mapping[str, Any], key: str) -> None:
        """``mapping[key]``, also where there is none."""
        self._one(mapping.get, key)

    def _one(self, get: Callable[..., Any], name: str) -> None:
        try:
            self._single.append((get, name, get(name, _GONE)))
        except ValueError:  # the cell of a variable that has no value yet
            self.unsure()

    def contents(self, container: Any) -> None:
        """All that a list, tuple or mapping holds."""
        if len(container) > _MOST:
            self.unsure()
        elif isinstance(container, list | tuple):
            self._whole.append((container, (), tuple(container)))
        elif type(container) in _MAPPINGS:
            self._whole.append((container, tuple(container), tuple(container.values())))
        else:
            self.unsure()

    def unsure(self) -> None:
        """Something was met of which one cannot tell by identity whether it is what it was."""
        self._sure = False

    def hold(self) -> bool:
        """Whether each place holds the very object that it held."""
        if not self._sure:
            return False
        try:
            for get, name, value in self._single:
                if get(name, _GONE) is not value:
                    return False
        except ValueError:
            return False
        for container, keys, values in self._whole:
            if len(container) != len(values):
                return False
            now = container if isinstance(container, list | tuple) else container.values()
            if not (all(map(is_, now, values)) and all(map(is_, container, keys))):
                return False
        return True
