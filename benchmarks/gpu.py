"""What snnax does on a GPU, beside its peers, in at most eight minutes: one command, one JSON.

    python -m benchmarks.gpu --json gpu.json [--budget 480] [--rounds 5] [--rows NAME ...]
    python -m benchmarks.gpu --platform cpu --small --json try.json     # all of it tiny, without a GPU
    python -m benchmarks.gpu --show gpu.json                            # the tables of a file

Rows are in the order of their importance, and the file is written after each. A row, a peer or a kernel that is not
there, fails, or has no time left is in the file by name. Seconds are those of the wall, and each step waits for its
results. benchmarks/README.rst says more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.gpu_table import judged, shown
from benchmarks.within_budget import Budget, Row, run

ENVIRONMENT = ("XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")
NOT_REACHABLE = {
    "scan-1, scan-8": "snn.unroll has no argument for the unrolling of its lax.scan; these are JAX by hand"
}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the measurements here")
    parser.add_argument("--show", type=Path, help="print the tables of this file, and measure nothing")
    parser.add_argument(
        "--budget", type=float, default=480, help="seconds in all; the last row ends its round"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=5, help="a slower step (s) is measured once")
    parser.add_argument("--rows", nargs="+", default=[], help="these only: names, or beginnings of names")
    parser.add_argument("--platform", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script")
    found = parser.parse_args(given)
    if not found.json and not found.show:
        parser.error("--json FILE to measure, or --show FILE to read")
    return found


def main(given: Sequence[str] | None = None) -> None:
    asked = arguments(given)
    if asked.show:
        print(shown(json.loads(asked.show.read_text())))
        return
    budget = Budget(asked.budget)
    if asked.platform == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    # JAX would take three quarters of the memory at once, and torch could not run beside it
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    warnings.simplefilter("ignore")
    from benchmarks.gpu_rows import all_rows, device

    found = device()
    if found["platform"] != asked.platform:
        raise SystemExit(
            f"JAX sees no GPU here, but {found['platform']}: {found['kind']}. --platform cpu --small runs the same "
            "tiny, without one."
        )
    head = {
        "machine": measuring.machine(),
        "versions": measuring.versions(),
        "device": found,
        "environment": {name: os.environ.get(name, "") for name in ENVIRONMENT},
        "small": asked.small,
        "budget": asked.budget,
        "not reachable": NOT_REACHABLE,
    }
    rows = chosen(all_rows(asked.platform, asked.small), asked.rows)

    def write(results: list[dict[str, Any]]) -> None:
        rows = [judged(row, found) for row in results]
        text = json.dumps({**head, "seconds": budget.spent, "rows": rows}, indent=1, default=str)
        half = asked.json.with_suffix(".part")
        half.write_text(text + "\n")
        half.replace(asked.json)  # a run that is killed leaves the whole file of the row before

    results = run(rows, budget, write, asked.rounds, asked.limit, lambda text: print(text, file=sys.stderr))
    print(shown({**head, "seconds": budget.spent, "rows": results}))


def chosen(rows: list[Row], names: list[str]) -> list[Row]:
    """Those whose names begin so.

    Raises:
        SystemExit: if none does; says which rows there are.
    """
    for name in names:
        if not any(row.name.startswith(name) for row in rows):
            raise SystemExit(f"--rows {name}: no such row. There are {', '.join(row.name for row in rows)}")
    return [row for row in rows if not names or row.name.startswith(tuple(names))]


if __name__ == "__main__":
    main()
