"""Convolutions of snnTorch's sixth tutorial and their derivatives inside a loop over time: milliseconds a step.

    PYTHONPATH=. taskset -c 0 python benchmarks/convolution.py [--frames 320] [--rounds 5] [--lax]

Without ``--lax``, which takes a minute more, XLA's own derivatives are left out: that of the kernel takes a second.
The ways take turns within each round, in random order, and the medians over the rounds of the time that the process
computed are compared, so that whatever else runs on the machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

from snnax.kernels.convolution import conv
from snnax.kernels.pooling import max_pool

STEPS = 3
LAYERS = {
    "1->12": (28, 1, 12),
    "12->64": (12, 12, 64),
}  # side of the image, channels in and out; kernel 5 x 5
POOL = (24, 12)  # side and channels of what the first pooling gets
WAYS = ("torch", "snnax", "lax")

Work = Callable[[], Any]


def in_jax(operation: Callable[..., jax.Array], arrays: tuple[np.ndarray, ...]) -> Work:
    """``operation`` of each step's arrays, in a compiled loop that keeps the last result."""
    made = jax.eval_shape(operation, *(a[0] for a in arrays))

    @jax.jit
    def loop(start: jax.Array, *arrays: jax.Array) -> jax.Array:
        return lax.scan(lambda _, inputs: (operation(*inputs), None), start, arrays)[0]

    given = (jnp.zeros(made.shape), *map(jnp.asarray, arrays))
    return lambda: jax.block_until_ready(loop(*given))


def in_torch(operation: Callable[..., torch.Tensor], arrays: tuple[np.ndarray, ...]) -> Work:
    """``operation`` of each step's arrays, channels first."""
    given = [torch.from_numpy(np.moveaxis(a, -1, 2).copy()) for a in arrays]
    return lambda: [operation(*(a[step] for a in given)) for step in range(STEPS)]


def convolutions(
    frames: int, side: int, channels: int, features: int, ways: tuple[str, ...]
) -> dict[str, dict]:
    """The three products of one layer, each in each way."""
    rng = np.random.default_rng(0)
    draw = partial(rng.standard_normal, dtype=np.float32)
    x, slope = (
        draw((STEPS, frames, side, side, channels)),
        draw((STEPS, frames, side - 4, side - 4, features)),
    )
    kernel = draw((5, 5, channels, features)) / 10
    theirs = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    shape = (frames, channels, side, side)
    table: dict[str, dict] = {
        "forward": {"torch": in_torch(lambda a: torch.nn.functional.conv2d(a, theirs), (x,))},
        "image": {"torch": in_torch(lambda g: torch.nn.grad.conv2d_input(shape, theirs, g), (slope,))},
        "kernel": {
            "torch": in_torch(lambda a, g: torch.nn.grad.conv2d_weight(a, theirs.shape, g), (x, slope))
        },
    }
    operations = {"snnax": conv, "lax": lax.conv_general_dilated}
    for way in [way for way in ways if way != "torch"]:
        apply = partial(
            operations[way],
            window_strides=(1, 1),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

        def image(g: jax.Array, apply: Any = apply) -> jax.Array:
            pull = jax.vjp(lambda a: apply(a, kernel), jnp.zeros(x.shape[1:]))[1]
            return pull(g)[0]

        def weights(a: jax.Array, g: jax.Array, apply: Any = apply) -> jax.Array:
            return jax.vjp(lambda w: apply(a, w), jnp.asarray(kernel))[1](g)[0]

        table["forward"][way] = in_jax(lambda a, apply=apply: apply(a, kernel), (x,))
        table["image"][way] = in_jax(image, (slope,))
        table["kernel"][way] = in_jax(weights, (x, slope))
    return table


def pooling(frames: int) -> dict[str, Work]:
    """Forward and derivative of a pooling of 2 x 2."""
    rng = np.random.default_rng(0)
    side, channels = POOL
    x = rng.standard_normal((STEPS, frames, side, side, channels), dtype=np.float32)
    slope = rng.standard_normal((STEPS, frames, side // 2, side // 2, channels), dtype=np.float32)

    def theirs(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        a = a.detach().requires_grad_()
        torch.nn.functional.max_pool2d(a, 2).backward(g)
        return a.grad

    def by_lax(a: jax.Array) -> jax.Array:
        return lax.reduce_window(a, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def derivative(pool: Callable[[jax.Array], jax.Array]) -> Work:
        @jax.jit
        @jax.grad
        def total(a: jax.Array, g: jax.Array) -> jax.Array:
            return lax.scan(
                lambda sum_, inputs: (sum_ + jnp.vdot(pool(inputs[0]), inputs[1]), None), 0.0, (a, g)
            )[0]

        given = tuple(map(jnp.asarray, (x, slope)))
        return lambda: jax.block_until_ready(total(*given))

    pools = {"snnax": lambda a: max_pool(a, (2, 2)), "lax": by_lax}
    return {"torch": in_torch(theirs, (x, slope))} | {name: derivative(pool) for name, pool in pools.items()}


def race(ways: dict[str, Work], rounds: int) -> dict[str, float]:
    """Median milliseconds per step of each way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    names = list(ways)
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            begin = time.process_time()
            ways[name]()
            times[name].append((time.process_time() - begin) * 1e3 / STEPS)
    return {name: statistics.median(taken) for name, taken in times.items()}


def row(name: str, times: dict[str, float]) -> str:
    """One line of the table: milliseconds, and how many times faster than the others."""
    cells = "".join(f"{times[way]:9.1f}" if way in times else " " * 9 for way in WAYS)
    ratios = "".join(f"{times[way] / times['snnax']:11.2f}" for way in ("torch", "lax") if way in times)
    return f"{name:28}{cells}{ratios}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[320, 640], help="steps times samples")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lax", action="store_true", help="time XLA's derivatives too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    ways = WAYS if arguments.lax else WAYS[:2]
    print(f"{'ms a step':28}" + "".join(f"{way:>9}" for way in WAYS) + "  torch/ours   lax/ours")
    for frames in arguments.frames:
        for layer, sizes in LAYERS.items():
            for part, candidates in convolutions(frames, *sizes, ways).items():
                print(row(f"N={frames} {layer} {part}", race(candidates, arguments.rounds)), flush=True)
        print(row(f"N={frames} max pool, both", race(pooling(frames), arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
