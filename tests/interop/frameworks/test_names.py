"""Laws of the seam: what runs and traces torch networks names no framework, and a framework only itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import snnax
from snnax.interop.frameworks import LABELS

INTEROP = Path(snnax.__file__).parent / "interop"
FILES = [*sorted(INTEROP.joinpath("torch").glob("*.py")), INTEROP / "frameworks" / "adapter.py"]


def named(source: str) -> list[str]:
    """Lines of code, docstrings apart, with the name of a framework in an import, a string or an identifier."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for first in body if isinstance(body, list) else ():
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value.value = ""
    code = ast.unparse(tree).splitlines()
    return [line for line in code if any(package in line.lower() for package in LABELS)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_framework_is_named(path: Path):
    assert not named(path.read_text())


@pytest.mark.parametrize("package", LABELS)
def test_an_adapter_names_its_own(package: str):
    others = [other for other in LABELS if other != package]
    source = (INTEROP / "frameworks" / f"{package}.py").read_text()
    assert not [line for line in named(source) if any(other in line.lower() for other in others)]


def test_the_law_can_fail():
    assert named("import snntorch")
    assert named("def f():\n    'snntorch'\n    return {'SnnTorch.Leaky': 1}")
    assert not named("def f():\n    'As snntorch does.'\n    return 1")
