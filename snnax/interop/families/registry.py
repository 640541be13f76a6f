"""The registry of neuron families: a module beside this one joins by listing its own in ``FAMILIES``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING

from snnax.errors import ConversionError
from snnax.interop import families as package

if TYPE_CHECKING:  # a family is made of specs, and a spec finds its family here
    from snnax.interop.families.family import Family


def families() -> Mapping[str, Family]:
    """Every family by the name of its class: ours, and those that the user has registered."""
    return MappingProxyType({**_ours(), **_registered()})


@cache
def _ours() -> dict[str, Family]:
    """The families in the modules beside this one.

    The modules are found rather than listed, so that a new neuron is one new file; and on the first call rather than
    on import, so that specs, of which families are made, can ask for theirs.
    """
    names = sorted(module.name for module in iter_modules(package.__path__))
    modules = [import_module(f"{package.__name__}.{name}") for name in names]
    return by_kind(f for module in modules for f in getattr(module, "FAMILIES", ()))


@cache
def _registered() -> dict[str, Family]:
    return {}


def register(family: Family) -> None:
    """Add the family of a class of the user's own, in place of an earlier one of the same class."""
    _registered()[family.kind] = family


def unknown_neuron(name: str, problem: str, known: str) -> ConversionError:
    """The error for a neuron without family; ``name`` is that of its layer or node."""
    remedy = (
        f"{known} are {sorted(families())}. A class of your own joins them with "
        "snnax.interop.register_neuron(Class), in each program that converts or reads it."
    )
    return ConversionError(name, problem, remedy)


def by_kind(found: Iterable[Family]) -> dict[str, Family]:
    """Families by the name of their class.

    Raises:
        KeyError: for two of one class.
    """
    table: dict[str, Family] = {}
    for family in found:
        if family.kind in table:
            raise KeyError(f"{family.kind} has a family already")
        table[family.kind] = family
    return table


def find(kind: str) -> Family | None:
    """The family of a class by its name; ``None`` for one that cannot be converted."""
    return _registered().get(kind) or _ours().get(kind)


def of_module(module: object) -> Family | None:
    """The family of a flax neuron; that of its parent, if the class itself has none."""
    for cls in type(module).__mro__:
        family = find(cls.__name__)
        if family is not None and family.module is cls:
            return family
    return None


@cache
def kinds(**having: bool) -> tuple[str, ...]:
    """Names of our classes whose families have these attributes, as ``kinds(native=True)``."""
    return tuple(
        kind
        for kind, family in _ours().items()
        if all(getattr(family, what) == value for what, value in having.items())
    )
