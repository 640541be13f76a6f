"""The table of snnTorch's names: read, compared with the installed package, and written as a page of the docs.

Run as a script it writes the page: ``python tests/helpers/snntorch_names.py``.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
TABLE = TESTS / "snntorch_names.ini"
PAGE = TESTS.parent / "docs" / "snntorch_names.rst"
ABSENT = "not ported"
ARGUMENTS = "arguments"
NEWER = "after 1.0.0: "
"""What a section begins with whose names the installed snnTorch does not have yet."""
PACKAGES = ("snntorch", "snntorch.functional")
"""Modules whose names come from files of their own."""


@dataclass(frozen=True)
class Row:
    """One public name of snnTorch.

    Attributes:
        theirs: its full name there.
        ours: its full name here, or ``"not ported"``.
        proof: the test, as ``file::test`` below ``tests``, or why it is not ported.
        note: what is equal, or what to use instead.
        newer: it came after the release that is installed, so nothing can be compared with it.
    """

    theirs: str
    ours: str
    proof: str
    note: str
    newer: bool = False

    @property
    def ported(self) -> bool:
        return self.ours != ABSENT


def read() -> tuple[list[Row], dict[str, str]]:
    """The rows, and the reasons why arguments differ, by snnTorch's full name."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read(TABLE)
    rows = []
    for section in parser.sections():
        if section != ARGUMENTS:
            for name, text in parser[section].items():
                ours, proof, note = (part.strip() for part in text.split(" | "))
                module = section.removeprefix(NEWER)
                rows.append(Row(f"{module}.{name}", ours, proof, note, newer=section.startswith(NEWER)))
    return rows, dict(parser[ARGUMENTS])


def resolve(name: str) -> Any:
    """The object of a full name."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            value = getattr(value, part)
        return value
    raise ModuleNotFoundError(name)


def their_names() -> set[str]:
    """Every public name of the installed snnTorch: what its modules define, and what its packages hand on.

    Modules are read rather than imported: some warn that they are deprecated, one needs packages that nobody
    declares.
    """
    found = {"snntorch.__version__"}
    root = Path(importlib.import_module("snntorch").__file__).parent
    for package in PACKAGES:
        values = vars(importlib.import_module(package))
        found |= {f"{package}.{n}" for n, v in values.items() if not n.startswith("_") and _is_own(v)}
    for file in [*root.glob("*.py"), *root.glob("functional/*.py")]:
        module = ".".join(("snntorch", *file.relative_to(root).with_suffix("").parts))
        if not file.stem.startswith("_"):
            found |= {f"{module}.{name}" for name in _defined(file)}
    data = root / "spikevision" / "spikedata" / "__init__.py"
    listed = next(n for n in ast.parse(data.read_text()).body if isinstance(n, ast.Assign))
    found |= {f"snntorch.spikevision.spikedata.{name}" for name in ast.literal_eval(listed.value)}
    # functional hands on what these files define
    return {n for n in found if not n.startswith(tuple(f"snntorch.functional.{p}." for p in _HANDED_ON))}


_HANDED_ON = ("acc", "loss", "probe", "reg")


def _is_own(value: Any) -> bool:
    return getattr(value, "__module__", "").startswith("snntorch") and not isinstance(value, types.ModuleType)


def _defined(file: Path) -> set[str]:
    kinds = ast.FunctionDef | ast.ClassDef
    return {
        n.name
        for n in ast.parse(file.read_text()).body
        if isinstance(n, kinds) and not n.name.startswith("_")
    }


@contextmanager
def without_pandas() -> Iterator[None]:
    """Within it, snnTorch's ``spikeplot`` is imported where there is no pandas, which it declares nowhere."""
    sys.modules.setdefault("pandas", types.ModuleType("pandas"))
    try:
        yield
    finally:
        if not hasattr(sys.modules["pandas"], "__version__"):
            del sys.modules["pandas"]
            sys.modules.pop("snntorch.spikeplot", None)


def arguments(name: str) -> list[str] | None:
    """Names of the arguments of a callable of snnTorch or snnax, in order; ``None`` if it cannot be called."""
    with without_pandas(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = resolve(name)
    return [*inspect.signature(value).parameters] if callable(value) else None


def page() -> str:
    """The page of the docs."""
    rows, reasons = read()
    title = "snnTorch's names"
    lines = [
        title, "=" * len(title), "",
        "Every public name of snnTorch 1.0.0: what it is called here and the test that holds it to snnTorch, or why it",
        "is not ported and what to use instead. A test compares this table with the installed snnTorch, and finds",
        "each name and each test. Where snnTorch has a bug the tests pin the right behaviour: see :doc:`differences`.",
        "",
    ]  # fmt: skip
    released = [row for row in rows if not row.newer]
    for section in dict.fromkeys(row.theirs.rpartition(".")[0] for row in released):
        own = [row for row in released if row.theirs.rpartition(".")[0] == section]
        lines += [f"``{section}``", "-" * (len(section) + 4), "", *_section(own)]
    lines += ["After 1.0.0", "-----------", "", *AFTER, *_section([row for row in rows if row.newer])]
    lines += ["Arguments", "---------", "", "They have snnTorch's names and order, except:", ""]
    lines += _table(("snnTorch", "snnax"))
    for name, reason in reasons.items():
        lines += _cells((f"``{name}``", reason.replace("**", "\\*\\*").replace("*args", "\\*args")))
    return "\n".join(lines) + "\n"


AFTER = (
    "What snnTorch's main branch has beyond the release, read at commit ``6d438550d58a`` (pull requests 453 and 455,",
    "opened on 17 September 2026, since merged). No release has it, so these tests compare with its equations, written",
    "out in NumPy, and not with the library. Pull requests 454 (``SpikingNeuron.enable_homeostasis``, a threshold that",
    "rises with each spike, as that of :class:`snnax.ALIF`) and 457 (``snntorch.weight_init``) were open then.",
    "",
)


def _section(rows: list[Row]) -> list[str]:
    """The names of one module: those that are ported, and those that are not."""
    lines: list[str] = []
    if ported := [row for row in rows if row.ported]:
        lines += _table(("snnTorch", "snnax", "the same", "by the test"))
        for row in ported:
            cells = (_short(row), f"``{row.ours}``", row.note, f"``{row.proof.replace('::', '`` ``')}``")
            lines += _cells(cells)
        lines.append("")
    if absent := [row for row in rows if not row.ported]:
        lines += _table(("not ported", "because it is", "use instead"))
        for row in absent:
            lines += _cells((_short(row), row.proof, row.note))
        lines.append("")
    return lines


def _short(row: Row) -> str:
    return f"``{row.theirs.rpartition('.')[2]}``"


def _table(header: tuple[str, ...]) -> list[str]:
    return [".. list-table::", "   :header-rows: 1", "", *_cells(header)]


def _cells(cells: tuple[str, ...]) -> list[str]:
    return [
        f"   {'*' if first else ' '} - {cell}"
        for first, cell in zip([True] + [False] * 9, cells, strict=False)
    ]


if __name__ == "__main__":
    PAGE.write_text(page())
