"""A history and a state as a notebook shows them."""

from __future__ import annotations

from html.parser import HTMLParser

import jax
import numpy as np
import optax
import pytest
from helpers import training_nets as nets

import snnax as snn
from snnax.training import History, TrainState

NASTY = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Its tables, rows of cells, and the words around them; every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tables, self.words = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def test_a_row_for_each_epoch():
    history = History(
        loss=[2.3, 1.25], eval_accuracy=[0.5, 0.875], seconds=[1.0, 0.5], samples_per_second=[1234.5, 2000.0],
        step_loss=[2.5, 2.1, 1.5, 1.0], compile_seconds=1.5,
    )  # fmt: skip
    page = Page(history._repr_html_())
    assert page.tables == [
        [
            ["epoch", "loss", "eval accuracy", "samples/s", "seconds"],
            ["1", "2.3", "0.5", "1234", "1"],
            ["2", "1.25", "0.875", "2000", "0.5"],
        ]
    ]
    assert page.text == "2 epochs, 4 steps, 1.5 s of compilation"


def test_a_long_history_is_shown_in_part():
    (rows,) = Page(History(loss=[*map(float, range(500))])._repr_html_()).tables
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "...", *map(str, range(492, 501))]
    assert rows[-1][1] == "499"
    (rows,) = Page(History(loss=[0.5] * 13)._repr_html_()).tables
    assert [row[0] for row in rows[1:]] == [*map(str, range(1, 14))]


def test_without_an_epoch_and_interrupted():
    page = Page(History(interrupted=True, unfinished=[{"loss": 1.0, "samples": 2}])._repr_html_())
    assert page.tables == []
    assert page.text == "0 epochs, 0 s of compilation interrupted in the next, after 1 of its batches"


def test_a_state_says_what_it_holds():
    state = nets.start(nets.busy(), optax.sgd(0.1)).averaging(0.75)
    facts, parameters = Page(state._repr_html_()).tables
    facts = dict(facts)
    assert facts["step"] == "0" and facts["network"] == "Sequential" and facts["average"] == "decay 0.75"
    numbers = [value.size for value in jax.tree.leaves(state.params)]
    assert facts["params"] == f"{sum(numbers)} numbers in {len(numbers)} arrays, {4 * sum(numbers)} B"
    assert facts["buffers"].endswith("in 1 array, 12 B")
    assert "hidden" not in facts and "opt_state" not in facts
    assert ["layers_0/kernel", "5x3", "float32"] in parameters
    assert ["layers_3/threshold", "one number", "float32"] in parameters


def test_a_large_state_is_shown_in_part():
    net = snn.Sequential([snn.Scale(float(n + 1), learn_scale=True) for n in range(40)])
    state = TrainState.create(net, net.init(jax.random.key(0), np.ones((1, 2), np.float32)), optax.sgd(0.1))
    page = Page(state._repr_html_())
    assert len(page.tables[1]) == 25
    assert "and 16 more" in page.text


def test_donated_and_traced_states_can_be_shown():
    state = nets.start(nets.dense())
    seen = []
    jax.jit(lambda s: seen.append(s._repr_html_()) or s.step)(state)
    for leaf in jax.tree.leaves(state):
        leaf.delete()
    for html in (*seen, state._repr_html_()):
        assert dict(Page(html).tables[0])["step"] == "not known: donated or traced"


@pytest.mark.parametrize("theme", ["color", "background"])
def test_it_has_no_colours_and_names_are_text(theme):
    """The notebook's own colours are those of its light or dark page."""
    state = nets.start(nets.dense())
    html = state.replace(params={NASTY: {"kernel": state.step}})._repr_html_()
    assert NASTY not in html and "&lt;script&gt;" in html
    assert theme not in html + History(loss=[1.0])._repr_html_()
