"""The page of a report: complete, of its own, safe with any names; in a browser it zooms by mouse and keys."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from snnax.interop.compare import Cause, LayerReport, Numbers, Report
from snnax.interop.compare.page import MARKS, STEPS, _ticks
from snnax.interop.compare.report import Divergence, Picture

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = '<script>alert("x")</script>'


def report(steps=40, neurons=30, name="lif", differ=True):
    rng = np.random.default_rng(0)
    spikes = (rng.random((steps, neurons)) < 0.2).astype(np.float32)
    others, mem = spikes.copy(), rng.random((steps, neurons), np.float32)
    if differ:
        others[17, 5] = 1 - others[17, 5]
    spot = Divergence(17, 0, (5,), (0.0, 1.0), (0.9, 1.1), (0.1, 0.1), 1.0, 1e-6, 1e-6)
    first = spot if differ else None
    numbers = Numbers(int(differ), 0.2 * differ, 0.0, first)
    causes = (Cause("beta", "snnax decays with beta 0.9 where snnTorch has 0.85."),) if differ else ()
    layer = LayerReport(
        name, "Leaky", (neurons,), steps * neurons, numbers, numbers, 0, int(differ), first, causes
    )
    place = (17, 5) if differ else None
    return Report(
        ("snnTorch", "snnax"), "float32", steps, (layer,), notes=("a note",), digests=(("input", "ab12"),),
        versions=(("jax", "0.10"),), pictures=(Picture(name, spikes, others, mem, mem + 1e-3, place, layer.summary),),
    )  # fmt: skip


class Outline(HTMLParser):
    """Tags that are open, and what the page asks for from elsewhere."""

    EMPTY = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.outside, self.pictures, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.outside += [known[key] for key in ("src", "href", "srcset", "data") if key in known]
        if tag == "svg":
            self.pictures.append(known)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("differ", [True, False])
def test_the_page_is_whole_and_says_all(differ):
    found = report(differ=differ)
    outline = Outline(found.to_html(command="snnax compare a.nir b.nir"))
    words = " ".join(outline.words)
    assert not outline.open and not outline.outside
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in outline.pictures)
    assert len(outline.pictures) == 2
    for text in ("lif", found.verdict.split("\n")[0], "a note", "ab12", "0.10", "snnax compare a.nir b.nir"):
        assert text in words
    assert ("They part at step 17, neuron 5" in words) == differ
    assert ("beta 0.9 where" in words) == differ


@pytest.mark.parametrize(
    ("differ", "why"), [(True, "where the sides part"), (False, "where they differ most")]
)
def test_numbers_beside_the_membranes_and_whose_they_are(differ, why):
    found = report(steps=200, differ=differ)
    outline = Outline(found.to_html())
    words = " ".join(outline.words)
    drawn = outline.pictures[1]["aria-label"]
    low, high = re.search(r"from ([\d.e+-]+) to ([\d.e+-]+)\.", drawn).groups()
    steps = re.search(r"steps (\d+) to (\d+),", drawn).groups()
    assert {low, high, f"step {steps[0]}", steps[1]} <= set(outline.words)
    assert f", {why}, steps" in words and "6 000 neuron-steps, float32" in words


def test_names_are_text():
    made = report(name=NASTY).to_html(command=NASTY)
    assert NASTY not in made and made.count("<script>") == 1
    assert NASTY not in report(name=NASTY)._repr_html_()


def test_the_table_of_a_notebook_scrolls_by_its_own_style():
    """Neither Jupyter nor Sphinx has our style sheet: eleven columns ran off the page."""
    shown = report()._repr_html_()
    around = shown[: shown.index("<table")]
    assert "overflow-x: auto" in around and "DISAGREE" in around
    assert Outline(shown).open == []


def test_large_layers_are_shown_in_part():
    made = report(steps=3 * STEPS, neurons=500).to_html()
    assert len(made) < 500_000
    words = " ".join(Outline(made).words)
    assert "of 500 neurons are drawn" in words and f"of {3 * STEPS} are drawn" in words


@pytest.mark.parametrize("rates", ["even", "few busy", "heights"])
def test_a_layer_takes_at_most_some_200_kb(rates):
    """Also where few neurons have most of the spikes, and where each place has a tick of either side."""
    steps, neurons = STEPS, 300
    rng = np.random.default_rng(0)
    rate = (
        np.where(np.arange(neurons) % 9 < 2, 0.9, 0.001) if rates == "few busy" else np.full(neurons, 0.016)
    )
    spikes = (rng.random((steps, neurons)) < rate).astype(np.float32)
    others = 2 * spikes if rates == "heights" else spikes
    numbers = Numbers(0, None, 0.0, None)
    layer = LayerReport("lif", "Leaky", (neurons,), steps * neurons, numbers, numbers, 0, 0)
    empty = Report(("A", "B"), "float32", steps, (layer,))
    made = replace(empty, pictures=(Picture("lif", spikes, others, None, None, None, "equal"),)).to_html()
    ticks = made.count("v.8") + made.count("v.4")
    assert 10_000 < ticks <= MARKS and len(made) - len(empty.to_html()) < 200_000


def test_ticks_are_drawn_where_the_spikes_are():
    spikes = np.zeros((9, 3), bool)
    spikes[[2, 5, 8], [1, 1, 2]] = True
    assert _ticks(spikes, 10, 0.1, 0.9) == "M12.5 1.1v.8m3-.8v.8M18.5 2.1v.8"


def test_it_is_written_whole(tmp_path):
    path = tmp_path / "page.html"
    made = report().to_html(path)
    assert path.read_text() == made
    with pytest.raises(OSError, match=r"page\.html"):
        report().to_html(tmp_path / "nowhere" / "page.html")


TRIED = """
<script>
const errors = [];
window.addEventListener("error", (event) => errors.push(event.message));
const picture = document.querySelector(".raster svg"), whole = picture.getAttribute("viewBox");
const press = (key) => picture.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const box = () => picture.getAttribute("viewBox").split(" ").map(Number);
const found = {};
document.querySelector('[data-zoom="first"]').click();
found.first = box();
press("0");
found.all = picture.getAttribute("viewBox") === whole;
press("+");
found.closer = box();
press("ArrowRight");
found.right = box();
found.said = document.querySelector("output").textContent;
found.narrow = document.documentElement.scrollWidth <= window.innerWidth;
found.dark = getComputedStyle(document.body).backgroundColor;
found.errors = errors;
document.body.innerHTML = "";
document.body.dataset.found = JSON.stringify(found);
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_it_zooms_in_a_browser_without_errors(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(report(steps=200).to_html() + TRIED)
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=500,800", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    text = re.search(r'data-found="([^"]*)"', done.stdout)
    assert text is not None, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(html.unescape(text.group(1)))
    assert not found["errors"] and found["narrow"] and found["all"]
    x, y, width, height = found["first"]
    assert x <= 17 < x + width and y <= 5 < y + height and width < 200
    assert found["closer"] == [50, 7.5, 100, 15] and found["right"] == [75, 7.5, 100, 15]
    assert found["said"].startswith("steps 75 to 174")
