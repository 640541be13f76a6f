"""What ``unroll`` chooses by itself beside explicit choices of ``chunk``, ``remat`` and ``residuals``, row by row.

    python -m benchmarks.schedule [--workload mlp conv ...] [--cores 1|2] [--rounds 5] [--mallopt]

All choices take turns in one process, as in ``train_step``. Printed is the time of each choice over that of the
default, as the median of the rounds, and which one is the fastest.
"""

from __future__ import annotations

import argparse
import math
import statistics
import warnings
from dataclasses import replace
from typing import Any

from benchmarks import measuring
from benchmarks.peers.registry import CANDIDATES
from benchmarks.workloads.spec import data
from benchmarks.workloads.table import WORKLOADS

PARTS = (1, 4, 10, 20, 100)
"""Of T: sizes of chunks."""


def choices(steps: int) -> dict[str, dict[str, Any]]:
    """Arguments of ``unroll``, the default first."""
    sizes = sorted({max(1, steps // part) for part in PARTS})
    return {
        "default": {},
        **{f"chunk={size}": {"chunk": size} for size in sizes},
        "remat=False": {"remat": False},
        f"remat=False, chunk={steps}": {"remat": False, "chunk": steps},
        "remat=True": {"remat": True},
        "bfloat16": {"residuals": "bfloat16"},
    }


def over_default(name: str, rounds: int, cores: int) -> dict[str, float]:
    """The time of each choice over that of the default."""
    workload = WORKLOADS[name]
    given, seconds = data(workload), measuring.clock(cores)
    steps, times = {}, {}
    for choice, arguments in choices(workload.steps).items():
        step = replace(CANDIDATES["snnax"], unroll=tuple(arguments.items())).build(workload, given)
        assert step is not None  # snnax has a form of every workload
        step()
        steps[choice] = step
        times[choice] = max(1, math.ceil(0.1 / measuring.taken(step, seconds)))
    taken = measuring.in_turn(steps, rounds, cores, times)
    default = taken["default"]
    return {
        choice: statistics.median(a / b for a, b in zip(own, default, strict=True))
        for choice, own in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mallopt", action="store_true", help="let glibc keep freed pages")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    measuring.pin(given.cores)
    if given.mallopt and not measuring.keep_pages():
        print("mallopt: no glibc here")
    print(measuring.heading(), flush=True)
    for name in given.workload:
        ratios = over_default(name, given.rounds, given.cores)
        best = min(ratios, key=lambda choice: ratios[choice])
        print(f"{WORKLOADS[name].title:38} fastest {ratios[best]:.2f} {best}")
        print("    " + ", ".join(f"{choice} {ratio:.2f}" for choice, ratio in ratios.items()), flush=True)


if __name__ == "__main__":
    main()
