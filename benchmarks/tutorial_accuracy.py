"""Tutorials of snnTorch on the scanned digits, trained in both libraries from each one's own initial weights.

    PYTHONPATH=. python benchmarks/tutorial_accuracy.py [--seeds 3] [--epochs 4]

Prints the first loss and the accuracy on the held-out digits: mean over the seeds, and their spread. The network of
tutorial 5 learns by cross entropy of the membrane at each step, that of tutorial 6 by cross entropy of the spikes, and
those of the tutorial on population coding by counts of the spikes of one step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import snntorch
import snntorch.functional as theirs
import torch
from snntorch import utils

import snnax as snn
import snnax.functional as ours
from snnax.datasets import digits

BATCH = 64


@dataclass(frozen=True)
class Task:
    """A network in either library, its loss, and how it is trained."""

    layers: Callable[[Any, Any], list[Any]]
    loss: Callable[[Any, Any], Any]
    steps: int
    rate: float
    read: str = "spk"
    population: bool = False


def dense(at: Any, neurons: Any, beta: float = 0.95, outputs: int = 10) -> list[Any]:
    """The layers of tutorial 5 and of the one on populations."""
    keep = {"beta": beta, "init_hidden": True}
    return [
        at.Flatten(), at.Linear(64, 128), neurons.Leaky(**keep), at.Linear(128, outputs),
        neurons.Leaky(**keep, output=True),
    ]  # fmt: skip


def convolutional(at: Any, neurons: Any) -> list[Any]:
    """The layers of tutorial 6, for images of 8x8."""
    keep = {"beta": 0.5, "init_hidden": True, "spike_grad": neurons.surrogate.fast_sigmoid(slope=25)}
    return [
        at.Conv2d(1, 12, 3, padding=1), at.MaxPool2d(2), neurons.Leaky(**keep), at.Conv2d(12, 32, 3),
        neurons.Leaky(**keep), at.Flatten(), at.Linear(128, 10), neurons.Leaky(**keep, output=True),
    ]  # fmt: skip


def summed(cross_entropy: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The sum over time of a loss of each step's membrane."""
    return lambda mem, y: sum(cross_entropy(step, y) for step in mem)


def task(name: str, at: Any, library: Any, losses: Any) -> Task:
    """A tutorial in the words of one library: ``at`` has torch's layers, ``library`` the neurons."""
    counts = {"correct_rate": 1.0, "incorrect_rate": 0.0}
    return {
        "tutorial 5": lambda: Task(dense, summed(at.CrossEntropyLoss()), 25, 5e-4, "mem"),
        "tutorial 6": lambda: Task(convolutional, losses.ce_rate_loss(), 10, 1e-2),
        "population": lambda: Task(
            lambda at, n: dense(at, n, 0.9, 100),
            losses.mse_count_loss(**counts, population_code=True, num_classes=10), 1, 2e-3, population=True,
        ),
    }[name]()  # fmt: skip


TUTORIALS = ("tutorial 5", "tutorial 6", "population")


def batched(seed: int, epochs: int) -> list[tuple[Any, Any]]:
    """Batches of torch's arrays, the same for both."""
    x, y = digits("train", layout="NCHW")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH) for _ in range(epochs)]
    return [(x[chosen], y[chosen]) for order in orders for chosen in order]


def accuracy(losses: Any, spk: Any, labels: Any, population: bool) -> float:
    """Of the spikes."""
    more = {"population_code": True, "num_classes": 10} if population else {}
    return float(losses.accuracy_rate(spk, labels, **more))


def there(name: str, seed: int, epochs: int) -> tuple[float, float]:
    """The first loss and the accuracy in snnTorch."""
    torch.manual_seed(seed)
    what = task(name, torch.nn, snntorch, theirs)
    net = torch.nn.Sequential(*what.layers(torch.nn, snntorch))
    optimizer, first = torch.optim.Adam(net.parameters(), lr=what.rate), None

    def run(x: Any) -> tuple[Any, Any]:
        utils.reset(net)
        pairs = [net(torch.from_numpy(x)) for _ in range(what.steps)]
        return torch.stack([spk for spk, _ in pairs]), torch.stack([mem for _, mem in pairs])

    for x, y in batched(seed, epochs):
        loss = what.loss(run(x)[what.read == "mem"], torch.from_numpy(y))
        first = float(loss.detach()) if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = digits("test", layout="NCHW")
    with torch.no_grad():
        return float(first or 0.0), accuracy(theirs, run(x)[0], torch.from_numpy(y), what.population)


def here(name: str, seed: int, epochs: int) -> tuple[float, float]:
    """The same in snnax."""
    what = task(name, snn, snn, ours)
    net = snn.Sequential(what.layers(snn, snn), channels_first=True)
    data, first = batched(seed, epochs), None
    params = net.init(jax.random.key(seed), data[0][0])["params"]
    tx = optax.adam(what.rate)
    memory = tx.init(params)

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        outputs, _ = snn.unroll(net, {"params": params}, x, num_steps=what.steps)
        return what.loss(outputs[what.read == "mem"], y)

    @jax.jit
    def step(params: Any, memory: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        updates, memory = tx.update(grads, memory)
        return optax.apply_updates(params, updates), memory, loss

    for x, y in data:
        params, memory, loss = step(params, memory, x, y)
        first = float(loss) if first is None else first
    x, y = digits("test", layout="NCHW")
    (spk, _), _ = snn.unroll(net, {"params": params}, jnp.asarray(x), num_steps=what.steps)
    return float(first or 0.0), accuracy(ours, spk, y, what.population)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--tutorials", nargs="+", choices=TUTORIALS, default=TUTORIALS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.tutorials:
        for side, train in (("snnTorch", there), ("snnax", here)):
            found = np.array([train(name, seed, arguments.epochs) for seed in range(arguments.seeds)])
            (loss, right), (_, spread) = found.mean(0), found.std(0, ddof=1)
            print(
                f"{name:12s} {side:9s} first loss {loss:7.3f}   accuracy {right:.2%}, spread {spread:.2%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
