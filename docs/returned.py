"""What follows ``Returns:`` is text. Types are in signatures; napoleon takes the words before a colon for one."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def as_text(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Begin the section with a line that has no colon, and shows nothing."""
    if "Returns:" in lines[:-1]:
        place = lines.index("Returns:") + 1
        indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        lines.insert(place, f"{indent}\\ ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; before napoleon reads the docstring."""
    app.connect("autodoc-process-docstring", as_text, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
