"""All arguments of a class on its page: those that a base class describes are added to its own."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, get_type_hints

from sphinx.application import Sphinx

BULLET = re.compile(r"^\* ``(\w+)``[^:]*: (.*(?:\n  .*)*)", re.MULTILINE)
LISTED = re.compile(r"^Args:\n((?:    .*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)
POINTER = re.compile(r"\s*See\s+:class:`\w+` for (?:the|all)[^.]*?arguments[^.]*\.")
FLAX = ("parent", "name")


def shared(kind: type) -> dict[str, str]:
    """What the bases of a class say of arguments, as ``* ``name``: text`` or in their ``Args``."""
    found: dict[str, str] = {}
    for base in kind.__mro__[1:]:
        text = inspect.cleandoc(base.__doc__ or "")
        listed = LISTED.search(text + "\n") if hasattr(base, "state_names") else None
        for name, about in [*BULLET.findall(text), *(ENTRY.findall(listed[1]) if listed else ())]:
            found.setdefault(name, " ".join(about.split()))
    return found


def described(name: str, known: dict[str, str]) -> str | None:
    """The text of an argument, or of the one in whose text it is mentioned."""
    if name in known:
        return known[name]
    return next((f"see ``{other}``." for other, text in known.items() if f"``{name}``" in text), None)


def _place(entry: str, fields: list[str]) -> int:
    """Where an entry of ``Args`` stands in the signature."""
    first = re.split(r"[,:]", entry.strip(), maxsplit=1)[0]
    return fields.index(first) if first in fields else len(fields)


def complete(app: Sphinx, what: str, name: str, kind: Any, options: Any, lines: list[str]) -> None:
    """Add to the docstring's ``Args`` what is missing there and described in a base."""
    if what != "class" or not dataclasses.is_dataclass(kind) or not shared(kind):
        return
    text = "\n".join(lines)
    listed = LISTED.search(text)
    own = re.findall(r"^    ([\w, ]+):", listed[1], re.MULTILINE) if listed else []
    there = {argument.strip() for names in own for argument in names.split(",")}
    fields = [field.name for field in dataclasses.fields(kind) if field.init and field.name not in FLAX]
    added = []
    for field in fields:
        about = None if field in there else described(field, shared(kind))
        if about is not None:
            added.append(f"    {field}: {about}")
    if not added or listed is None:
        return
    entries = [*re.split(r"\n(?=    [\w*])", listed[1].rstrip("\n")), *added]
    body = "\n".join(sorted(entries, key=lambda entry: _place(entry, fields))) + "\n\n"
    text = text[: listed.start(1)] + body + text[listed.end(1) :]
    lines[:] = POINTER.sub("", text).split("\n")


def resolve(app: Sphinx, function: Any, bound: bool) -> None:
    """Types of inherited arguments, which a data class has as text, as what they are where they were written."""
    owner, _, name = getattr(function, "__qualname__", "").rpartition(".")
    kind = getattr(inspect.getmodule(function), owner, None)
    if name == "__init__" and dataclasses.is_dataclass(kind) and shared(kind):
        types, given = get_type_hints(kind), function.__annotations__
        given.update({argument: types[argument] for argument in given if argument in types})


def is_equation(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a neuron takes from the room of equations: it is for those who write one."""
    of_equations = getattr(member, "__module__", None) or ""
    return True if what == "class" and of_equations.startswith("snnax.dynamics.") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; before napoleon reads the docstring."""
    app.connect("autodoc-process-docstring", complete, priority=100)
    app.connect("autodoc-before-process-signature", resolve)
    app.connect("autodoc-skip-member", is_equation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
