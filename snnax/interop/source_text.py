"""Python source as ``ruff format`` leaves it: what fits stays on one line, the rest goes one item to a line.

A bracket that is taken apart gets a comma after its last item, so the formatter keeps it so at any line length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WIDTH = 88
"""The formatter's default; what is shorter stays as it is at longer line lengths too."""


@dataclass
class Bracket:
    """A call, list, tuple or dict: ``opening`` items ``closing``; a string is an expression without parts.

    Attributes:
        opening: up to the bracket, as ``"nn.Dense("``.
        items: what stands before each expression (``"beta="``, ``'"fc": '`` or nothing), and the expression.
        closing: the bracket.
        comments: one for each item or nothing.
    """

    opening: str
    items: list[tuple[str, Expression]]
    closing: str
    comments: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """On one line."""
        comma = "," if self.opening == "(" and len(self.items) == 1 else ""
        return self.opening + ", ".join(f"{head}{value}" for head, value in self.items) + comma + self.closing


Expression = str | Bracket


def call(function: str, positional: Sequence[Expression] = (), **named: Expression) -> Bracket:
    """``function(positional, named=...)``."""
    items = [("", value) for value in positional] + [(f"{name}=", value) for name, value in named.items()]
    return Bracket(f"{function}(", items, ")")


def literal(value: Any) -> Expression:
    """A constant as it is written, strings in double quotes.

    Raises:
        TypeError: for what has no such form.

    Example:
        >>> from snnax.interop.source_text import literal
        >>> [str(literal(v)) for v in ("a", 1.0, (1, 2), float("inf"), None)]
        ['"a"', '1.0', '(1, 2)', 'float("inf")', 'None']
    """
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if np.isfinite(value) else f'float("{value}")'
    if isinstance(value, tuple):
        return Bracket("(", [("", literal(v)) for v in value], ")")
    if isinstance(value, list):
        return Bracket("[", [("", literal(v)) for v in value], "]")
    raise TypeError(f"{value!r} cannot be written as a constant")


def quoted(text: str) -> str:
    """A string as the formatter quotes it: in double quotes, unless that needs more backslashes."""
    plain = repr(text)
    if plain[0] == '"' or '"' in text:
        return plain
    return f'"{plain[1:-1]}"'


def readable(text: str) -> str:
    """``text`` as part of a comment or docstring: printable, without quotes that could end it."""
    return "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text)


def lines(head: str, value: Expression, tail: str = "", indent: int = 4) -> list[str]:
    """``head value tail`` as lines.

    Example:
        >>> from snnax.interop.source_text import call, lines
        >>> lines("model = ", call("snn.Sequential", ["layers"]))
        ['    model = snn.Sequential(layers)']
    """
    space = " " * indent
    one = f"{space}{head}{value}{tail}"
    if isinstance(value, str) or not value.items or (len(one) <= WIDTH and not any(value.comments)):
        return [one]
    found = [f"{space}{head}{value.opening}"]
    notes = value.comments or [""] * len(value.items)
    for (before, item), note in zip(value.items, notes, strict=True):
        part = lines(before, item, ",", indent + 4)
        if not note:
            found += part
        elif len(part) == 1 and len(part[0]) + len(note) + 4 <= WIDTH:
            found.append(f"{part[0]}  # {note}")
        else:
            found += [f"{space}    # {note}", *part]
    return [*found, f"{space}{value.closing}{tail}"]
