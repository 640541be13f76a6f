"""One step of training (or inference) in snnax and its peers, in turn in one process: times, ratios, memory.

    python -m benchmarks.train_step [--workload mlp conv ...] [--rounds 5] [--cores 1|2] [--peers ...]
                                    [--memory] [--mallopt] [--json FILE]

Each round takes one measurement of each candidate, in random order. A ratio is the median of the rounds' ratios,
so that what slows the machine for a while slows both its sides. On one core the seconds are the process's CPU
seconds, on several those of the wall. Compilation and two steps are not counted. benchmarks/README.rst says more.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import measuring
from benchmarks.peers.registry import CANDIDATES, DEFAULT, FLOORS, OTHERS, OURS, Candidate, Step
from benchmarks.workloads.spec import Workload, data
from benchmarks.workloads.table import WORKLOADS

SHORTEST = 0.05
"""Seconds that a measurement takes at least: quick steps are repeated."""


@dataclass
class Result:
    """What was measured of one candidate; ``times`` are seconds per step, one of each round."""

    name: str
    first: float = math.nan
    loss: float = math.nan
    times: list[float] = field(default_factory=list)
    peak: int | None = None
    skipped: str = ""

    @property
    def seconds(self) -> float:
        return statistics.median(self.times) if self.times else math.nan

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        if len(self.times) < 3:
            return math.nan
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return (high - low) / self.seconds

    def over(self, other: Result) -> float:
        """Median over the rounds of this time through the other's."""
        pairs = zip(self.times, other.times, strict=False)
        ratios = [a / b for a, b in pairs]
        return statistics.median(ratios) if ratios else math.nan


def measure(workload: Workload, names: list[str], rounds: int, cores: int, limit: float) -> dict[str, Result]:
    """Build all, warm up all, then let them take turns."""
    seconds = measuring.clock(cores)
    given = data(workload)
    results = {name: Result(name) for name in names}
    steps: dict[str, Step] = {}
    times: dict[str, int] = {}
    for name, result in results.items():
        _progress(f"  {workload.name}: building and warming up {name}")
        step = _prepared(CANDIDATES[name], workload, given, result)
        if step is None:
            continue
        begin = time.perf_counter()
        result.loss = step()
        result.first = time.perf_counter() - begin
        once = measuring.taken(step, seconds)
        if once > limit:
            result.times = [once]
            result.skipped = f"one step takes {once:.0f} s: measured once"
            continue
        steps[name] = step
        times[name] = max(1, math.ceil(SHORTEST / max(once, 1e-6)))
    for turn, order in enumerate(measuring.shuffled(steps, rounds)):
        _progress(f"  {workload.name}: round {turn + 1} of {rounds}")
        for name in order:
            measuring.settle(cores)
            results[name].times.append(measuring.taken(steps[name], seconds, times[name]))
    _progress("")
    return results


