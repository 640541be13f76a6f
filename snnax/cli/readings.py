"""How a file is read: the options that say so, and what the reader put right."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from snnax import interop
from snnax.cli.speaking import complain
from snnax.errors import ArgumentError, RepairWarning
from snnax.limits import size_limit


def choices(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``from_nir`` that ``--dt``, ``--preset`` and ``--reading`` stand for, those that are given.

    Raises:
        ArgumentError: for a reading that is no ``CHOICE=VALUE``.
    """
    from snnax.interop.nir.readings import Reading

    known = sorted({field.name for field in fields(Reading)} - {"dt"})
    found: dict[str, Any] = {"dt": options.dt, "preset": options.preset}
    for given in options.reading:
        name, equals, value = given.partition("=")
        if not equals or name in ("", "dt", "preset"):
            raise ArgumentError(f"--reading {given}: expected CHOICE=VALUE, as --reading reset=subtract.")
        if name not in known:
            raise ArgumentError(f"--reading {given}: the choices are {', '.join(known)}.")
        found[name] = _value(name, value)
    return {name: value for name, value in found.items() if value is not None}


def read(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """``from_nir`` as the options ask."""
    return interop.from_nir(options.file, **choices(options))


def _value(name: str, text: str) -> Any:
    if name == "ignore":
        return tuple(text.split(","))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@contextmanager
def sized(options: argparse.Namespace) -> Iterator[None]:
    """Within the limit that ``--size-limit`` asks for, if it is given.

    Raises:
        ArgumentError: if it is below 1.
    """
    limit = getattr(options, "size_limit", None)
    if limit is None:
        yield
        return
    if limit < 1:
        raise ArgumentError(f"--size-limit {limit}: expected a whole number of values >= 1, as 1000000000.")
    with size_limit(limit):
        yield


@contextmanager
def noted(command: str) -> Iterator[None]:
    """What the reader puts right is a line on the error stream, not a warning with a place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RepairWarning)
        before = warnings.showwarning

        def show(message: Any, category: Any, *rest: Any, **more: Any) -> None:
            if issubclass(category, RepairWarning):
                complain(f"snnax {command}: repaired: {message}")
            else:
                before(message, category, *rest, **more)

        warnings.showwarning = show
        yield
