"""What ``check`` finds as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from snnax.interop.checking import Blocker, Check
from snnax.shown import shown

__all__ = ["summary"]


def summary(found: Check) -> str:
    """The verdict, what stands in the way with line and edit, and what becomes of the parts."""
    after = "" if found.ok else "After these edits: "
    return (
        f'<div><p role="status"><strong>{_text(found.verdict)}</strong></p>{_blockers("In the way", found.blockers)}'
        f"<p>{after}<code>{_text(found.call)}</code></p>{_facts(found) if found.ok else ''}"
        f"{_blockers('Gradients that are unknown', found.training)}{_nir(found)}</div>"
    )


def _text(value: object) -> str:
    """As HTML; names and lines come from other people's files."""
    return escape(shown(str(value)))


def _blockers(caption: str, blockers: Iterable[Blocker]) -> str:
    return _table(
        caption,
        ("module", "line", "written there", "found", "write instead"),
        (
            (
                _text(b.module),
                _text(b.line),
                f"<code>{_text(b.source)}</code>",
                _text(b.problem),
                f"<code>{_text(b.edit)}</code>",
            )
            for b in blockers
        ),
    )


def _facts(found: Check) -> str:
    rows = [
        ("parts", found.parts),
        ("time steps", (found.steps,)),
        ("batch", (found.batch,)),
        ("draws", ('random numbers, from rngs={"draws": key}',) if found.draws else ()),
        ("guards left out", found.guards),
        ("gradients", () if found.training else ("those of torch",)),
        ("approximated", found.approximated or ("nothing",)),
    ]
    return _table(
        "Port", ("", ""), ((name, "<br>".join(map(_text, said))) for name, said in rows if any(said))
    )


def _nir(found: Check) -> str:
    rows = ((_text(node.name), _text(node.type or "no node"), _text(node.reason)) for node in found.nir)
    return _table("NIR", ("part", "node", "beside it"), rows)


def _table(caption: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Empty without rows; the first cell of each is its heading."""
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
