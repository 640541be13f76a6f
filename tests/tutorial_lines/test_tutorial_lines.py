"""snnTorch's tutorials run line by line, give what they give there, and draw the same pictures."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import tutorial_lines
from helpers.snntorch_names import without_pandas

for needed in ("torch", "snntorch", "matplotlib", "IPython"):
    pytest.importorskip(needed)
import matplotlib  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402

SAME = {"rtol": 1e-5, "atol": 1e-6}


class Frame(dict):
    """As much of a ``pandas.DataFrame`` as snnTorch's ``spike_count`` asks for, which is one column."""

    def __getitem__(self, name):
        return super().__getitem__(name)[0]

    @property
    def index(self):
        return next(iter(self.values()))[1]


@pytest.fixture
def quiet(monkeypatch):
    """``plt.show`` shows nothing, and snnTorch's pictures need no pandas and change no defaults."""
    few = types.SimpleNamespace(Series=lambda values, index: (values, index), DataFrame=Frame)
    with without_pandas():
        import snntorch.spikeplot

        module = snntorch.spikeplot
    monkeypatch.setitem(sys.modules, "snntorch.spikeplot", module)
    monkeypatch.setattr(module, "pd", few)
    monkeypatch.setattr(plt, "show", lambda: None)
    with matplotlib.rc_context():
        yield
    plt.close("all")


def pictures():
    """What each open figure shows, as numbers and words."""
    found = [[drawn(ax) for ax in plt.figure(n).axes if ax.get_gid() != "new"] for n in plt.get_fignums()]
    plt.close("all")
    return found


def drawn(ax):
    return {
        "title": ax.get_title(),
        "labels": (ax.get_xlabel(), ax.get_ylabel()),
        "limits": np.round([ax.get_xlim(), ax.get_ylim()], 4).tolist(),
        "lines": [np.asarray(line.get_ydata(), float) for line in ax.lines],
        "dots": [np.asarray(dots.get_offsets()) for dots in ax.collections],
        "sizes": [dots.get_sizes().tolist() for dots in ax.collections if hasattr(dots, "get_sizes")],
        "colours": [dots.get_facecolor().tolist() for dots in ax.collections],
        "images": [np.asarray(image.get_array(), float) for image in ax.images[:1]],
        "axis": ax.axison,
    }


def same(ours, theirs, where):
    assert ours.keys() == theirs.keys()
    for what in ours:
        if what in ("lines", "dots", "images"):
            assert len(ours[what]) == len(theirs[what]), (where, what)
            for a, b in zip(ours[what], theirs[what], strict=True):
                np.testing.assert_allclose(a, b, **SAME, err_msg=f"{where} {what}")
        else:
            assert ours[what] == theirs[what], (where, what)


RANDOM = {"tutorial_1", "tutorial_3", "tutorial_5", "tutorial_6", "tutorial_7", "regression_1"}
"""Scripts with pictures of random numbers, of which only the words and the number of things are compared."""


@pytest.mark.parametrize("name", tutorial_lines.SCRIPTS)
def test_it_runs_and_gives_what_it_gives_in_snntorch(name, quiet, capsys):
    ours = tutorial_lines.run(tutorial_lines.source(name), name)
    here = pictures()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch

        torch.manual_seed(0)
        theirs = tutorial_lines.run(tutorial_lines.twin(name), name)
        there = pictures()
    for key, value in ours["results"].items():
        expected = theirs["results"][key]
        expected = expected.detach().numpy() if hasattr(expected, "detach") else expected
        np.testing.assert_allclose(value, expected, **SAME, err_msg=key)
    for key, value in ours.get("shapes", {}).items():
        assert tuple(np.shape(value)) == tuple(theirs["shapes"][key].shape), key
        assert np.isfinite(np.asarray(value)).all(), key
    assert len(here) == len(there)
    for number, (figure, twin) in enumerate(zip(here, there, strict=True)):
        for a, b in zip(figure, twin, strict=False):
            if name not in RANDOM:
                same(a, b, (name, number))
            elif b["title"]:
                assert (a["title"], a["labels"], a["axis"]) == (b["title"], b["labels"], b["axis"])
                assert (
                    len(a["dots"]) == len(b["dots"])
                    and a["sizes"] == b["sizes"]
                    and a["colours"] == b["colours"]
                )


def test_nine_lines_in_ten_stand():
    shares = [tutorial_lines.share(name) for name in tutorial_lines.SCRIPTS]
    assert sum(stand for stand, *_ in shares) >= 0.9 * sum(count for _, count, _ in shares)


def test_every_script_has_a_page():
    scripts = {path.stem for path in Path(__file__).parent.glob("*.py")} - {Path(__file__).stem}
    assert scripts == set(tutorial_lines.SCRIPTS)
    listed = (Path(__file__).parents[2] / "docs" / "tutorial_lines.rst").read_text()
    assert [name for name in scripts if f"generated/tutorial_lines/{name}" not in listed] == []


@pytest.mark.parametrize("name", tutorial_lines.SCRIPTS)
def test_the_cells_of_a_page_are_the_script(name):
    """Every line of the tutorial, on both sides, in its order; and none of this test."""
    stand, found = tutorial_lines.changes(name)
    cells = tutorial_lines.cells(name)
    assert len(cells) > 5
    bare = [
        line
        for theirs, _ in cells
        for line in theirs.splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    twice = tutorial_lines.source(name).count("import snnax as snn  # nn")
    lines = stand + sum(change.lines for change in found)
    assert abs(len(bare) - lines) <= 1 + twice  # imports of ours may be two of theirs
    both = "\n".join(theirs + ours for theirs, ours in cells)
    assert not any(mark in both for mark in ("# jax", "# torch:", "# twin:", "# data", "# nn", "helpers"))
    assert all("jnp" not in theirs and "snnax" not in theirs for theirs, _ in cells)


def test_marks_are_read():
    stand, found = tutorial_lines.changes("tutorial_4")
    assert stand > 50 and any("torch.cat" in line for change in found for line in change.theirs)
    text = tutorial_lines.twin("tutorial_4")
    assert "import snntorch as snn" in text and "torch.cat" in text and "jnp" not in text
