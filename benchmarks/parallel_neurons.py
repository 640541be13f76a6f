"""Five ways to compute an exponential decay over all time steps, and two for a rectified one: milliseconds.

    PYTHONPATH=. python benchmarks/parallel_neurons.py [--rounds 7] [--truncation 64]

Takes one or two minutes. The ways take turns within each round, and the medians over the rounds are compared, so
that whatever else runs on the machine slows all of them alike. ``x1.0`` is the loop over time steps.
The figures are in the docstring of snnax/dynamics/decay.py, with the choice that follows from them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.dynamics import decay

SHAPES = ((100, 32, 128), (1000, 32, 128), (1000, 8, 16), (4000, 1, 64))
DIRECT = 3_000_000  # elements above which the direct convolution takes seconds

Way = Callable[[jax.Array, jax.Array], jax.Array]


def by_fft(x: jax.Array, factor: jax.Array) -> jax.Array:
    """Convolution with ``factor^k`` over the time axis, through the frequencies."""
    steps = len(x)
    size = 1 << (2 * steps - 1).bit_length()
    kernel = factor ** jnp.arange(steps, dtype=x.dtype)[:, None, None]
    spectrum = jnp.fft.rfft(x, size, axis=0) * jnp.fft.rfft(kernel, size, axis=0)
    return jnp.fft.irfft(spectrum, size, axis=0)[:steps]


def by_truncated_convolution(x: jax.Array, factor: jax.Array, taps: int) -> jax.Array:
    """Depthwise convolution with the first ``taps`` entries of ``factor^k``: what snnTorch does."""
    taps = min(taps, len(x))
    kernel = factor ** jnp.arange(taps - 1, -1, -1, dtype=x.dtype)[:, None, None]
    return lax.conv_general_dilated(
        x,
        kernel,
        (1,),
        [(taps - 1, 0)],
        dimension_numbers=("WNC", "WIO", "WNC"),
        feature_group_count=x.shape[-1],
    )


def rectified_as_tree(x: jax.Array, factor: jax.Array) -> jax.Array:
    """``h = max(0, factor * h + x)``: each step is a clipped line ``max(a h + b, c)``, and so are two in a row."""

    def join(early: tuple[jax.Array, ...], late: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        (a, b, c), (d, e, f) = early, late
        return a * d, d * b + e, jnp.maximum(d * c + e, f)

    slopes = jnp.broadcast_to(factor, (len(x), *factor.shape[1:]))
    _, b, c = lax.associative_scan(join, (slopes, x, jnp.zeros_like(x)))
    return jnp.maximum(b, c)


def rectified_as_loop(x: jax.Array, factor: jax.Array) -> jax.Array:
    """The same, as the package does it."""
    return decay.rectified(x, factor[0], jnp.zeros_like(factor[0]))


def linear_ways(shape: tuple[int, ...], taps: int) -> dict[str, Way]:
    """The ways that take reasonable time; the first is what the others are compared with."""
    ways: dict[str, Way] = {
        "loop": partial(decay.recurrence, method="scan"),
        "tree": partial(decay.recurrence, method="associative"),
        "FFT": by_fft,
        f"window {taps}": partial(decay.window, steps=taps),
    }
    if np.prod(shape) < DIRECT:
        ways[f"convolution {taps}"] = partial(by_truncated_convolution, taps=taps)
    return ways


def backward(way: Way) -> Way:
    """Gradients by the input and the decay."""
    return jax.grad(lambda x, factor: (way(x, factor) ** 2).sum(), (0, 1))


def medians(programs: dict[str, Way], shape: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Milliseconds of one call, after compilation."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    factor = jnp.asarray(rng.uniform(0.5, 0.99, (1, 1, shape[-1])), jnp.float32)
    compiled = {name: jax.jit(program) for name, program in programs.items()}
    for program in compiled.values():
        jax.block_until_ready(program(x, factor))
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(program(x, factor))
            taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


def report(title: str, times: dict[str, float]) -> None:
    first = next(iter(times.values()))
    cells = [f"{name} {t:.2f} (x{t / first:.1f})" for name, t in times.items()]
    print(f"{title:<40}", "   ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--truncation", type=int, default=64)
    arguments = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, [T, B, N], milliseconds")
    rectified: dict[str, Way] = {"loop": rectified_as_loop, "tree": rectified_as_tree}
    for name, ways in (("linear", None), ("rectified", rectified)):
        for shape in SHAPES:
            chosen = ways or linear_ways(shape, arguments.truncation)
            gradients = {n: backward(way) for n, way in chosen.items()}
            for mode, programs in (("forward", chosen), ("with gradient", gradients)):
                report(f"{name} {shape} {mode}", medians(programs, shape, arguments.rounds))


if __name__ == "__main__":
    main()
