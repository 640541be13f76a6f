"""snnTorch's name on the page of each class and function that has one, from the table that tests check."""

from __future__ import annotations

from functools import cache
from typing import Any

from helpers import snntorch_names
from sphinx.application import Sphinx


@cache
def counterparts() -> dict[int, list[snntorch_names.Row]]:
    """The rows of the table by the object of this library that they name."""
    found: dict[int, list[snntorch_names.Row]] = {}
    for row in snntorch_names.read()[0]:
        if row.ported:
            found.setdefault(id(snntorch_names.resolve(row.ours)), []).append(row)
    return found


def add(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """One more paragraph: the name there, and what of it is the same."""
    if what not in ("class", "function"):
        return
    for row in counterparts().get(id(value), []):
        lines += [
            "",
            f"**In snnTorch:** ``{row.theirs}``. The same here: {row.note} (:doc:`/snntorch_names`).",
            "",
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; after napoleon has read the docstring."""
    app.connect("autodoc-process-docstring", add, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
