"""Seconds to trace, lower and compile a training step, against the number of time steps and the depth.

    python -m benchmarks.compile_time [--peers snnax snnax-ported ...] [--steps 25 100 500 2000]
                                      [--depths 1 5 9 17] [--blocks 1 2 4 8] [--json FILE]

CPU seconds of this process on one core, without JAX's persistent cache. Then the step is run three times, on what the
one before returned, and the programs that XLA compiled in the second and third are counted: none is right. The last
rows are the first blocks of the network of ``residual``, ported by ``from_snntorch``; the port itself is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import measuring, residual
from benchmarks.peers.registry import CANDIDATES
from benchmarks.workloads.spec import Targets, Workload, data, perceptron
from benchmarks.workloads.table import WORKLOADS

Build = Callable[[], Any]

COMPILED = "/jax/core/compile/backend_compile_duration"
PEERS = ("snnax", "snnax-ported", "snnax-bfloat16", "snnax-remat", "spyx", "jaxpike")


def deep(depth: int, steps: int = 100, batch: int = 32, width: int = 512) -> Workload:
    """``depth`` layers of neurons."""
    layers = perceptron((width,) * (depth + 1), 0.9)
    title = f"{depth} x {width}, T {steps}"
    return Workload(f"depth{depth}", title, layers, steps, batch, "spikes", Targets(1, 1, 1))


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """How many programs XLA has compiled since."""
    import jax

    seen = 0

    def listen(event: str, duration: float, **_: Any) -> None:
        nonlocal seen
        seen += event == COMPILED

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield lambda: seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def rows(name: str, steps: list[int], depths: list[int], blocks: list[int]) -> Iterator[tuple[str, Build]]:
    """The titles, and what builds the steps of a candidate."""
    listed = [WORKLOADS["mlp"].sized(count, 32) for count in steps]
    for row in [*listed, *map(deep, depths), WORKLOADS["conv"]]:
        yield f"{row.title.split(',')[0]}, T {row.steps}", partial(_built, name, row)
    for count in blocks if name == "snnax-ported" else []:
        yield f"residual, {2 * count + 1} convolutions, T 4", partial(residual.compiled_step, count)


def _built(name: str, row: Workload) -> Any:
    return CANDIDATES[name].build(row, data(row))


def stages(step: Any) -> dict[str, float]:
    """CPU seconds of each stage, and the programs compiled in the first call and in the two after it."""
    import jax

    jax.clear_caches()
    marks = [time.process_time()]
    traced = step.program.trace(*step.arguments)
    marks.append(time.process_time())
    lowered = traced.lower()
    marks.append(time.process_time())
    lowered.compile()
    marks.append(time.process_time())
    with counting() as count:
        step()
        first = count()
        step()
        step()
        again = count() - first
    spent = [after - before for before, after in pairwise(marks)]
    return dict(zip(("trace", "lower", "compile"), spent, strict=True)) | {"again": again}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS[:2]))
    parser.add_argument("--steps", type=int, nargs="*", default=[25, 100, 500, 2000])
    parser.add_argument("--depths", type=int, nargs="*", default=[1, 5, 9, 17])
    parser.add_argument("--json", type=Path, help="write the measurements here")
    parser.add_argument("--blocks", type=int, nargs="*", default=[1, 2, 4, 8], help="of the residual network")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # a program from there is not compiled
    measuring.pin(1)
    print(measuring.heading())
    print(f"\n{'':20}{'':30}{'trace':>8}{'lower':>8}{'compile':>9}{'all s':>8}{'recompiled':>12}", flush=True)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in given.peers:
        if missing := CANDIDATES[name].missing:
            print(f"{name}: left out, not there: {', '.join(missing)}")
            continue
        found[name] = {}
        for title, build in rows(name, given.steps, given.depths, given.blocks):
            spent = found[name][title] = stages(build())
            trace, lower, compiling = (spent[part] for part in ("trace", "lower", "compile"))
            print(
                f"{name:20}{title:30}{trace:8.2f}{lower:8.2f}{compiling:9.2f}{trace + lower + compiling:8.2f}"
                f"{'no' if not spent['again'] else spent['again']:>12}",
                flush=True,
            )
    if given.json:
        text = {"machine": measuring.machine(), "versions": measuring.versions(), "seconds": found}
        given.json.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
