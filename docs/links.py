"""Links within the pages are checked when all of them are written: the file and the place in it must be there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

LINK = re.compile(r"""<(?:a|img|link|script)\b[^>]*?\b(?:href|src)="([^"]*)\"""")
PLACE = re.compile(r"""\bid="([^"]*)\"""")


def broken(folder: Path) -> list[str]:
    """``page: link`` for each link to a file or a place that is not there."""

    @cache
    def places(page: Path) -> frozenset[str]:
        return frozenset(PLACE.findall(page.read_text(encoding="utf-8")))

    found = []
    for page in sorted(folder.rglob("*.html")):
        for link in sorted(set(LINK.findall(page.read_text(encoding="utf-8")))):
            parts = urlsplit(link.replace("&amp;", "&"))
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = target.is_file()
            # viewcode knows one name for each module: its links back always reach the page, and mostly the place
            if there and parts.fragment and target.suffix == ".html" and "_modules" not in page.parts:
                there = unquote(parts.fragment) in places(target)
            if not there:
                found.append(f"{page.relative_to(folder)}: {link}")
    return found


def check(app: Sphinx, failed: Exception | None) -> None:
    """Warn of each."""
    if failed is None and app.builder.name == "html":
        for link in broken(Path(app.outdir)):
            logging.getLogger(__name__).warning("broken link in %s", link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", check, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
