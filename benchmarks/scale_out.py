"""Data-parallel training: two processes on a core each, two devices of one process, and one process on one core.

    python -m benchmarks.scale_out

Everybody takes the same steps on the same global batches, from the same weights. The efficiency is the throughput over
twice that of one process on one core. "apart" are two processes that train on half a batch each and exchange nothing:
what the machine gives. A row whose loss is that of one process computes the same training.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import IO, Any

from benchmarks import measuring

MODES = {
    "one": "1 process, 1 core",
    "two": "2 processes, 1 core each",
    "devices": "1 process, 2 cores, 2 devices",
    "threads": "1 process, 2 cores, 1 device",
    "apart": "2 processes apart, half a batch each",
}
LIMIT = 240.0
"""Seconds after which the processes of a run are stopped."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", default=["mlp", "conv"], help="rows of workloads/table.py")
    parser.add_argument("--steps", type=int, default=30, help="timed steps of a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(_train(**json.loads(given.child))))
        return
    print(measuring.heading())
    for name in given.workload:
        found: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
        for order in measuring.shuffled(MODES, given.rounds):
            for mode in order:
                found[mode].append(run(name, mode, given.steps))
        print(table(name, found), flush=True)


def run(name: str, mode: str, steps: int, cut: tuple[int, int] | None = None) -> dict[str, float]:
    """Milliseconds of a step and the last loss; ``cut`` are other time steps and samples than the row has.

    Raises:
        RuntimeError: if a process fails or takes too long. All are stopped then.
    """
    cores = sorted(os.sched_getaffinity(0))[-2:]
    if len(cores) < 2:
        raise RuntimeError("scale_out needs two cores.")
    shared: dict[str, Any] = {"name": name, "mode": mode, "steps": steps, "cut": cut, "port": _free_port()}
    several = mode in ("two", "apart")
    parts = [[core] for core in cores] if several else [cores[1:]] if mode == "one" else [cores]
    with tempfile.TemporaryDirectory() as folder:
        children = [
            _start({**shared, "process": process, "cores": part}, Path(folder) / str(process))
            for process, part in enumerate(parts)
        ]
        try:
            _wait(children, Path(folder))
        finally:
            for child in children:
                child.kill()
                child.wait()
        written = [(Path(folder) / f"{i}.out").read_text() for i in range(len(children))]
    told = [json.loads(text.splitlines()[-1]) for text in written]  # gloo writes lines of its own before
    return {"ms": max(one["ms"] for one in told), "loss": told[0]["loss"]}


def table(name: str, found: dict[str, list[dict[str, float]]]) -> str:
    """A line for each way: median of the rounds' times, efficiency as median of the rounds' ratios, last loss."""
    from benchmarks.workloads.table import WORKLOADS

    lines = [
        f"\n{WORKLOADS[name].title}",
        f"{'':38}{'ms/step':>9}{'efficiency':>12}{'last loss':>12}{'difference':>12}",
    ]
    alone = found["one"]
    for mode, runs in found.items():
        share = statistics.median(one["ms"] / other["ms"] / 2 for one, other in zip(alone, runs, strict=True))
        loss = runs[0]["loss"]
        same = "" if mode == "apart" else f"{loss:12.7g}{loss - alone[0]['loss']:12.1e}"
        efficiency = f"{'':12}" if mode == "one" else f"{share:12.2f}"
        lines.append(f"{MODES[mode]:38}{statistics.median(r['ms'] for r in runs):9.1f}{efficiency}{same}")
    return "\n".join(lines)


def _start(given: dict[str, Any], to: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XLA_")}
    environment["JAX_PLATFORMS"] = "cpu"
    if given["mode"] == "devices":
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    command = [sys.executable, "-m", "benchmarks.scale_out", "--child", json.dumps(given)]
    out: IO[str]
    err: IO[str]
    with to.with_suffix(".out").open("w") as out, to.with_suffix(".err").open("w") as err:
        return subprocess.Popen(
            command, stdout=out, stderr=err, text=True, env=environment, cwd=Path(__file__).parents[1]
        )


def _wait(children: list[subprocess.Popen[str]], folder: Path) -> None:
    """Until all have ended; a process whose partner has failed would wait for it forever."""
    until = time.monotonic() + LIMIT
    while True:
        codes = [child.poll() for child in children]
        failed = [i for i, code in enumerate(codes) if code]
        if failed:
            raise RuntimeError(
                f"process {failed[0]} failed:\n{(folder / f'{failed[0]}.err').read_text()[-2000:]}"
            )
        if all(code == 0 for code in codes):
            return
        if time.monotonic() > until:
            raise RuntimeError(f"the processes have not ended after {LIMIT:.0f} s, and are stopped.")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def _train(
    name: str, mode: str, steps: int, cut: list[int] | None, port: int, process: int, cores: list[int]
) -> dict[str, float]:
    """What one process does."""
    os.sched_setaffinity(0, cores)
    measuring.pin(len(cores))
    import jax
    import numpy as np
    import optax

    import snnax as snn
    from benchmarks.peers.jax_step import loss
    from benchmarks.peers.snnax import network
    from benchmarks.workloads.spec import data
    from benchmarks.workloads.table import WORKLOADS

    if mode == "two":
        jax.distributed.initialize(f"localhost:{port}", 2, process)
    workload = WORKLOADS[name] if cut is None else WORKLOADS[name].sized(*cut)
    made = data(workload)
    net, params, x = network(workload, made)
    y = made.y
    if mode in ("two", "apart"):  # each process passes its part of the batch
        half = workload.batch // 2
        part = slice(process * half, (process + 1) * half)
        x, y = np.ascontiguousarray(x[part] if workload.constant else x[:, part]), y[part]
    state = snn.training.TrainState.create(net, {"params": params}, optax.sgd(workload.learning_rate))
    mesh = snn.training.data_mesh() if mode in ("two", "devices") else None
    step = snn.training.make_train_step(
        partial(loss, workload),
        read="mem" if workload.loss == "membrane" else "spk",
        num_steps=workload.steps if workload.constant else None,
        mesh=mesh,
    )
    times, last = [], 0.0
    for _ in range(3 + steps):
        began = time.perf_counter()
        state, metrics = step(state, x, y)
        last = float(metrics["loss"])
        times.append(time.perf_counter() - began)
    return {"ms": 1000 * statistics.median(times[3:]), "loss": last}


if __name__ == "__main__":
    main()
