"""Random numbers that were drawn elsewhere: a run of a program takes those of a run in torch, draw for draw.

A random network is compared so: torch draws, each operation that does so is recorded in the order in which it runs, and
the program gets the same numbers in the same places. Both runs then are what they would be without chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from snnax.errors import ArgumentError
from snnax.interop.program import operators
from snnax.interop.program.nodes import NEURON, Loop, Node, Program

Drawn = Sequence[tuple[str, np.ndarray]]
"""For each operation that drew, its name without overload and what it drew."""


def is_random(program: Program) -> bool:
    """Whether a run of it draws."""
    return any(map(_draws, program.nodes()))


def place_of(places: Sequence[Any]) -> str:
    """The name of an operation in :func:`placed`, from the place of its item and, in a loop, that in the body."""
    return ".".join(str(place) for place in places[:2])


def placed(program: Program, drawn: Drawn) -> dict[str, np.ndarray]:
    """What each random operation of a run draws: one array, or in a loop one of all steps.

    Args:
        program: for as many steps as the run has.
        drawn: in the order in which torch drew it.

    Raises:
        ArgumentError: torch drew more, less, or something else than the program does.
    """
    found: dict[str, list[np.ndarray]] = {}
    order = [*_in_order(program)]
    names = [node.base for _, node in order]
    if names != [name for name, _ in drawn]:
        raise ArgumentError(
            f"torch draws {len(drawn)} times in this call and its port {len(names)}, so that they cannot be given the "
            "same numbers. Take out of forward what is drawn and not used, or pass what is drawn as an argument."
        )
    for (place, _), (_, values) in zip(order, drawn, strict=True):
        found.setdefault(place, []).append(values)
    return {place: np.stack(rows) if "." in place else rows[0] for place, rows in found.items()}


def _in_order(program: Program) -> Iterator[tuple[str, Node]]:
    """The operations that draw, as often as they do, in the order in which they were traced."""
    for place, item in enumerate(program.items):
        if isinstance(item, Loop):
            body = [(place_of((place, at)), node) for at, node in enumerate(item.body) if _draws(node)]
            yield from body * item.steps
        elif _draws(item):
            yield place_of((place,)), item


def _draws(node: Node) -> bool:
    return node.op != NEURON and operators.is_random(node.op)
