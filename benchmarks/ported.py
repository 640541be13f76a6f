"""One training step of a torch network and of its ports, in turn: what ``residual`` and ``transformer`` share.

Measured as ``train_step`` does: in random order, CPU time on one core, wall time on several. Compilation and two steps
are not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measuring

RATE = 1e-4

Step = Callable[[], float]


def torch_step(network: Any, x: Any, y: Any) -> Step:
    import torch

    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def snnax_step(network: Any, sample: Any, x: Any, y: Any) -> Step:
    """``network`` is one step or has the loop itself: ``unroll`` takes both."""
    import jax
    import jax.numpy as jnp
    import optax

    import snnax as snn
    from snnax import interop

    net, variables = interop.from_snntorch(network, sample)
    xs, ys, tx = jnp.asarray(x.numpy()), jnp.asarray(y.numpy()), optax.sgd(RATE)
    fixed = {name: value for name, value in variables.items() if name not in ("params", "hidden")}

    @jax.jit
    def train(params: Any, state: Any) -> tuple[Any, Any, Any]:
        def loss(params: Any) -> Any:
            out, _ = snn.unroll(net, {"params": params, **fixed}, xs)
            mean = out.mean(0) if out.ndim == 3 else out
            return optax.softmax_cross_entropy_with_integer_labels(mean, ys).mean()

        value, slopes = jax.value_and_grad(loss)(params)
        updates, state = tx.update(slopes, state)
        return optax.apply_updates(params, updates), state, value

    kept = [variables["params"], tx.init(variables["params"])]

    def step() -> float:
        *kept[:], value = train(*kept)
        return float(value)

    return step


def arguments(text: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--mallopt", action="store_true", help="let glibc keep freed pages, for all")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    return parser


def begin(given: argparse.Namespace) -> None:
    """Before jax and torch are imported."""
    warnings.simplefilter("ignore")
    measuring.pin(given.cores)
    if given.mallopt and not measuring.keep_pages():
        print("mallopt: no glibc here")
    print(measuring.heading(), flush=True)


def compare(made: dict[str, Step], given: argparse.Namespace) -> None:
    """Print a line for each, with its ratios to ``snntorch`` and ``floor``; ``first s`` are CPU seconds."""
    seconds = measuring.clock(given.cores)
    first: dict[str, tuple[float, float]] = {}
    for name, step in made.items():
        start = time.process_time()
        loss = step()
        first[name] = (loss, time.process_time() - start)
        step()
    times: dict[str, list[float]] = {name: [] for name in made}
    for names in measuring.shuffled(made, given.rounds):
        for name in names:
            measuring.settle(given.cores)
            times[name].append(measuring.taken(made[name], seconds))
    print(f"{'':16}{'ms a step':>10}{'x snnTorch':>12}{'of the floor':>14}{'first s':>9}{'first loss':>12}")
    for name, taken in times.items():
        to_torch, to_floor = (
            statistics.median(a / b for a, b in zip(times[other], taken, strict=True))
            for other in ("snntorch", "floor")
        )
        loss, spent = first[name]
        print(
            f"{name:16}{1000 * statistics.median(taken):10.0f}{to_torch:12.2f}{1 / to_floor:14.2f}{spent:9.1f}"
            f"{'' if name == 'floor' else format(loss, '12.6f')}"
        )
    if given.json:
        candidates = {name: {"times": taken, "first": first[name][1]} for name, taken in times.items()}
        text = {"machine": measuring.machine(), "batch": given.batch, "candidates": candidates}
        given.json.write_text(json.dumps(text, indent=1) + "\n")
