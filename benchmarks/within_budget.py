"""Rows of candidates, measured in the order of their importance until the time is up; what fails is named.

A row's candidates are built and compiled one after the other and then take turns, each once in a round, in random
order. All that was measured is written after each row. A candidate that fails, and a row or a candidate for which no
time is left, are in what is written by name, with the reason.
"""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from benchmarks import measuring

SHORTEST = 0.02
"""Seconds that a measurement takes at least: quick steps are repeated."""
NOT_REACHED = "not run: the run ended before it"
NO_TIME = "not run: no time left"
MEASURED, NOTHING = "measured", "nothing measured"

Step = Callable[[], Any]
Ready = tuple[Step, dict[str, Any]]
"""A step that waits for its results, and what is known of it before it is timed."""


@dataclass(frozen=True)
class Row:
    """``candidates`` are builders by name; each returns a step, or raises what says why there is none.

    ``facts`` stand in the result as they are; by their "operations" and "least_bytes", or by those in a candidate's own
    "amounts", rates are computed. ``around`` is entered while the row is built and measured.
    """

    name: str
    title: str
    candidates: dict[str, Callable[[], Ready]]
    facts: dict[str, Any] = field(default_factory=dict)
    around: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext


class LeftOut(Exception):
    """A candidate that cannot be here: not installed, or without a form of this workload."""


@dataclass
class Budget:
    """Seconds since it was made, and those that are left."""

    seconds: float
    clock: Callable[[], float] = time.perf_counter
    begin: float = field(init=False)
    last: float = (
        30  # or a sixteenth of all: nothing is begun in the last seconds, which end what is on its way
    )

    def __post_init__(self) -> None:
        self.begin = self.clock()

    @property
    def spent(self) -> float:
        return self.clock() - self.begin

    @property
    def over(self) -> bool:
        return self.spent >= self.seconds - min(self.last, self.seconds / 16)


def run(
    rows: Sequence[Row],
    budget: Budget,
    write: Callable[[list[dict[str, Any]]], None],
    rounds: int = 5,
    limit: float = 5.0,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """All rows; ``write`` gets them before the first and after each. A step slower than ``limit`` is timed once."""
    results = [_unmeasured(row, NOT_REACHED) for row in rows]
    write(results)
    for number, row in enumerate(rows):
        if budget.over:
            results[number] = _unmeasured(row, NO_TIME)
            continue
        say(f"{budget.spent:5.0f} s  {row.name}")
        begin = budget.spent
        try:
            with row.around():
                found = _measured(row, budget, rounds, limit)
        except Exception as error:
            results[number] = _unmeasured(row, _shown(error))
        else:
            state = MEASURED if any("times" in entry for entry in found.values()) else NOTHING
            results[number] = {**_head(row), "state": state, "candidates": found}
        results[number]["seconds"] = budget.spent - begin
        write(results)
    write(results)
    return results


def _head(row: Row) -> dict[str, Any]:
    return {"name": row.name, "title": row.title, **row.facts}


def _unmeasured(row: Row, why: str) -> dict[str, Any]:
    return {**_head(row), "state": why, "candidates": {name: {"state": why} for name in row.candidates}}


def _shown(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, LeftOut) else f"failed: {type(error).__name__}: {text[:400]}"


def _measured(row: Row, budget: Budget, rounds: int, limit: float) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {name: {"state": NO_TIME} for name in row.candidates}
    steps: dict[str, Step] = {}
    repeats: dict[str, int] = {}
    for name, build in row.candidates.items():
        if budget.over:
            break
        try:
            step, known = build()
            step()
            once = measuring.taken(step, time.perf_counter)
        except Exception as error:
            found[name] = {"state": _shown(error)}
            continue
        found[name] = {"state": MEASURED, "times": [], **known}
        if once > limit:
            found[name] |= {"state": f"measured once: a step takes {once:.1f} s", "times": [once]}
            continue
        steps[name], repeats[name] = step, math.ceil(SHORTEST / max(once, 1e-6))
    gc.collect()
    gc.freeze()  # what is there now is not searched again before each measurement
    try:
        for number, order in enumerate(measuring.shuffled(steps, rounds)):
            if number and budget.over:
                break
            for name in order:
                if name in steps:
                    _once_more(name, found[name], steps, repeats[name])
    finally:
        gc.unfreeze()
    for entry in found.values():
        if entry.get("times"):
            seconds = entry["median"] = statistics.median(entry["times"])
            for rate, amount in (("operations_per_s", "operations"), ("bytes_per_s", "least_bytes")):
                amounts = entry.get("amounts", row.facts)
                if amount in amounts:
                    entry[rate] = amounts[amount] / seconds
    return found


def _once_more(name: str, entry: dict[str, Any], steps: dict[str, Step], times: int) -> None:
    """A further measurement; a candidate that fails now takes no further turns."""
    try:
        entry["times"].append(measuring.taken(steps[name], time.perf_counter, times))
    except Exception as error:
        del steps[name]
        entry["state"] = _shown(error)
