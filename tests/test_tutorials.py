"""Each tutorial is a text and a notebook that belong together; that they run is a stage of ``.ci/run``."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "tutorials.py"
MAX_PICTURE = 250_000
MAX_NOTEBOOK = 600_000

spec = importlib.util.spec_from_file_location("tutorials_script", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

NOTEBOOKS = sorted(ROOT.glob("tutorials/**/*.ipynb"))
SOURCES = script.sources([])
every = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def notebook_of(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def test_each_text_has_a_notebook_and_the_other_way_round():
    assert NOTEBOOKS
    assert [path.with_suffix(".ipynb") for path in SOURCES] == NOTEBOOKS


@every
def test_a_notebook_is_made_from_its_text(source):
    command = f"python .ci/tutorials.py {source.stem}"
    written, expected = notebook_of(source), script.read(source)
    assert script.content(written) == script.content(expected), f"make it anew: {command}"
    assert written.metadata == expected.metadata, f"make it anew: {command}"


@every
def test_a_notebook_shows_what_it_computes(source):
    """The pages show the stored outputs."""
    cells = script.code(notebook_of(source))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert "display_data" in {output.output_type for output in outputs}
    assert not [
        output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"
    ]


@every
def test_a_tutorial_asserts_what_it_says_and_begins_with_its_title(source):
    cells = script.read(source).cells
    title, _, rest = cells[0].source.partition("\n\n")
    assert title.startswith("# ") and rest
    assert any("assert" in cell.source for cell in script.code(script.read(source)))


@every
def test_a_notebook_is_small(source):
    target = source.with_suffix(".ipynb")
    assert target.stat().st_size < MAX_NOTEBOOK
    pictures = [
        o.data.get("image/png", "")
        for c in script.code(notebook_of(source))
        for o in c.outputs
        if "data" in o
    ]
    assert max(map(len, pictures)) < MAX_PICTURE * 4 / 3, "draw it smaller, or with fewer dots"


# --- the script ----------------------------------------------------------------------------------


TEXT = """# %% [markdown]
# # A title
#
# What it is about.

# %% tags=["hide-cell"]
import math
{code}
"""


@pytest.fixture
def house(tmp_path):
    """A checkout with one tutorial, whose code is set by calling it; it returns the run of the script."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "tutorials").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci")

    def write_and_run(code, *arguments, title="A title"):
        text = TEXT.replace("A title", title).format(code=code)
        (tmp_path / "tutorials" / "02_one.py").write_text(text)
        command = [sys.executable, tmp_path / ".ci" / SCRIPT.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    write_and_run.notebook = tmp_path / "tutorials" / "02_one.ipynb"
    return write_and_run


def test_a_text_becomes_a_notebook_and_prose_changes_without_a_run(house):
    assert house("math.sqrt(4)", "02").returncode == 0
    first = nbformat.read(house.notebook, as_version=4)
    assert first.cells[1].outputs[0].data["text/plain"] == "2.0"
    assert first.cells[1].metadata.tags == ["hide-cell"]
    assert first.metadata == script.METADATA
    assert house("math.sqrt(4)", "--text", title="Another").returncode == 0
    second = nbformat.read(house.notebook, as_version=4)
    assert second.cells[0].source.startswith("# Another")
    assert second.cells[1] == first.cells[1]
    changed = house("math.sqrt(9)", "--text")
    assert changed.returncode == 1 and "its code has changed" in changed.stderr
    assert nbformat.read(house.notebook, as_version=4) == second


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import warnings; warnings.warn('careful')", "UserWarning"),
        ("import sys; print('oh', file=sys.stderr)", "standard error stream"),
        ("import urllib.request as r; r.urlopen('http://example.org')", "tutorials run without a network"),
    ],
)
def test_what_must_not_happen_in_a_tutorial_fails(house, code, said):
    run = house(code, "--check")
    assert run.returncode == 1
    assert said in run.stderr
    assert not house.notebook.exists()


def test_an_unknown_name_is_an_error(house):
    assert "no tutorial begins with 77" in house("", "77").stderr
