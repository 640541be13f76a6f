"""The page of the docs that says what converts is what happens when it is done again, for a part of its rows."""

import re

import pytest

pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("norse.torch")
from helpers import matrix

ROWS = list(matrix.rows())


def documented():
    """The page's table: ``{row: {column: words}}``."""
    found, row = {}, []
    for line in [*matrix.PAGE.read_text().splitlines(), "   * -"]:
        if line.startswith("   * -"):
            if row and row[0]:
                found[row[0]] = dict(zip(matrix.COLUMNS, row[1:], strict=True))
            row = [line.removeprefix("   * -").strip()]
        elif line.startswith("     - "):
            row.append(line.removeprefix("     - ").strip())
    return found


def word(cell, wide):
    """What a cell says of one precision."""
    return cell.removeprefix("float32: ").split("; float64: ")[-1 if wide else 0]


def test_every_row_is_documented():
    assert list(documented()) == ROWS
    assert matrix.page(documented()) == matrix.PAGE.read_text()


def test_nothing_that_can_be_done_is_unexplained():
    cells = [cell for row in documented().values() for cell in row.values()]
    assert not [cell for cell in cells if "rounding" in word(cell, wide=True)]
    assert not [cell for cell in cells if "unexplained" in cell or re.search(r"\d differ", cell)]
    assert sum(cell.startswith("exact") for cell in cells) > 100


@pytest.mark.parametrize(
    ("name", "wide"), [*((name, False) for name in ROWS[::6]), *((name, True) for name in ROWS[3::12])]
)
def test_a_row_is_what_it_says(name, wide):
    found = dict.fromkeys(matrix.COLUMNS, matrix.NOT_THERE) | matrix.cells(name, wide)
    assert found == {column: word(cell, wide) for column, cell in documented()[name].items()}
