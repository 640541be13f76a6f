"""Whether ``fit`` waits for its batches: epochs fed by several loaders, over the time of their steps alone.

    python -m benchmarks.feeding [--batches 20] [--rounds 5] [--cores 2]

A network 784-1000-10, T 25, batches of 128. ``steps alone`` are the compiled steps in a loop, on batches in memory.
The loaders take turns in one call of ``fit``: the same batches; a loader that sleeps for half a step before each batch,
as one that waits for a disk; torch's ``DataLoader`` as in ``docs/scale_out.rst``, in this process and with two
processes of its own; grain with two threads. ``loader alone`` is what it takes to read an epoch without training.
Wall time; a first round is not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measuring

STEPS, BATCH, INPUTS = 25, 128, 784

Loader = Callable[[int], Iterable[Any]]
"""From the number of an epoch to its batches ``(x, y)``."""


def time_first(samples: Any) -> Any:
    """``[B, T, ...]`` of the data set to ``[T, B, ...]``."""
    import torch

    x, y = torch.utils.data.default_collate(samples)
    return x.transpose(0, 1).numpy(), y.numpy()


def loaders(x: Any, y: Any, wait: float) -> dict[str, Loader]:
    """By name, of samples ``x[N, T, ...]``; ``wait`` are the seconds that the slow one sleeps for each batch."""
    batches = [
        (np.ascontiguousarray(np.swapaxes(x[part], 0, 1)), y[part])
        for part in (slice(i, i + BATCH) for i in range(0, len(x), BATCH))
    ]

    def slow(_: int) -> Iterator[Any]:
        for batch in batches:
            time.sleep(wait)
            yield batch

    made: dict[str, Loader] = {"in memory": lambda _: batches, "sleeps half a step": slow}
    if importlib.util.find_spec("torch"):
        for workers in (0, 2):
            made[f"DataLoader, num_workers {workers}"] = partial(_same, torch_loader(x, y, workers))
    if importlib.util.find_spec("grain"):
        made["grain, 2 threads"] = partial(grain_loader, x, y)
    return made


def _same(loader: Any, _: int) -> Any:
    return loader


def torch_loader(x: Any, y: Any, workers: int) -> Any:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    # processes that are forked while JAX has threads may hang
    more = {"persistent_workers": True, "multiprocessing_context": "spawn"} if workers else {}
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return DataLoader(
        data, BATCH, shuffle=True, drop_last=True, collate_fn=time_first, num_workers=workers, **more
    )


def grain_loader(x: Any, y: Any, epoch: int) -> Iterator[Any]:
    import grain

    data = grain.MapDataset.range(len(x)).seed(epoch).shuffle().map(lambda i: (x[i], y[i]))
    batched = data.batch(BATCH, drop_remainder=True)
    for many, labels in batched.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)):
        yield np.swapaxes(many, 0, 1), labels


def measured(count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch of ``count`` batches, one of each round; ``..., alone`` are those of a loader alone."""
    import flax.linen as nn
    import jax
    import optax

    import snnax as snn
    import snnax.functional as SF

    random = np.random.default_rng(0)
    x = (random.random((count * BATCH, STEPS, INPUTS), np.float32) < 0.3).astype(np.float32)
    y = random.integers(0, 10, count * BATCH)
    lif = partial(snn.Leaky, beta=0.95, init_hidden=True)
    net = snn.Sequential([nn.Dense(1000), lif(), nn.Dense(10), lif()])
    state = snn.training.TrainState.create(net, net.init(jax.random.key(0), x[:BATCH, 0]), optax.sgd(1e-3))
    step = snn.training.make_train_step(SF.ce_rate_loss(), donate=False)
    kept = loaders(x, y, 0.0)["in memory"](0)

    def alone() -> float:
        now, begin = state, time.perf_counter()
        for batch in kept:
            now, metrics = step(now, *batch)
        jax.block_until_ready(metrics)
        return time.perf_counter() - begin

    wait = min(alone() for _ in range(3)) / count / 2  # the first compiles
    made = loaders(x, y, wait)
    found: dict[str, list[float]] = {"steps alone": [], **{name: [] for name in made}}
    found |= {f"{name}, alone": [] for name in made}
    order = [name for names in measuring.shuffled(made, rounds + 1) for name in names]

    def note(_: Any, history: Any) -> None:
        """After each epoch."""
        number = len(history.seconds) - 1
        found[order[number]].append(history.seconds[-1])
        if number % len(made) == len(made) - 1:
            found["steps alone"].append(alone())
            for name, loader in made.items():
                begin = time.perf_counter()
                for _batch in loader(number):
                    pass
                found[f"{name}, alone"].append(time.perf_counter() - begin)

    snn.training.fit(
        state,
        lambda epoch: made[order[epoch]](epoch),
        epochs=len(order),
        loss=SF.ce_rate_loss(),
        callbacks=[note],
        progress=False,
    )
    return {name: times[1:] for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=20, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    measuring.pin(given.cores)
    print(measuring.heading(), flush=True)
    found = measured(given.batches, given.rounds)
    print(f"{'':28}{'ms a batch':>12}{'over the steps':>16}{'loader alone':>14}")
    for name, times in found.items():
        if name.endswith(", alone"):
            continue
        ratio = statistics.median(a / b for a, b in zip(times, found["steps alone"], strict=True))
        reading = found.get(f"{name}, alone")
        cell = f"{1000 * statistics.median(reading) / given.batches:14.1f}" if reading else ""
        print(f"{name:28}{1000 * statistics.median(times) / given.batches:12.1f}{ratio:16.2f}{cell}")


if __name__ == "__main__":
    main()
