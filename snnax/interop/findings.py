"""What stands in the way of a conversion: all of it, gathered for as long as the search can go on, with its lines."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os.path import basename

from snnax.errors import ConversionError

__all__ = ["Findings", "Line"]


class Line(str):
    """A line of the user's code, ``net.py:12``, that knows its file.

    Attributes:
        file: path of the file.
        number: counted from 1; 0 is no line.
    """

    file: str
    number: int

    def __new__(cls, name: str = "", file: str = "", number: int = 0) -> Line:
        """``name`` is how it is shown; see :meth:`at`."""
        made = super().__new__(cls, name)
        made.file, made.number = file, number
        return made

    @classmethod
    def at(cls, file: str, number: int) -> Line:
        """A line of a file."""
        return cls(f"{basename(file)}:{number}", file, number)

    @property
    def text(self) -> str:
        """What is written there; empty if the file cannot be read."""
        return linecache.getline(self.file, self.number).strip() if self.number else ""


class Findings:
    """Gathers the refusals of one network, so that all of them are told at once.

    Args:
        place: the line of a refusal that knows none, by the module that it names; may be none either.
    """

    def __init__(self, place: Callable[[str], str] = lambda _: "") -> None:
        self._place = place
        self._errors: dict[tuple[str, str, str], ConversionError] = {}

    def __bool__(self) -> bool:
        return bool(self._errors)

    def __contains__(self, error: ConversionError) -> bool:
        return _key(error) in self._errors

    @property
    def lines(self) -> set[str]:
        """Those that are named."""
        return {str(error.line) for error in self._errors.values() if error.line}

    def add(self, errors: Iterable[ConversionError]) -> None:
        """Gather refusals, each of them once."""
        for error in errors:
            for part in error.apart():
                if not part.line and (line := self._place(part.node)):
                    cause = part.__cause__
                    part = type(part)(part.node, part.problem, part.remedy, line)
                    part.__cause__ = cause
                self._errors.setdefault(_key(part), part)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Gather the refusal that ends the block, and go on behind it."""
        try:
            yield
        except ConversionError as error:
            self.add([error])

    def check(self) -> None:
        """Raise all that was gathered, in one error.

        Raises:
            ConversionError: lists it.
        """
        if self._errors:
            raise ConversionError.joined(list(self._errors.values()))


def _key(error: ConversionError) -> tuple[str, str, str]:
    return error.node, error.problem, str(error.line)
