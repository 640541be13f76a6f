"""Small HTML tables for notebooks: without colours of their own, so that they fit a light page and a dark one."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from snnax.shown import shown

__all__ = ["table", "text"]


def text(value: object) -> str:
    """As HTML; names and lines come from other people's files."""
    return escape(shown(str(value)))


def table(caption: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Cells are HTML, the first of each row is its heading; nothing at all without rows.

    Args:
        caption: what is in it, HTML.
        head: of the columns; empty texts for none.
        rows: as many cells as columns.

    Example:
        >>> from snnax.tables import table
        >>> table("epochs", ("epoch", "loss"), [("1", "2.3")]).count("<td>")
        1
    """
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    if not body:
        return ""
    heads = "".join(f'<th scope="col">{name}</th>' for name in head) if any(head) else ""
    return (
        f"<table><caption>{caption}</caption>{f'<thead><tr>{heads}</tr></thead>' if heads else ''}"
        f"<tbody>{body}</tbody></table>"
    )
