"""Programs of networks, compiled once and kept for as long as they are right."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import flax.linen as nn
import jax

from snnax.eager import intercepted, kept, made
from snnax.network.outside import Entry, outside

__all__ = ["Compiled"]


class Compiled:
    """``jax.jit`` of ``function(static, *args)`` for programs of a network, kept for as long as they are right.

    Calls share a program if ``static`` is equal, the network has the same modules at the same places, these have the
    same in their fields, and its own classes and functions read the same values from outside. What they change
    themselves while they are traced, as a counter of their calls, does not count. Under
    ``flax.linen.intercept_methods`` each call is traced anew, and nothing of it is kept.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self._function, self._options = function, options
        self._written: dict[Any, set[str]] = {}
        self._kept = self._jit()

    def __call__(self, net: nn.Module, static: Any, *args: Any) -> Any:
        """What ``function(static, *args)`` returns."""
        try:
            hash(net)
        except TypeError:  # flax allows fields that cannot be hashed, and then nothing can be kept
            return self._function(static, *args)
        return self._for(net)(self._key(net, static), *args)

    def lower(self, net: nn.Module, static: Any, *args: Any) -> Any:
        """The program for these arguments, as ``jax.jit(...).lower`` gives it."""
        return self._for(net).lower(self._key(net, static), *args)

    def count(self) -> int:
        """How many programs are kept."""
        return int(self._kept._cache_size())

    def _key(self, net: nn.Module, static: Any) -> _Key:
        """The key of the call before, if this one is as that: ``jax.jit`` then compares no modules."""
        keys = kept(net).keys
        last: _Key | None
        last, places = keys.get(self, (None, None))
        if last is not None and last.is_for(static) and places.hold():
            return last
        read, places = outside(net)
        if last is None or not last.is_for(static, read):
            last = _Key(net, static, read, self._written)
        keys[self] = last, places  # which hold what they saw: no key of jit's keeps them
        return last

    def _for(self, net: nn.Module) -> Any:
        return self._jit() if intercepted() else self._kept

    def _jit(self) -> Any:
        function = self._function

        @wraps(function)
        def keyed(key: _Key, *args: Any) -> Any:
            result = function(key.static[0], *args)
            key.note_written()
            return result

        return jax.jit(keyed, static_argnums=0, **self._options)


class _Key:
    """Equal to that of another call if both run the same program."""

    def __init__(
        self, net: nn.Module, static: Any, read: tuple[Entry, ...], written: dict[Any, set[str]]
    ) -> None:
        self.static = (static, made(net))
        self._net, self._read, self._written = net, read, written
        self._hash = hash(self.static)

    def is_for(self, static: Any, read: tuple[Entry, ...] | None = None) -> bool:
        """Whether it is the key of a call of the same network with the same fields, which reads this where it says."""
        return bool(self.static[0] == static) and (read is None or self._read == read)

    def note_written(self) -> None:
        """Note what the modules have changed since this key was made, while they were traced.

        For this network alone: another one may read the same name as a constant.
        """
        before, after = self._by_name(self._read), self._by_name(outside(self._net)[0])
        changed = {name for name in after if before.get(name) != after[name]}
        if changed:
            self._written.setdefault(self.static, set()).update(changed)

    @staticmethod
    def _by_name(entries: tuple[tuple[str, Any], ...]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for name, value in entries:
            found.setdefault(name, []).append(value)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Key) or self.static != other.static:
            return False
        return self._read == other._read or self._kept() == other._kept()

    def __hash__(self) -> int:
        return self._hash

    def _kept(self) -> list[Any]:
        written = self._written.get(self.static, ())
        return [entry for entry in self._read if entry[0] not in written]
