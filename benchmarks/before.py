"""Every row of ``train_step`` and the residual network in this tree and in another one, in turn: is anything slower?

    git worktree add ../before REVISION
    python -m benchmarks.before ../before [--workload mlp conv ...] [--cores 1|2] [--rounds 5] [--mallopt]

Each tree runs in a process of its own, with the package of that tree and these benchmarks. The two wait for each other,
so that one step is measured at a time. Printed is the time of the other tree over that of this one, as the median of
the rounds: above 1 this tree is faster.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.workloads.table import WORKLOADS

HERE = Path(__file__).parents[1]
RESIDUAL = "residual"
ROWS = [*(f"{name}/{kind}" for name in WORKLOADS for kind in ("snnax", "snnax-ported")), RESIDUAL]


class Tree:
    """A process that has the package of one tree, and takes steps when it is told to.

    Args:
        path: root of the tree.
        cores: that it may use.
        mallopt: let glibc keep freed pages.
    """

    def __init__(self, path: Path, cores: int, mallopt: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.before", str(path.resolve()), "--serve"]
        command += ["--cores", str(cores)]
        self._process = subprocess.Popen(
            command + ["--mallopt"] * mallopt, cwd=HERE, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, **question: Any) -> Any:
        """The answer to a question.

        Raises:
            RuntimeError: if the process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args} ended; what it said is above.")
        return json.loads(answer)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def serve(tree: Path, cores: int, mallopt: bool) -> None:
    """Answer questions on the standard input, a line each, until it ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    measuring.pin(cores)
    if mallopt:
        measuring.keep_pages()
    sys.path.insert(0, str(tree))
    package = str(Path(importlib.import_module("snnax").__file__ or "").parents[1])
    sys.path.pop(0)  # what else is imported is of this tree, as these benchmarks
    seconds = measuring.clock(cores)
    step: Callable[[], float] = lambda: 0.0  # noqa: E731
    for line in sys.stdin:
        question = json.loads(line)
        if "build" in question:
            step = built(question["build"])
            step()
            answer: Any = {"loss": step(), "seconds": measuring.taken(step, seconds), "from": package}
        else:
            answer = measuring.taken(step, seconds, question["times"])
        print(json.dumps(answer), file=answers, flush=True)


def built(row: str) -> Callable[[], float]:
    """The step of a row."""
    if row == RESIDUAL:
        from benchmarks import residual

        return residual.makers(steps=4, batch=16)["snnax-graph"]()
    from benchmarks.peers.registry import CANDIDATES
    from benchmarks.workloads.spec import data

    name, kind = row.split("/")
    step = CANDIDATES[kind].build(WORKLOADS[name], data(WORKLOADS[name]))
    assert step is not None  # snnax has a form of every workload
    return step


def ratio(here: Tree, there: Tree, row: str, rounds: int, cores: int) -> tuple[float, float]:
    """How many times as long the other tree takes, and the relative difference of their second losses."""
    first = [tree.ask(build=row) for tree in (here, there)]
    if first[0]["from"] == first[1]["from"]:
        raise RuntimeError(
            f"Both processes import {first[0]['from']}; is it installed in the way of the other?"
        )
    times = max(1, math.ceil(0.1 / min(answer["seconds"] for answer in first)))
    ratios = []
    for turn in range(rounds):
        taken = {}
        for tree in (here, there) if turn % 2 else (there, here):
            measuring.settle(cores)
            taken[tree] = tree.ask(times=times)
        ratios.append(taken[there] / taken[here])
    losses = [answer["loss"] for answer in first]
    return statistics.median(ratios), abs(losses[0] - losses[1]) / max(abs(losses[1]), 1e-30)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", type=Path, help="root of the other tree")
    parser.add_argument("--workload", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mallopt", action="store_true", help="let glibc keep freed pages")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.serve:
        return serve(given.tree, given.cores, given.mallopt)
    if not (given.tree / "snnax" / "__init__.py").is_file():
        parser.error(f"{given.tree} has no snnax/; make one by: git worktree add {given.tree} REVISION")
    print(measuring.heading(), flush=True)
    trees = [Tree(path, given.cores, given.mallopt) for path in (HERE, given.tree)]
    try:
        for row in given.workload:
            times, apart = ratio(*trees, row, given.rounds, given.cores)
            print(f"{row:28} before / now {times:5.2f}   losses differ by {apart:.1e}", flush=True)
    finally:
        for tree in trees:
            tree.close()


if __name__ == "__main__":
    main()
