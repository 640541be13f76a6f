"""Whole numbers that the user's code names: where it counts steps, a rule may begin at one of them, as ``if t > 500``.

No call of fewer steps shows it, so such numbers are where a longer one is worth trying.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from torch import nn

from snnax.interop.torch.reached import names, users, written

_AFFORDABLE = 10_000
"""Operations in one call that is made to see whether a number is a rule on the steps."""


def numbers_beyond(net: nn.Module, length: int, operations: int) -> list[int]:
    """The whole numbers above ``length`` in what the modules of ``net`` run, in order.

    Larger ones than a call can be made for in a moment, of so many ``operations`` in each step, are left out.

    They stand in the code of the user's own classes and functions, or in what that names: attributes, global variables,
    variables of enclosing functions, default arguments.
    """
    search = _Search()
    for module in net.modules():
        for cls in filter(users, type(module).__mro__):
            for name, value in vars(cls).items():
                if name != "__init__":
                    search.follow(value, module)
        search.follow(vars(module).get("forward"), module)
    return sorted(number for number in search.found if length < number <= _AFFORDABLE // max(operations, 1))


class _Search:
    """Collects numbers, of each function once for each module."""

    def __init__(self) -> None:
        self.found: set[int] = set()
        self._seen: set[tuple[int, int]] = set()

    def follow(self, value: Any, owner: nn.Module) -> None:
        """Note a number; look into a function of the user's."""
        if isinstance(value, int) and not isinstance(value, bool):
            self.found.add(value)
        elif isinstance(value, types.MethodType | staticmethod | classmethod):
            self.follow(value.__func__, owner)
        elif isinstance(value, types.FunctionType) and written(value):
            key = (id(value.__code__), id(owner))
            if key not in self._seen:
                self._seen.add(key)
                for part in _parts(value, owner):
                    self.follow(part, owner)


def _parts(function: types.FunctionType, owner: nn.Module) -> Iterator[Any]:
    """What a function holds and names."""
    yield from _constants(function.__code__)
    yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    for cell in function.__closure__ or ():
        if cell != types.CellType():
            yield cell.cell_contents
    for name in set(names(function.__code__)):
        yield vars(owner).get(name)
        yield function.__globals__.get(name)


def _constants(code: types.CodeType) -> Iterator[Any]:
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _constants(part)
        elif isinstance(part, slice):
            yield from (part.start, part.stop)
        elif isinstance(part, tuple):
            yield from part
        else:
            yield part
