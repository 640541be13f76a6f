"""Equations as MathML, which browsers draw by themselves: pages show them offline and without scripts.

The font lies in the package ziamath and is copied beside the pages. It gives sub- and superscripts their place where
the reader's machine has no font for mathematics.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx

FONT = "STIXTwoMath-Regular.ttf"


def mathml(latex: str, display: str) -> str:
    """An equation; one of several lines, or with alignment, is a table."""
    latex = (
        latex.replace("{aligned}", "{split}")
        .replace(r"\mathrel{-}=", r"\text{ −= }")
        .replace(r"\mathrel{+}=", r"\text{ += }")
    )
    latex = re.sub(r"\\tag\{(.+?)\}", r"\\qquad (\1)", latex)  # a number without a gap reads as a factor
    if display == "block" and (r"\\" in latex or "&" in latex) and r"\begin{" not in latex:
        latex = rf"\begin{{align*}}{latex}\end{{align*}}"
    made = latex2mathml.converter.convert(latex, display=display)
    if "<mi>&</mi>" in made or "<mi>\\" in made:
        raise ValueError(f"{latex!r} has a command that is not known in MathML: {made}")
    return made


def inline(writer: Any, node: nodes.math) -> None:
    """Write an equation in a line of text."""
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """Write an equation that stands by itself."""
    opening = writer.starttag(node, "div", **{"class": "math", "ids": node.get("ids", [])})
    writer.body.append(f"{opening}{mathml(node.astext(), 'block')}</div>\n")
    raise nodes.SkipNode


def copy_font(app: Sphinx, failed: Exception | None) -> None:
    """Put the font beside the style sheet that names it."""
    package = find_spec("ziamath")
    if failed is None and package is not None and package.origin is not None:
        shutil.copy(Path(package.origin).parent / "fonts" / FONT, Path(app.outdir) / "_static" / FONT)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("build-finished", copy_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
