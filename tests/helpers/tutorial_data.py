"""The data of the tutorials' scripts: scanned digits in place of MNIST, as torch's data sets are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import snnax

__all__ = ["datasets", "digits", "events", "transforms"]


class Digits(torch.utils.data.Dataset):
    """Images ``[1, 28, 28]`` from 0 to 1, and labels, with the attributes of torchvision's MNIST."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.data, self.targets = torch.tensor(images), torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, at: Any) -> Any:
        return self.data[at], self.targets[at]


def digits(split: str, side: int = 28) -> Digits:
    """Each pixel of the 8x8 scans as a square, with a margin."""
    images, labels = snnax.datasets.digits(split, layout="NCHW")
    times = side // 8
    large = np.kron(images, np.ones((1, 1, times, times), np.float32)).astype(np.float32)
    margin = side - 8 * times
    pads = [(0, 0), (0, 0), (margin // 2, margin - margin // 2), (margin // 2, margin - margin // 2)]
    return Digits(np.pad(large, pads), labels)


def events(split: str, steps: int, batch: int, number: int) -> list[tuple[Any, Any]]:
    """Batches ``[T, B, 2, 34, 34]`` of on and off events, as tonic's frames of NMNIST are; labels ``[B]``."""
    rng, images = np.random.default_rng(0), digits(split, 34)
    found = []
    for at in range(number):
        chosen = slice(at * batch, (at + 1) * batch)
        frames = images.data[chosen].numpy()
        drawn = rng.random((steps, batch, 2, 34, 34)) < 0.3 * frames[None]
        found.append((torch.tensor(drawn.astype(np.float32)), images.targets[chosen]))
    return found


def mnist(root: str, train: bool = True, download: bool = False, transform: Any = None) -> Digits:
    """In place of torchvision's MNIST, already of the size and range that its transforms make."""
    return digits("train" if train else "test")


datasets = SimpleNamespace(MNIST=mnist, FashionMNIST=mnist)
transforms = SimpleNamespace(
    Compose=tuple, Resize=tuple, Grayscale=object, ToTensor=object, Normalize=lambda mean, std: (mean, std)
)
