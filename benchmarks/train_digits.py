"""Train the demo's snnTorch network and write its weights into the package.

    PYTHONPATH=. python benchmarks/train_digits.py [--epochs 12] [--seed 0] [--out WEIGHTS.npz]

Takes about a minute. Seeded and single-threaded, so that it ends at the same accuracy when it is run again
with the same torch.
The weights in the package are those of the defaults: torch 2.13.0, 97.2 % of the held-out digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from snntorch import functional, utils
from torch import nn

from snnax.datasets import digits
from snnax.interop.snntorch.digits import WEIGHTS, digits_network

STEPS = 25
BATCH = 64
RATE = 1e-2


def spikes_over_time(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    utils.reset(network)
    return torch.stack([network(images)[0] for _ in range(STEPS)])


def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    network.eval()
    with torch.no_grad():
        return functional.accuracy_rate(spikes_over_time(network, images), labels)


def train(epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    images, labels = map(torch.from_numpy, digits("train", layout="NCHW"))
    held_out = tuple(map(torch.from_numpy, digits("test", layout="NCHW")))
    network = digits_network(weights=False)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    batches = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * batches)
    loss_function = functional.ce_count_loss()
    for epoch in range(epochs):
        network.train()
        for chosen in torch.randperm(len(images)).split(BATCH):
            loss = loss_function(spikes_over_time(network, images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        score = accuracy(network, *held_out)
        print(f"epoch {epoch + 1:2d}  loss {loss.item():.4f}  held out {score:.4f}", flush=True)
    print(f"training digits {accuracy(network, images, labels):.4f}")
    return network


def main() -> None:
    package = Path(__file__).resolve().parent.parent / "snnax" / "datasets"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=package / WEIGHTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = train(arguments.epochs, arguments.seed)
    np.savez_compressed(arguments.out, **{name: t.numpy() for name, t in network.state_dict().items()})
    print(f"wrote {arguments.out}, {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
