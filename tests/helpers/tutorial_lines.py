"""snnTorch's tutorials as scripts that run in both libraries: which of their lines stand as they are.

A script in ``tests/tutorial_lines`` is a tutorial's calls in words of its own, with snnTorch's names renamed:
``torch`` to ``jnp``, ``nn`` to ``snn``, ``snntorch`` to ``snnax``. Marks say where that is not all:

* ``# torch: LINE``: a line of the tutorial that does not stand here;
* ``LINE  # jax``: what is written instead, or in addition;
* ``LINE  # data``: of this test and in no tutorial, in both;
* ``# twin: LINE``: of this test and in no tutorial, in torch's only.

Every other line stands as it is. The names turned back give the script that snnTorch runs: :func:`twin`.

The documentation shows them cell by cell, in both libraries: ``docs/conf.py`` calls :func:`write`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "tutorial_lines"
SCRIPTS = {
    "tutorial_1": "1: spike encoding",
    "tutorial_2": "2: the leaky integrate-and-fire neuron",
    "tutorial_3": "3: a feedforward network",
    "tutorial_4": "4: neurons of second order",
    "tutorial_5": "5: training with explicit states",
    "tutorial_6": "6: a convolutional network",
    "tutorial_7": "7: event data",
    "population": "Population coding",
    "regression_1": "Regression, part 1",
    "regression_2": "Regression, part 2",
}
_LAYERS = "Module|Sequential|Linear|Conv2d|MaxPool2d|Flatten|CrossEntropyLoss|MSELoss|L1Loss"
_BACK = (
    (r"\bimport jax\.numpy as jnp\b", "import torch"),
    (r"\bimport snnax as snn  # nn$", "import torch.nn as nn"),
    (r"\bimport snnax\.functional as F$", "import torch.nn.functional as F"),
    (r"\bimport snnax as snn\b", "import snntorch as snn\nfrom torch import nn"),
    (r"\bfrom snnax\b", "from snntorch"),
    (r"\bimport snnax\b", "import snntorch"),
    (rf"\bsnn\.({_LAYERS})\b", r"nn.\1"),
    (r"\bjnp\.", "torch."),
)
_THEIRS = re.compile(r"^(\s*)# torch: (.*)$")
_TWIN = re.compile(r"^(\s*)# twin: (.*)$")


@dataclass(frozen=True)
class Change:
    """Lines of a tutorial that do not stand, and what is written instead."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]

    @property
    def lines(self) -> int:
        """How many lines of the tutorial it touches."""
        return len(self.theirs)


def source(name: str) -> str:
    """The script."""
    return (FOLDER / f"{name}.py").read_text()


def twin(name: str) -> str:
    """The script that snnTorch runs."""
    found = []
    for line in source(name).splitlines():
        mark = _THEIRS.match(line) or _TWIN.match(line)
        if line.endswith("# jax"):
            continue
        if mark:
            line = mark[1] + mark[2]
        else:
            for pattern, back in _BACK:
                line = re.sub(pattern, back, line)
        found.append(line)
    return "\n".join(found) + "\n"


def changes(name: str) -> tuple[int, list[Change]]:
    """How many lines stand as they are, and what happens to the others."""
    stand, found = 0, []
    theirs: list[str] = []
    ours: list[str] = []

    def close() -> None:
        if theirs or ours:
            found.append(Change(tuple(theirs), tuple(ours)))
            theirs.clear()
            ours.clear()

    for line in _code(source(name)):
        if mark := _THEIRS.match(line):
            if ours:  # the answer to one line has come
                close()
            theirs.append(mark[2].strip())
        elif line.endswith("# jax"):
            ours.append(line.removesuffix("# jax").strip())
        else:
            close()
            stand += not line.endswith("# data") and not _TWIN.match(line)
    close()
    return stand, found


def _code(text: str) -> Iterator[str]:
    """Lines of code and marks, without the docstring, blank lines and other comments."""
    body = text.split('"""', 2)[2]
    for line in body.splitlines():
        bare = line.strip()
        if bare and (not bare.startswith("#") or _THEIRS.match(line) or _TWIN.match(line)):
            yield line


