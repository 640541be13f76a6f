"""Kernels of a Leaky neuron through time against the scan and against a copy: milliseconds and bandwidth on a GPU.

    PYTHONPATH=. python benchmarks/neuron_kernel.py [--rounds 20] [--steps 4 32 100 500] [--neurons 8192 ...]

``kernel`` is what snnax runs on an NVIDIA GPU, ``scan`` what it runs elsewhere, and ``scan 8`` the plain loop with
eight steps per iteration, differentiated by JAX. Bytes are those that snnax with the kernel has to move: forward
``x`` and spikes (8 for each neuron and step); with gradient ``x``, the membrane, three times, spikes, their cotangent
and the input's (28). The bandwidth is these bytes over the time, whoever moves more. ``copy`` is how long ``x + 1``
takes for the same bytes. Sizes whose arrays would not fit are left out. Without a GPU there is nothing to measure.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax import surrogate
from snnax.dynamics import fused, leaky, sequence
from snnax.dynamics.firing import FiringRule, spikes
from snnax.dynamics.loops import How

STEPS = (4, 32, 100, 500)
NEURONS = tuple(1 << k for k in (13, 15, 17, 19, 21, 23, 24))
FORWARD, GRADIENT = 8, 28
FREE = 0.1
"""Of the device's memory one input may take so much: there are seven such arrays at the worst."""

RULE = FiringRule(np.asarray(1.0, np.float32), surrogate.atan())
BETA = np.asarray(0.95, np.float32)

Way = Callable[[jax.Array], jax.Array]


def by_run(how: How | None, x: jax.Array) -> jax.Array:
    """Spikes by what the neurons of snnax call, with that kernel or none."""
    charging = sequence.Charging(leaky.charge, RULE, (BETA,))
    with mock.patch.object(fused, "kernel_here", return_value=how):
        return sequence.run(
            charging, (jnp.zeros_like(x[0]),), None, x, every=False, short=False, kernel=True
        ).spk


def by_unrolled(unroll: int, x: jax.Array) -> jax.Array:
    """Spikes by a loop over the neuron's step."""

    def step(mem: jax.Array, current: jax.Array) -> tuple[jax.Array, jax.Array]:
        (mem,), _ = leaky.step((mem,), current, BETA, RULE)
        return mem, mem

    mem = lax.scan(step, jnp.zeros_like(x[0]), x, unroll=unroll)[1]
    return spikes(mem - RULE.threshold, RULE)


def ways(how: How | None) -> dict[str, Way]:
    """What is compared."""
    kernel = {} if how is None else {"kernel": partial(by_run, how)}
    return {**kernel, "scan": partial(by_run, None), "scan 8": partial(by_unrolled, 8)}


def backward(way: Way) -> Callable[[jax.Array, jax.Array], Any]:
    """Spikes, and the gradient by the input for a cotangent that is not constant."""

    def call(x: jax.Array, cotangent: jax.Array) -> Any:
        spk, pull = jax.vjp(way, x)
        return spk, pull(cotangent)[0]

    return call


def milliseconds(programs: dict[str, Any], arguments: tuple[jax.Array, ...], rounds: int) -> dict[str, float]:
    """Medians of one call, after compilation; the programs take turns."""
    compiled = {name: jax.jit(program).lower(*arguments).compile() for name, program in programs.items()}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for i in range(rounds + 2):
        for name, program in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            if i > 1:
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


def report(steps: int, neurons: int, rounds: int, how: How | None) -> None:
    """A line for each direction."""
    x = jax.random.normal(jax.random.key(0), (steps, neurons))
    cotangent = jax.random.normal(jax.random.key(1), (steps, neurons))
    found = ways(how)
    for title, programs, moved in (
        ("forward", found, FORWARD),
        ("with gradient", {name: backward(way) for name, way in found.items()}, GRADIENT),
    ):
        copy = {"copy": lambda x, *_: x + 1}
        times = milliseconds({**programs, **copy}, (x, cotangent)[: 1 + (moved == GRADIENT)], rounds)
        times["copy"] *= moved / FORWARD
        size = moved * steps * neurons
        cells = [f"{name} {t:.3f} ({size / t / 1e9:.2f} TB/s)" for name, t in times.items()]
        print(f"T {steps:4d}  N {neurons:9d}  {title:<14}", "   ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--neurons", type=int, nargs="+", default=NEURONS)
    parser.add_argument("--anyway", action="store_true", help="without a GPU too: the scans")
    arguments = parser.parse_args()
    if jax.default_backend() != "gpu" and not arguments.anyway:
        print("no GPU: nothing to measure")
        sys.exit(0)
    device = jax.devices()[0]
    how = fused.kernel_here()
    memory = (device.memory_stats() or {}).get("bytes_limit", 1 << 34)
    print(f"{device.device_kind}, jax {jax.__version__}, kernel: {how}, milliseconds, float32")
    for steps in arguments.steps:
        for neurons in arguments.neurons:
            if 4 * steps * neurons > FREE * memory:
                print(
                    f"T {steps:4d}  N {neurons:9d}  left out: {4 * steps * neurons / 2**30:.0f} GiB an array"
                )
                continue
            report(steps, neurons, arguments.rounds, how)


if __name__ == "__main__":
    main()
