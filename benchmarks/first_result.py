"""From a fresh process to the first result: imports, a port, ``unroll``, cross-validation, training, commands.

    python -m benchmarks.first_result [--rounds 3] [--only WORDS] [--json FILE]

Each line is a process of its own, started in turn; printed are the medians of its CPU and wall seconds, the start of
Python included. What compiles runs with an empty and with a full persistent compilation cache.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import measuring

IMPORTS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import jax": "import jax",
    "import flax.linen": "import flax.linen",
    "import torch": "import torch",
    "import snntorch": "import snntorch",
    "import snnax": "import snnax",
    "import snnax, a neuron": "import snnax; snnax.Leaky",
    "import snnax.interop": "import snnax.interop",
}
NETWORK = """
import torch, snntorch
from torch import nn
from snnax import interop
torch.manual_seed(0)
def lif(): return snntorch.Leaky(beta=0.9, init_hidden=True)
source = nn.Sequential(nn.Linear(20, 64), lif(), nn.Linear(64, 64), lif(), nn.Linear(64, 10), lif())
x = torch.rand(25, 8, 20)
port = interop.from_snntorch(source, x[0])
"""
UNROLL = "\nimport snnax\nsnnax.unroll(*port, x.numpy())[0].block_until_ready()\n"
TRAIN = """
import numpy, optax, snnax, snnax.functional as SF
state = snnax.training.TrainState.create(*port, optax.adam(1e-3))
batch = x.numpy(), numpy.zeros(8, int)
snnax.training.fit(state, [batch], epochs=1, loss=SF.ce_rate_loss(), progress=False)
"""
RESULTS = {
    "port of three layers": NETWORK,
    "port, first unroll": NETWORK + UNROLL,
    "port, crossvalidate": NETWORK + "\nassert interop.crossvalidate(source, port, x).agree\n",
    "port, first step of fit": NETWORK + TRAIN,
}
COMMANDS = {
    "snnax --help": ["--help"],
    "snnax --version": ["--version"],
    "snnax inspect FILE": ["inspect", "{file}"],
    "snnax convert FILE": ["convert", "{file}", "{folder}/written.py", "--to", "flax-source", "--force"],
}


def command_of(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def taken(command: list[str], cache: Path | None) -> tuple[float, float]:
    """CPU and wall seconds of a process.

    Raises:
        RuntimeError: if it fails, with what it said.
    """
    own = dict(os.environ, JAX_PLATFORMS="cpu", JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
    own.pop("JAX_COMPILATION_CACHE_DIR", None)
    if cache is not None:
        own["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    begin, before = time.perf_counter(), _children()
    done = subprocess.run(command, env=own, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stderr[-500:]}")
    return _children() - before, time.perf_counter() - begin


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lines(folder: Path, only: str) -> dict[str, tuple[list[str], Path | None]]:
    """What is measured: the process, and its compilation cache; those with ``only`` in their name."""
    file = folder / "network.nir"
    taken(
        command_of(NETWORK + f"\ninterop.write_nir({str(file)!r}, interop.to_nir(*port, x[0].numpy()))\n"),
        None,
    )
    made: dict[str, tuple[list[str], Path | None]] = {
        name: (command_of(code), None) for name, code in IMPORTS.items()
    }
    full = folder / "full"
    for name, code in RESULTS.items():
        made[name] = (command_of(code), None)
        made[f"{name}, cached"] = (command_of(code), full)
    for name, arguments in COMMANDS.items():
        given = [a.format(file=file, folder=folder) for a in arguments]
        made[name] = ([sys.executable, "-m", "snnax", *given], None)
    made = {name: line for name, line in made.items() if only in name}
    for command, cache in made.values():
        if cache is not None:
            taken(command, cache)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="lines that have this in their name")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    given = parser.parse_args()
    print(measuring.heading(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        made = lines(Path(folder), given.only)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
        for names in measuring.shuffled(made, given.rounds):
            for name in names:
                times[name].append(taken(*made[name]))
    print(f"{'':40}{'CPU s':>8}{'wall s':>8}")
    for name, pairs in times.items():
        cpu, wall = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        print(f"{name:40}{cpu:8.2f}{wall:8.2f}")
    if given.json:
        given.json.write_text(json.dumps({"machine": measuring.machine(), "times": times}, indent=1) + "\n")


if __name__ == "__main__":
    main()
