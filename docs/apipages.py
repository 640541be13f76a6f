"""The pages that ``autosummary`` makes for each name: beside the table of contents, which 300 more entries would drown.

Each page names the one that lists it instead. With all of them in the side bar a build took more than twice as long.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import toctree
from sphinx.application import Sphinx
from sphinx.ext.autosummary import autosummary_toc
from sphinx.util.nodes import make_refnode

PAGES = "generated/api/"


def parents(env: Any) -> dict[str, str]:
    """The page that lists a page."""
    if not hasattr(env, "api_parents"):
        env.api_parents = {}
    return env.api_parents


def take_out(app: Sphinx, document: nodes.document) -> None:
    """Before Sphinx collects the table of contents: note who lists whom, and take the entries away."""
    for hidden in [*document.findall(autosummary_toc)]:
        for tree in hidden.findall(toctree):
            parents(app.env).update(dict.fromkeys(tree["includefiles"], app.env.current_document.docname))
        hidden.parent.remove(hidden)


def add_parent(app: Sphinx, document: nodes.document, page: str) -> None:
    """Under the title: where the page is listed."""
    parent = parents(app.env).get(page)
    title = next(document.findall(nodes.title), None)
    if parent is None or title is None:
        return
    line = nodes.paragraph(classes=["api-parent"])
    for place in ("api/index", parent):
        text = nodes.inline("", app.env.titles[place].astext())
        line += [make_refnode(app.builder, page, place, "", text), nodes.Text(" / ")]
    line += nodes.Text(title.astext().rpartition(".")[2])
    title.parent.insert(title.parent.index(title) + 1, line)


def merge(app: Sphinx, env: Any, pages: Any, other: Any) -> None:
    """What a process that read some of the pages noted."""
    parents(env).update(parents(other))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", take_out, priority=100)
    app.connect("doctree-resolved", add_parent)
    app.connect("env-merge-info", merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
