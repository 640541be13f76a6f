"""Peak memory of one training step against the number of time steps, each candidate in a process of its own.

    python -m benchmarks.memory [--workload mlp] [--batch 32] [--steps 25 100 500 2000] [--peers ...] [--json FILE]

What is counted is how far the resident memory rises, at most, during one step, above what it is before it, when the
weights, the input and the compiled program are there and a first step has been taken and its memory handed back.
Linux only: the high-water mark is the kernel's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks import measuring
from benchmarks.peers.registry import CANDIDATES, FLOORS
from benchmarks.workloads.spec import Workload, data
from benchmarks.workloads.table import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent
PEERS = tuple(name for name in CANDIDATES if name not in (*FLOORS, "snntorch-compiled"))


def peak_in_process(name: str, workload: Workload, limit: float = 240) -> int | None:
    """Peak in bytes; None if the candidate has not got there within so many seconds, or cannot."""
    command = [sys.executable, "-m", "benchmarks.memory", "--one", name, "--workload", workload.name]
    command += ["--steps", str(workload.steps), "--batch", str(workload.batch)]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    if ran.returncode:
        print(f"{name}: {(ran.stderr.strip().splitlines() or ['failed'])[-1]}", file=sys.stderr)
        return None
    return json.loads(ran.stdout.splitlines()[-1])


def one(name: str, workload: Workload) -> int | None:
    """Peak in bytes, in this process."""
    step = CANDIDATES[name].build(workload, data(workload))
    if step is None:
        return None
    step()
    return measuring.peak_of(step)


def table(peaks: dict[str, dict[int, int | None]], workload: Workload) -> str:
    """MiB by number of steps, and bytes per neuron and step at the largest."""
    steps = sorted(next(iter(peaks.values())))
    lines = [f"{'MiB':20}" + "".join(f"{f'T {t}':>10}" for t in steps) + f"{'B/neuron-step':>16}"]
    for name, found in peaks.items():
        cells = "".join(f"{'-' if p is None else format(p / 2**20, '.0f'):>10}" for p in found.values())
        last = found[steps[-1]]
        each = "-" if last is None else f"{last / (steps[-1] * workload.batch * workload.neurons):.2f}"
        lines.append(f"{name:20}{cells}{each:>16}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", choices=list(WORKLOADS), default="mlp")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 100, 500, 2000])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument(
        "--limit", type=float, default=240, help="seconds that a candidate may take for one T"
    )
    parser.add_argument("--json", type=Path, help="write the measurements here")
    parser.add_argument("--one", choices=list(CANDIDATES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = [WORKLOADS[given.workload].sized(steps, given.batch) for steps in sorted(given.steps)]
    if given.one:
        measuring.pin(1)
        print(json.dumps(one(given.one, sizes[0])))
        return
    print(measuring.heading())
    print(f"{sizes[0].title.split(',')[0]}, batch {given.batch}, one training step", flush=True)
    peaks: dict[str, dict[int, int | None]] = {}
    for name in given.peers:
        if missing := CANDIDATES[name].missing:
            print(f"{name}: left out, not there: {', '.join(missing)}")
            continue
        peaks[name] = {}
        for size in sizes:
            slower = [p for p in peaks[name].values() if p is None]
            peaks[name][size.steps] = None if slower else peak_in_process(name, size, given.limit)
        print(table({name: peaks[name]}, sizes[0]).splitlines()[-1], flush=True)
    print("\n" + table(peaks, sizes[0]))
    if given.json:
        text = {"machine": measuring.machine(), "versions": measuring.versions(), "bytes": peaks}
        given.json.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
