"""What a network reads is read anew where any of the places has another object, and only there."""

from __future__ import annotations

from collections import UserDict
from types import SimpleNamespace

import pytest

from snnax.network.places import Places


def function():
    return SEEN


SEEN = [1.0]
OWNER = SimpleNamespace(level=1.0)
ITEMS = {"a": 1.0}


def noted(note):
    places = Places()
    note(places)
    return places


CHANGES = {
    "an attribute": (lambda p: p.attribute(OWNER, "level"), lambda m: m.setattr(OWNER, "level", 2.0)),
    "one that was not there": (
        lambda p: p.attribute(OWNER, "more"),
        lambda m: m.setattr(OWNER, "more", 2.0, raising=False),
    ),
    "one that goes": (lambda p: p.attribute(OWNER, "level"), lambda m: m.delattr(OWNER, "level")),
    "an item": (lambda p: p.item(ITEMS, "a"), lambda m: m.setitem(ITEMS, "a", 1)),
    "a missing item": (lambda p: p.item(ITEMS, "b"), lambda m: m.setitem(ITEMS, "b", None)),
    "a value in a dictionary": (lambda p: p.contents(ITEMS), lambda m: m.setitem(ITEMS, "a", 2.0)),
    "a key in a dictionary": (lambda p: p.contents(ITEMS), lambda m: m.setitem(ITEMS, "b", 2.0)),
    "another key for it": (
        lambda p: p.contents(ITEMS),
        lambda m: (m.setitem(ITEMS, "b", ITEMS["a"]), m.delitem(ITEMS, "a")),
    ),
    "what a function does": (
        lambda p: p.attribute(function, "__code__"),
        lambda m: m.setattr(function, "__code__", (lambda: 2).__code__),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen_and_nothing_else_is_one(what, monkeypatch):
    note, change = CHANGES[what]
    places = noted(note)
    assert places.hold() and places.hold()
    change(monkeypatch)
    assert not places.hold()


@pytest.mark.parametrize("now", [[1.0, 2.0, 3.0], [1.0], [1.0, 3.0], [2.0, 1.0]])
def test_another_list(now):
    held = [1.0, 2.0]
    places = noted(lambda p: p.contents(held))
    assert places.hold()
    held[:] = now
    assert not places.hold()


@pytest.mark.parametrize("container", [UserDict(a=1.0), [1.0] * 10_001])
def test_what_may_hand_out_anything_or_is_long_is_never_taken_for_the_same(container):
    assert not noted(lambda p: p.contents(container)).hold()


def test_a_variable_that_has_no_value_yet(monkeypatch):
    def later():
        return value

    places = noted(lambda p: p.attribute(later.__closure__[0], "cell_contents"))
    assert not places.hold()
    value = 1.0
    places = noted(lambda p: p.attribute(later.__closure__[0], "cell_contents"))
    assert places.hold() and later() == 1.0
    value = 2.0
    assert not places.hold()