def share(name: str) -> tuple[int, int, int]:
    """Lines of the tutorial that stand, all its lines, and how many are written here instead or in addition."""
    stand, found = changes(name)
    return stand, stand + sum(change.lines for change in found), sum(len(change.ours) for change in found)


def run(text: str, name: str) -> dict[str, Any]:
    """The names that a script leaves behind."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(text, f"{name}.py", "exec"), names)
    return names


def cells(name: str) -> list[tuple[str, str]]:
    """The script cell by cell, as snnTorch's and as ours: cells stand between blank lines outside of functions."""
    body = source(name).split('"""', 2)[2].strip("\n")
    blocks = re.split(r"\n\n+(?=\S)", body)
    found: list[tuple[str, str]] = []
    heading = ""
    for block in blocks:
        if re.fullmatch(r"# --- .*", block):  # belongs to what follows
            heading = f"# {block[6:]}\n"
            continue
        theirs, ours = _sides(block)
        if theirs.strip() or ours.strip():
            found.append((heading + theirs if theirs else "", heading + ours if ours else ""))
            heading = ""
    return found


def _sides(block: str) -> tuple[str, str]:
    """A cell in both libraries, without the lines that belong to the test."""
    theirs, ours = [], []
    for line in block.splitlines():
        if line.endswith("# data") or _TWIN.match(line):
            continue
        if mark := _THEIRS.match(line):
            theirs.append(mark[1] + mark[2])
        elif line.endswith("# jax"):
            ours.append(line.removesuffix("# jax").rstrip())
        elif line == "import snnax as snn  # nn":  # once is enough
            continue
        else:
            ours.append(line)
            for pattern, back in _BACK:
                line = re.sub(pattern, back, line)
            theirs.append(line)
    return "\n".join(theirs).rstrip(), "\n".join(ours).rstrip()


def shares() -> str:
    """A table: how many lines of each tutorial stand."""
    lines = [
        *TABLE, "   :widths: 40 20 20 20", "",
        "   * - Tutorial", "     - its lines", "     - stand as they are", "     - lines instead and in addition",
    ]  # fmt: skip
    total = Counter()
    for name, title in SCRIPTS.items():
        stand, count, more = share(name)
        total.update(stand=stand, count=count, more=more)
        lines += [f"   * - :doc:`{title} <generated/tutorial_lines/{name}>`"]
        lines += [f"     - {count}", f"     - {stand / count:.0%}", f"     - {more}"]
    part = total["stand"] / total["count"]
    lines += ["   * - all", f"     - {total['count']}", f"     - {part:.1%}", f"     - {total['more']}", ""]
    return "\n".join(lines)


def page(name: str) -> str:
    """A page of the documentation: a row for each cell."""
    title = SCRIPTS[name]
    title = f"Tutorial {title}" if title[0].isdigit() else title
    lines = [title, "=" * len(title), "", *TABLE, "   :widths: 50 50", "   :class: beside", ""]
    lines += ["   * - snnTorch", "     - snnax"]
    for theirs, ours in cells(name):
        lines += [*_code_block("   * - ", theirs, "(in addition)")]
        lines += [*_code_block("     - ", ours, "leave it out")]
    return "\n".join(lines) + "\n"


TABLE = (".. list-table::", "   :header-rows: 1")


def _code_block(start: str, code: str, else_: str) -> list[str]:
    if not code:
        return [start + else_]
    indented = [f"          {line}".rstrip() for line in code.splitlines()]
    return [f"{start}.. code-block:: python", "", *indented, ""]


def write(folder: Path) -> None:
    """All pages and the table, for Sphinx."""
    pages = folder / "tutorial_lines"
    pages.mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        (pages / f"{name}.rst").write_text(page(name), encoding="utf-8")
    (folder / "tutorial_shares.rst").write_text(shares(), encoding="utf-8")
