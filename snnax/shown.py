"""Text made fit to be read on a terminal: what others wrote, as names in files, and columns."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["columns", "printable", "shown"]


def shown(text: object) -> str:
    r"""One line in which every character can be seen: what cannot is written as in Python, ``\x1b``.

    Those are control characters (a terminal takes them for commands), line ends, marks that reverse the direction of
    writing, blanks of no width, and halves of characters.

    Example:
        >>> from snnax.shown import shown
        >>> shown("fc1\x1b[2J"), shown("größe ∆")
        ('fc1\\x1b[2J', 'größe ∆')
    """
    given = str(text)
    if given.isprintable():
        return given
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in given)


def columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A line for each row, cells in columns of one width: the first ``left`` flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def printable(text: str, encoding: str | None = None) -> str:
    """Lines of :func:`shown` text, in characters that ``encoding`` has; others are written as in Python too."""
    lines = "\n".join(map(shown, text.split("\n")))
    return lines.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")
