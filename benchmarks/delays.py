"""What learned delays are worth: where a sound comes from, told by the time between two ears.

    python -m benchmarks.delays [--seeds 3] [--epochs 100] [--hidden 16]

Two channels hear the same random spikes, the right one 0, 4, 8 or 12 steps after the left; which of the four is to be
told. No rate, no order of channels and no absolute time tells it, but a neuron does whose synapses are late by the
difference, so that both spikes arrive together (Jeffress, 1948). One hidden layer of leaky neurons that forget half of
their membrane in a step, four readouts; new sounds for the test. Rows: a dense layer, one with about as many numbers as
the delayed one has, one with random whole delays that stay, and one whose delays are learned, before and after they are
rounded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

import snnax as snn

STEPS, LONGEST, LAGS, RATE, SOUNDS = 60, 15, np.array([0, 4, 8, 12]), 0.1, 512


def sounds(seed: int, count: int = SOUNDS) -> tuple[np.ndarray, np.ndarray]:
    """Spikes ``[T, B, 2]`` of the left and the right ear, and which lag it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(LAGS), count)
    heard = (rng.random((STEPS + LAGS[-1], count)) < RATE).astype(np.float32)
    begins = LAGS[-1] - np.stack([np.zeros_like(labels), LAGS[labels]])
    at = np.arange(STEPS)[:, None, None] + begins
    return np.moveaxis(heard[at, np.arange(count)], 1, -1), labels


def layers(hidden: int, seed: int) -> dict[str, Callable[[], nn.Module]]:
    """The first layer of each row."""
    whole = np.random.default_rng(seed).integers(0, LONGEST + 1, (2, hidden))
    return {
        "no delays": lambda: nn.Dense(hidden),
        "no delays, twice the neurons": lambda: nn.Dense(2 * hidden),
        "random delays": lambda: snn.DelayedDense(hidden, LONGEST, steps=whole),
        "learned delays": lambda: snn.DelayedDense(hidden, LONGEST, kernel="gaussian", sigma=LONGEST / 2),
    }


def network(first: nn.Module) -> snn.Sequential:
    """The first layer and what follows it in each row."""
    return snn.Sequential([
        first,
        snn.Leaky(0.5, init_hidden=True),
        nn.Dense(len(LAGS)),
        snn.Leaky(0.9, init_hidden=True, output=True, reset_mechanism="none"),
    ])  # fmt: skip


def trained(net: snn.Sequential, seed: int, epochs: int, learn: bool) -> dict[str, Any]:
    """Variables after training; ``learn``: the delays too."""
    x, y = sounds(2 * seed)
    variables = {c: v for c, v in net.init(jax.random.key(seed), x[0]).items() if c != "hidden"}
    variables["params"]["layers_0"]["kernel"] *= 3  # one spike alone nearly makes one

    def kind(path: Any, _: Any) -> str:
        return "delay" if path[-1].key == "delay" else "weight"

    optimizers = {"weight": optax.adam(0.01), "delay": optax.adam(0.1) if learn else optax.set_to_zero()}
    params = variables["params"]
    optimizer = optax.multi_transform(optimizers, jax.tree_util.tree_map_with_path(kind, params))

    def loss(params: Any, variables: Any, x: Any, y: Any) -> jax.Array:
        (_, mem), _ = snn.unroll(net, {**variables, "params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(mem.max(0), y).mean()

    @jax.jit
    def step(params: Any, state: Any, variables: Any, x: Any, y: Any) -> Any:
        changes, state = optimizer.update(jax.grad(loss)(params, variables, x, y), state, params)
        return optax.apply_updates(params, changes), state

    state, rng = optimizer.init(params), np.random.default_rng(seed)
    for epoch in range(epochs):
        if "buffers" in variables:  # from half of the longest delay down to a tenth of a step
            shrunk = (0.2 / LONGEST) ** (epoch / (epochs - 1))
            variables = snn.with_delay_sigma(variables, LONGEST / 2 * shrunk)
        for rows in np.split(rng.permutation(SOUNDS), SOUNDS // 64):
            params, state = step(params, state, variables, x[:, rows], y[rows])
    return {**variables, "params": params}


def right(net: snn.Sequential, variables: dict[str, Any], seed: int) -> float:
    """The part of new sounds of which the lag is told."""
    x, y = sounds(2 * seed + 1)
    (_, mem), _ = snn.unroll(net, variables, x)
    return float((np.asarray(mem.max(0)).argmax(1) == y).mean())


def measured(name: str, seed: int, epochs: int, hidden: int) -> dict[str, float]:
    """Of a row what it tells, by what it is called in the table."""
    net = network(layers(hidden, seed)[name]())
    variables = trained(net, seed, epochs, learn=name == "learned delays")
    found = {name: right(net, variables, seed)}
    if name == "learned delays":
        found[f"{name}, rounded"] = right(net, snn.round_delays(variables)[0], seed)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in {"seeds": 3, "epochs": 100, "hidden": 16}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    for name in layers(given.hidden, 0):
        runs = [measured(name, seed, given.epochs, given.hidden) for seed in range(given.seeds)]
        for row in runs[0]:
            print(f"{row:30s}" + "".join(f" {100 * run[row]:6.1f} %" for run in runs), flush=True)


if __name__ == "__main__":
    main()
