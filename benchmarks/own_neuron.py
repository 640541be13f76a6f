"""A neuron of one's own, and those that ``snnax`` writes so, beside ``Leaky`` in the same run.

    python -m benchmarks.own_neuron [--rounds 15] [--cores 1] [--steps 100] [--batch 64] [--neurons 512]

One layer of each over all steps by ``unroll``, forward and with the gradient by its input. Each round measures every
neuron once, in turn; shown are the medians in milliseconds, and the medians of the rounds' ratios to ``Leaky``.
``leaky of one's own`` computes what ``Leaky`` does, so its ratio is what a neuron costs for being one's own.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import measuring

FIRST = "Leaky"
"""What the others are compared with."""


def neurons() -> dict[str, Any]:
    """What is measured, by name."""
    import snnax as snn

    def leaky(x: Any, mem: Any, *, reset: Any, beta: Any) -> Any:
        return reset(beta * mem + x)

    def tiring(x: Any, low: Any, mem: Any, *, reset: Any, spk: Any, beta: Any, rho: Any) -> Any:
        return rho * low + (1 - rho) * spk, reset(beta * mem + x)

    numbers = {"beta": 0.9, "rho": 0.95}
    own = {
        "leaky of one's own": snn.neuron(leaky, {"mem": 0.0}, {"beta": 0.9}),
        "two states of one's own, a level": snn.neuron(
            tiring, {"low": 0.0, "mem": 0.0}, numbers, level=lambda mem, low: mem - low
        ),
        "ALIF": snn.ALIF,
    }
    return {
        FIRST: snn.Leaky(0.9, init_hidden=True),
        "Synaptic": snn.Synaptic(0.8, 0.9, init_hidden=True),
        **{name: kind(init_hidden=True) for name, kind in own.items()},
    }


def calls(kinds: dict[str, Any], shape: tuple[int, ...]) -> dict[str, dict[str, Callable[[], object]]]:
    """Of each neuron its run, and its run with the gradient."""
    import jax
    import jax.numpy as jnp

    import snnax as snn

    x = jax.random.uniform(jax.random.key(0), shape, minval=-0.2, maxval=0.5)
    weights = jax.random.normal(jax.random.key(1), shape[1:])

    def of(neuron: Any) -> dict[str, Callable[[], object]]:
        def loss(x: jax.Array) -> jax.Array:
            return jnp.sum(snn.unroll(neuron, {}, x)[0] * weights)

        forward, backward = jax.jit(loss), jax.jit(jax.grad(loss))
        return {
            "forward": lambda: jax.block_until_ready(forward(x)),
            "gradient": lambda: jax.block_until_ready(backward(x)),
        }

    return {name: of(neuron) for name, neuron in kinds.items()}


def measured(
    steps: dict[str, dict[str, Callable[[], object]]], rounds: int, seconds: Callable[[], float]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Of each neuron and way its milliseconds, and its ratio to the first's."""
    times: dict[str, dict[str, list[float]]] = {
        name: {way: [] for way in ways} for name, ways in steps.items()
    }
    for ways in steps.values():
        for call in ways.values():
            measuring.taken(call, seconds, 2)
    for _ in range(rounds):
        for name, ways in steps.items():
            for way, call in ways.items():
                times[name][way].append(measuring.taken(call, seconds, 3))
    return {
        name: {
            way: (
                1e3 * statistics.median(taken),
                statistics.median(map(lambda a, b: a / b, taken, times[FIRST][way])),
            )
            for way, taken in ways.items()
        }
        for name, ways in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in {"rounds": 15, "cores": 1, "steps": 100, "batch": 64, "neurons": 512}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    measuring.pin(given.cores)
    measuring.keep_pages()
    steps = calls(neurons(), (given.steps, given.batch, given.neurons))
    print(measuring.heading())
    print(f"{'':34s} {'forward':>19s} {'gradient':>19s}")
    for name, ways in measured(steps, given.rounds, measuring.clock(given.cores)).items():
        print(f"{name:34s}" + "".join(f" {ms:8.1f} ms {ratio:5.2f} x" for ms, ratio in ways.values()))


if __name__ == "__main__":
    main()
