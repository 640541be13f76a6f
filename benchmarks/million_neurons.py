"""Time and peak memory of importing and running a NIR graph of a million neurons.

    PYTHONPATH=. python benchmarks/million_neurons.py [--side 250] [--steps 20]

A convolution feeds 16 x side x side LIF neurons, each with parameters of its own, and a second layer reads them.
Each stage runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nir
import numpy as np

CHANNELS = 16
STAGES = ("import the package", "read the file", "import the graph", "run", "referee")


def graph(side: int) -> nir.NIRGraph:
    """Input, convolution, LIF neurons with their own time constants, pooling."""
    rng = np.random.default_rng(0)
    shape = (CHANNELS, side, side)

    def full(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, shape).astype(np.float32)

    weight = rng.normal(0, 1, (CHANNELS, 1, 3, 3)).astype(np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([1, side, side])}),
        "conv": nir.Conv2d((side, side), weight, 1, 1, 1, 1, np.zeros(CHANNELS, np.float32)),
        "lif": nir.LIF(full(1e-3, 3e-3), full(5, 15), full(0, 0.1), full(0.8, 1.2), full(-0.2, 0)),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "output": nir.Output({"output": np.array([CHANNELS, side // 2, side // 2])}),
    }  # fmt: skip
    edges = [("input", "conv"), ("conv", "lif"), ("lif", "pool"), ("pool", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def stage(name: str, path: Path, side: int, steps: int) -> None:
    """Do everything up to this stage, and print the time of the last part and the peak memory."""
    begin = time.perf_counter()
    import jax

    import snnax as snn
    from snnax import interop
    from snnax.interop.reference import simulate

    last = time.perf_counter() - begin
    x = np.random.default_rng(1).random((steps, 1, 1, side, side), np.float32)
    work = [lambda: interop.read_nir(path), lambda: interop.from_nir(path, 1e-4)]
    if name == "referee":
        work = [lambda: simulate(path, x, dt=1e-4)]
    for part in work[: STAGES.index(name)] if name != "referee" else work:
        begin = time.perf_counter()
        made = part()
        last = time.perf_counter() - begin
    if name == "run":
        model, variables = made
        for _ in range(2):
            begin = time.perf_counter()
            jax.block_until_ready(snn.unroll(model, variables, x))
            print(
                f"  {'compile and run' if _ == 0 else 'run again':22s} {time.perf_counter() - begin:8.2f} s",
                flush=True,
            )
        last = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{name:24s} {last:8.2f} s  peak {peak:6.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=250)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.stage:
        stage(given.stage, given.file, given.side, given.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.nir"
        nir.write(path, graph(given.side))
        neurons = CHANNELS * given.side**2
        print(
            f"{neurons} neurons, {given.steps} steps, file of {path.stat().st_size / 1e6:.1f} MB", flush=True
        )
        for name in STAGES:
            command = [sys.executable, __file__, "--stage", name, "--file", str(path)]
            subprocess.run([*command, "--side", str(given.side), "--steps", str(given.steps)], check=True)


if __name__ == "__main__":
    main()
