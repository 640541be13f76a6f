"""Pinning, clocks, memory and what a table says of where it was measured. Imports neither jax nor torch."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import os
import platform
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

PACKAGES = "snnax jax jaxlib flax optax torch snntorch norse spikingjelly spyx jaxpike equinox numpy".split()

SETTLE = 0.4
"""Seconds before a measurement on several cores."""


def pin(cores: int) -> None:
    """Run on so many cores. Must be called before jax and torch are imported: they count them once."""
    if {"jax", "torch"} & set(sys.modules):
        raise RuntimeError("pin() after jax or torch was imported; they have counted the cores already.")
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[-cores:])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(cores)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def keep_pages() -> bool:
    """Let glibc keep freed memory rather than hand it back and fault it in again at each call. False elsewhere.

    In one arena: those of further threads, where XLA allocates, hand back what is larger than 64 MiB.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except OSError:
        return False
    threshold, trim, pad, arenas = -3, -1, -2, -8
    settings = ((threshold, 1 << 30), (trim, 2_000_000_000), (pad, 64 << 20), (arenas, 1))
    return all(mallopt(which, value) for which, value in settings)


def clock(cores: int) -> Callable[[], float]:
    """Seconds: of CPU, of this process with its threads, on one core; of the wall on several."""
    return time.process_time if cores == 1 else time.perf_counter


def taken(step: Callable[[], object], seconds: Callable[[], float], times: int = 1) -> float:
    """Seconds per call."""
    gc.collect()
    start = seconds()
    for _ in range(times):
        step()
    return (seconds() - start) / times


def shuffled(names: Iterable[str], rounds: int) -> Iterator[list[str]]:
    """For each round the names in another order, the same in each run."""
    order, given = random.Random(0), list(names)
    for _ in range(rounds):
        yield order.sample(given, len(given))


def in_turn(
    steps: Mapping[str, Callable[[], object]], rounds: int, cores: int, times: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Seconds per call of each step, one of each round; ``times`` is how often a measurement calls it."""
    seconds = clock(cores)
    found: dict[str, list[float]] = {name: [] for name in steps}
    for names in shuffled(steps, rounds):
        for name in names:
            settle(cores)
            found[name].append(taken(steps[name], seconds, 1 if times is None else times[name]))
    return found


def settle(cores: int) -> None:
    """Wait, on several cores, for threads of the library before that wait in a busy loop."""
    time.sleep(SETTLE if cores > 1 else 0)


def peak_of(step: Callable[[], object]) -> int | None:
    """Bytes by which the resident memory rises above what it is before, at most, during a call. Linux only."""
    try:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    before = _status("VmRSS")
    step()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found.group(1)) if found else 0


def versions() -> dict[str, str]:
    """Of the packages that are there."""
    there = {}
    for name in PACKAGES:
        try:
            there[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return there


def machine() -> dict[str, str]:
    """Processor, cores of this process, Python and date."""
    try:
        names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def heading() -> str:
    where = ", ".join(f"{name} {value}" for name, value in machine().items())
    return f"{where}\n{', '.join(f'{name} {value}' for name, value in versions().items())}"
