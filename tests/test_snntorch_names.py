"""Every public name of the installed snnTorch has its place here: ported and tested, or not ported and why."""

import ast
import re
from functools import cache

import pytest
from helpers import snntorch_names as names

ROWS, REASONS = names.read()
PORTED = [row for row in ROWS if row.ported]
ABSENT = [row for row in ROWS if not row.ported]


def called(rows):
    return pytest.mark.parametrize("row", rows, ids=[row.theirs for row in rows])


def test_every_public_name_is_in_the_table():
    pytest.importorskip("snntorch")
    table = {row.theirs for row in ROWS if not row.newer}
    theirs = names.their_names()
    assert len(theirs) > 90
    assert sorted(theirs - table) == [], "add the name to tests/snntorch_names.ini"
    assert sorted(table - theirs) == [], "snnTorch has no such name"
    newer = {row.theirs for row in ROWS if row.newer}
    assert newer
    assert sorted(newer & theirs) == [], "released: move it to its module's section and compare with snnTorch"


@cache
def names_of_tests(file):
    tree = ast.parse((names.TESTS / file).read_text())
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test")}


@called(PORTED)
def test_a_ported_name_is_there_and_its_test_too(row):
    pytest.importorskip("matplotlib")
    assert names.resolve(row.ours) is not None
    file, _, test = row.proof.partition("::")
    assert (names.TESTS / file).exists(), file
    assert test in names_of_tests(file)
    assert row.note


@called(ABSENT)
def test_what_is_not_ported_says_why_and_what_to_use(row):
    assert len(row.proof) > 15, "the reason"
    assert row.note, "what to use instead"
    for name in re.findall(r"snnax(?:\.\w+)+", row.note):
        pytest.importorskip("matplotlib")
        assert names.resolve(name) is not None
    for file, test in re.findall(r"([\w/]+\.py)::(\w+)", row.note):
        assert test in names_of_tests(file)


@called([row for row in PORTED if not row.newer and row.theirs != "snntorch.__version__"])
def test_arguments_have_snntorchs_names_in_its_order(row):
    pytest.importorskip("snntorch")
    pytest.importorskip("matplotlib")
    theirs, ours = names.arguments(row.theirs), names.arguments(row.ours)
    assert theirs is not None and ours is not None
    same = ours[: len(theirs)] == theirs
    assert same != (row.theirs in REASONS), (theirs, ours)


def test_reasons_are_of_ported_names():
    assert {*REASONS} <= {row.theirs for row in PORTED}


def test_the_page_is_made_of_the_table():
    written = names.PAGE.read_text()
    assert written == names.page(), "write it anew: python tests/helpers/snntorch_names.py"


def test_the_table_can_fail(monkeypatch):
    """A name that is missing, a test that is gone, an argument that is renamed."""
    theirs = names.their_names()
    assert theirs - {row.theirs for row in ROWS if row.theirs != "snntorch.Leaky"} == {"snntorch.Leaky"}
    assert "test_that_is_gone" not in names_of_tests("surrogate/test_surrogate.py")
    with pytest.raises((AttributeError, ModuleNotFoundError)):
        names.resolve("snnax.Nothing")
    assert names.arguments("snntorch.Leaky")[:2] == ["beta", "threshold"]
    assert names.arguments("snnax.Leaky")[:2] == ["beta", "threshold"]
