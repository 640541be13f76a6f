"""``llms.txt`` beside the pages: what there is to read, a line for each page, for programs that read documentation."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

HEAD = """# {project}

> {summary}

Each page has its source beside it, under `_sources/`.

"""


def write(app: Sphinx, failed: Exception | None) -> None:
    """Write the list in the order of the pages' table of contents."""
    if failed is not None or app.builder.format != "html":
        return
    environment, lines = app.env, []
    pages = [*environment.toctree_includes.get("index", [])]
    for page in pages:
        pages += [inner for inner in environment.toctree_includes.get(page, []) if inner not in pages]
    for page in pages:
        tree = environment.get_doctree(page)
        first = next((p.astext().replace("\n", " ") for p in tree.findall(nodes.paragraph)), "")
        lines.append(f"- [{environment.titles[page].astext()}]({page}.html): {first}")
    index = environment.get_doctree("index")
    summary = next(index.findall(nodes.paragraph)).astext().replace("\n", " ")
    text = HEAD.format(project=app.config.project, summary=summary) + "\n".join(lines) + "\n"
    (Path(app.outdir) / "llms.txt").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