def _progress(text: str) -> None:
    """One line that is written over, or, where there is no terminal, a line each."""
    if sys.stderr.isatty():
        print(f"\r{text:70}\r", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def _prepared(candidate: Candidate, workload: Workload, given: object, result: Result) -> Step | None:
    if candidate.missing:
        result.skipped = f"left out, not there: {', '.join(candidate.missing)}"
        return None
    step = candidate.build(workload, given)
    if step is None:
        result.skipped = "has no form of this workload"
    return step


def fastest(results: dict[str, Result], names: tuple[str, ...]) -> Result | None:
    there = [results[name] for name in names if name in results and results[name].times]
    return min(there, key=lambda result: result.seconds, default=None)


def table(workload: Workload, results: dict[str, Result], cores: int) -> str:
    """Each candidate's time, and how it stands to snnTorch and to the floor."""
    unit = "CPU ms" if cores == 1 else "wall ms"
    lines = [
        f"\n{workload.title}: {'training' if workload.train else 'inference'} step",
        f"{'':20}{unit:>10}{'spread':>8}{'snnTorch/it':>13}{'it/snnax':>10}{'it/floor':>10}"
        f"{'peak MiB':>10}{'first s':>9}{'first loss':>13}",
    ]
    floor = fastest(results, FLOORS)
    for result in sorted(results.values(), key=lambda r: r.seconds if r.times else math.inf):
        if not result.times:
            lines.append(f"{result.name:20}  {result.skipped}")
            continue
        ratios = [
            results["snntorch"].over(result) if "snntorch" in results else math.nan,
            result.over(results["snnax"]) if "snnax" in results else math.nan,
            result.over(floor) if floor else math.nan,
        ]
        cells = f"{1000 * result.seconds:10.2f}{_percent(result.spread):>8}"
        cells += "".join(
            f"{'-' if math.isnan(r) else format(r, '.2f'):>{w}}"
            for r, w in zip(ratios, (13, 10, 10), strict=True)
        )
        cells += (
            f"{'-' if result.peak is None else format(result.peak / 2**20, '.0f'):>10}{result.first:9.2f}"
        )
        cells += f"{'' if result.name in FLOORS else format(result.loss, '.6g'):>13}  {result.skipped}"
        lines.append(f"{result.name:20}{cells}".rstrip())
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


def summary(found: dict[str, dict[str, Result]]) -> str:
    """The rows of all workloads, with what each is meant to reach in brackets."""
    lines = [f"\n{'':37}{'':14}{'x snnTorch':>16}{'x best other library':>34}{'of the floor':>16}"]
    for name, results in found.items():
        workload = WORKLOADS[name]
        target = workload.targets
        for ours in OURS:
            if ours not in results or not results[ours].times:
                continue
            mine = results[ours]
            torch, best, floor = (fastest(results, group) for group in (("snntorch",), OTHERS, FLOORS))
            cells = (
                _against(torch.over(mine) if torch else math.nan, f">= {target.snntorch}"),
                _against(best.over(mine) if best else math.nan, f">= {target.peer}")
                + (f" {best.name}" if best else ""),
                _against(mine.over(floor) if floor else math.nan, f"<= {target.floor}"),
            )
            lines.append(f"{workload.title:37}{ours:14}{cells[0]:>16}{cells[1]:>34}{cells[2]:>16}")
    return "\n".join(lines)


def _against(value: float, target: str) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} ({target})"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=[*CANDIDATES, "all"], default=list(DEFAULT))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--limit", type=float, default=8, help="a slower step (s) is measured once")
    parser.add_argument("--memory", action="store_true", help="peak memory too, each in its own process")
    parser.add_argument("--mallopt", action="store_true", help="let glibc keep freed pages, for all")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    warnings.simplefilter("ignore")
    measuring.pin(given.cores)
    if given.mallopt and not measuring.keep_pages():
        print("mallopt: no glibc here")
    names = list(CANDIDATES) if "all" in given.peers else given.peers
    print(measuring.heading(), flush=True)
    found: dict[str, dict[str, Result]] = {}
    for name in given.workload:
        workload = WORKLOADS[name]
        results = measure(workload, names, given.rounds, given.cores, given.limit)
        if given.memory:
            from benchmarks.memory import peak_in_process

            for result in results.values():
                if result.times:
                    result.peak = peak_in_process(result.name, workload)
        found[name] = results
        print(table(workload, results, given.cores), flush=True)
        if given.json:
            _write(given.json, found, given)
    print(summary(found))
    print()
    for name in names:
        if name not in FLOORS and not CANDIDATES[name].missing:
            print(f"{name:20}differs from snnTorch in: {CANDIDATES[name].differs}")


def _write(path: Path, found: dict[str, dict[str, Result]], given: argparse.Namespace) -> None:
    text = {
        "machine": measuring.machine(),
        "versions": measuring.versions(),
        "cores": given.cores,
        "mallopt": given.mallopt,
        "workloads": {
            name: {
                result.name: {**asdict(result), "median": result.seconds if result.times else None}
                for result in results.values()
            }
            for name, results in found.items()
        },
    }
    path.write_text(json.dumps(text, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
