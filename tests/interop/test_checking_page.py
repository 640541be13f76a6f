"""What ``check`` finds, as a notebook shows it."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

from snnax.interop.checking import Blocker, Check, NirNode

NASTY = "<script>alert(1)</script>\x1b[31m"
BLOCKED = Check(
    "Net", "from_snntorch", "",
    blockers=(
        Blocker("lif1", "net.py:12", "self.lif1 = own()", "a neuron that is unknown", "self.lif1 = snn.Leaky(0.9)"),
        Blocker("fc", "", "", "weights that forward changes", "leave them"),
    ),
)  # fmt: skip
PORTED = Check(
    "Net", "from_norse", "program", ("a loop of 5 steps",), steps="any", batch="any", draws=True,
    nir=(NirNode("lif1", "LIF"), NirNode("gate", "", "computed")),
    training=(Blocker("op", "net.py:3", "y = op(x)", "no derivative", "another"),),
)  # fmt: skip


class Page(HTMLParser):
    """Text of the page, and its tags, each closed."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_what_stands_in_the_way_with_line_and_edit():
    page = Page(BLOCKED._repr_html_())
    assert "does not port yet: 2 things stand in the way" in page.text
    for blocker in BLOCKED.blockers:
        assert all(said in page.text for said in dataclasses.astuple(blocker))
    assert f"After these edits: {BLOCKED.call}" in page.text
    assert page.tags.count("table") == 1


def test_what_a_network_becomes():
    page = Page(PORTED._repr_html_())
    assert "Net ports: nothing blocks. It becomes a program." in page.text
    for said in (
        PORTED.call,
        "a loop of 5 steps",
        'rngs={"draws": key}',
        "lif1 LIF",
        "gate no node computed",
        "no derivative",
    ):
        assert said in page.text
    assert "those of torch" not in page.text
    plain = dataclasses.replace(PORTED, training=(), draws=False, nir=(), form="graph")
    assert "those of torch" in Page(plain._repr_html_()).text


def test_names_from_other_peoples_files_are_text():
    found = dataclasses.replace(BLOCKED, network=NASTY, blockers=(Blocker(*[NASTY] * 5),))
    html = found._repr_html_()
    assert "<script" not in html and "\x1b" not in html
    assert "<script>alert(1)</script>" in Page(html).text
