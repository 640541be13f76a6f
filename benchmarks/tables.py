"""The tables of README.rst and docs/performance.rst, measured anew by one command.

    python -m benchmarks.tables [--cores 1 2] [--rounds 5] [--keep FOLDER] [--from FOLDER] [--write]

Runs ``train_step``, ``residual`` and ``transformer`` with ``--mallopt``, each in a process of its own, and prints a
table for each number of cores. ``--write`` puts them into both files, between the comments that name them; ``--keep``
keeps the measurements, and ``--from`` takes those that are there already. Needs some ten minutes for each number of
cores, and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.registry import FLOORS, OTHERS
from benchmarks.train_step import Result, fastest
from benchmarks.workloads.table import WORKLOADS

ROOT = Path(__file__).parents[1]
PLACES = {"README.rst": (1,), "docs/performance.rst": (1, 2)}
PORTED = {
    "residual": "residual network, 17 convolutions, T 4, B {}",
    "transformer": "spiking transformer, 2 blocks, T 4, B {}",
}
"""Networks ported from torch, of which both forms that there are come from ``from_snntorch``."""
BATCHES = {("residual", 2): 8}
WORDS = {2: "two", 4: "four"}
NAMES = {"spikingjelly": "SpikingJelly", "norse": "Norse"}
HEADS = ("times faster than snnTorch (ported)", "than the best other library", "step / floor")


def measure(folder: Path, cores: int, rounds: int) -> None:
    """Run the benchmarks, whose JSON then lies in the folder."""
    shared = ["--cores", str(cores), "--rounds", str(rounds), "--mallopt"]
    for name in ("train_step", *PORTED):
        batch = [] if name == "train_step" else ["--batch", str(BATCHES.get((name, cores), 16))]
        command = [sys.executable, "-m", f"benchmarks.{name}", *shared, *batch]
        subprocess.run([*command, "--json", str(_file(folder, name, cores))], cwd=ROOT, check=True)


def _file(folder: Path, name: str, cores: int) -> Path:
    return folder / f"{name}_{cores}.json"


def table(folder: Path, cores: int) -> str:
    """The rows of one number of cores, in reStructuredText."""
    rows = []
    for name, found in json.loads(_file(folder, "train_step", cores).read_text())["workloads"].items():
        rows.append((WORKLOADS[name].title, row(_results(found), "snnax", "snnax-ported", OTHERS, FLOORS)))
    for name, title in PORTED.items():
        found = json.loads(_file(folder, name, cores).read_text())
        taken = _results(found["candidates"])
        cells = row(taken, "snnax-program", "snnax-graph", OTHERS, ("floor",))
        rows.append((title.format(found["batch"]), cells))
    unit = "one CPU core" if cores == 1 else f"{WORDS.get(cores, cores)} CPU cores"
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 40 21 23 16", ""]
    for first, cells in [(f"one training step, {unit}", HEADS), *rows]:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in cells)]
    return "\n".join(lines)


def _results(found: dict[str, Any]) -> dict[str, Result]:
    return {name: Result(name, times=given["times"]) for name, given in found.items()}


def row(
    results: dict[str, Result], ours: str, ported: str, others: tuple[str, ...], floors: tuple[str, ...]
) -> tuple[str, str, str]:
    """How our step stands to snnTorch's, also the ported network's; to the best other's; to the floor."""
    mine, torch = results[ours], results["snntorch"]
    best, floor = fastest(results, others), fastest(results, floors)
    there = f" ({_short(torch.over(results[ported]))})" if results[ported].times else ""
    return (
        _short(torch.over(mine)) + there,
        f"{best.over(mine):.2f} {NAMES.get(best.name, best.name)}" if best else "none installed",
        f"{mine.over(floor):.2f}" if floor else "",
    )


def _short(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}"


def written(text: str, cores: int, made: str) -> str:
    """The file with another table between its comments.

    Raises:
        ValueError: if it has no place for the table.
    """
    begin, end = (
        f".. table of {cores} core(s), by benchmarks.tables",
        f".. end of the table of {cores} core(s)",
    )
    found = re.compile(f"({re.escape(begin)}\n\n).*?(\n\n{re.escape(end)}\n)", re.DOTALL)
    if not found.search(text):
        raise ValueError(f"no lines {begin!r} and {end!r} around a table")
    return found.sub(lambda match: match.group(1) + made + match.group(2), text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the measurements")
    parser.add_argument("--from", type=Path, dest="there", help="folder with measurements")
    parser.add_argument("--write", action="store_true", help="put the tables into the README and the page")
    given = parser.parse_args()
    folder = given.there or given.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    for cores in given.cores:
        if given.there is None:
            measure(folder, cores, given.rounds)
        made = table(folder, cores)
        print(made, flush=True)
        for name, wanted in PLACES.items():
            if given.write and cores in wanted:
                path = ROOT / name
                path.write_text(written(path.read_text(), cores, made))


if __name__ == "__main__":
    main()
