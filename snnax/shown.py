"""Text that others wrote, as names in files, made fit to be read on a terminal."""

from __future__ import annotations

__all__ = ["printable", "shown"]


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


def printable(text: str, encoding: str | None = None) -> str:
    """Lines of :func:`shown` text, in characters that ``encoding`` has; others are written as in Python too."""
    lines = "\n".join(map(shown, text.split("\n")))
    return lines.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")
