"""The public names of a package, found where they are declared and loaded when they are first used.

A name is declared once, in the ``__all__`` of the file that defines it. A package's ``if TYPE_CHECKING`` block imports
``*`` from those files, so that type checkers and editors know the names; at run time a :class:`Face` asks the files.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

__all__ = ["Face"]


class Face:
    """What a package's ``__getattr__`` and ``__dir__`` answer.

    Args:
        package: its name.
        rooms: modules in it of which each name in ``__all__`` is public.
        named: single names by the module in it that has them: those of modules that have more, or load too much.
        modules: modules in it that are public themselves.

    Example:
        >>> from snnax.faces import Face
        >>> face = Face("snnax", rooms=["surrogate"], named={"Reading": "interop.nir.readings"})
        >>> face.load("atan").__name__, face.load("Reading").__name__
        ('atan', 'Reading')
    """

    def __init__(
        self, package: str, rooms: Sequence[str], named: Mapping[str, str], modules: Sequence[str] = ()
    ) -> None:
        self.package, self.rooms, self.named, self.modules = package, rooms, named, modules

    def names(self) -> list[str]:
        """All public names, in plain order."""
        declared = (name for room in self.rooms for name in self._module(room).__all__)
        return sorted({*declared, *self.named, *self.modules})

    def load(self, name: str) -> Any:
        """What a name stands for.

        Raises:
            AttributeError: for a name that is not public.
        """
        if name == "__all__":
            return self.names()
        if name in self.named:
            return getattr(self._module(self.named[name]), name)
        if name.isidentifier() and not name.startswith("_"):
            # A module goes first: `from snnax import checks` asks for the attribute while rooms are being loaded.
            if find_spec(f"{self.package}.{name}") is not None:
                return self._module(name)
            for room in self.rooms:
                module = self._module(room)
                if name in module.__all__:
                    return getattr(module, name)
        raise AttributeError(f"module {self.package!r} has no attribute {name!r}")

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"{self.package}.{name}")
