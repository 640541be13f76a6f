"""What ``check`` finds as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable

from snnax.interop.checking import Blocker, Check
from snnax.tables import table, text

__all__ = ["summary"]


def summary(found: Check) -> str:
    """The verdict, what stands in the way with line and edit, and what becomes of the parts."""
    after = "" if found.ok else "After these edits: "
    return (
        f'<div><p role="status"><strong>{text(found.verdict)}</strong></p>{_blockers("In the way", found.blockers)}'
        f"<p>{after}<code>{text(found.call)}</code></p>{_facts(found) if found.ok else ''}"
        f"{_blockers('Gradients that are unknown', found.training)}{_nir(found)}</div>"
    )


def _blockers(caption: str, blockers: Iterable[Blocker]) -> str:
    return table(
        caption,
        ("module", "line", "written there", "found", "write instead"),
        (
            (
                text(b.module),
                text(b.line),
                f"<code>{text(b.source)}</code>",
                text(b.problem),
                f"<code>{text(b.edit)}</code>",
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
    return table("Port", ("", ""), ((name, "<br>".join(map(text, said))) for name, said in rows if any(said)))


def _nir(found: Check) -> str:
    rows = ((text(node.name), text(node.type or "no node"), text(node.reason)) for node in found.nir)
    return table("NIR", ("part", "node", "beside it"), rows)
