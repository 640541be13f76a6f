"""Handwritten digits in continuous time: ``python -m snnax.event.tasks.digits``.

A pixel with ink is one spike, the darker the earlier; paper is silent, and one more spike is at time 0. The hidden
neurons fire once, and the class is that of the integrator with the largest voltage. Each image is learned from as it
is, and in copies that are moved, turned and sized at random.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from snnax import datasets
from snnax.event.encoding import biased, latency_code
from snnax.event.tasks import command, results
from snnax.event.tasks.learning import Learner, Samples, Trained, Trainer
from snnax.event.tasks.networks import integrated

__all__ = ["Settings", "encoded", "learner", "main", "split", "warped"]

T_MAX, LATEST = 25e-3, 10e-3
"""When a simulation ends, and the spike of the lightest ink, in seconds."""

CLASSES, PAPER, VALIDATION = 10, 0.01, 287
"""Number of digits, ink below which a pixel is paper, and images of the training set to choose settings by."""

SHIFT, TURN, SIZE = 0.8, 0.2, 0.1
"""Of copies the largest shift in pixels, turn in radians, and change of size."""


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained.

    Args:
        hidden: number of hidden neurons.
        epochs: passes over the data.
        batch: samples of a step.
        learning_rate: of Adam, at the start.
        copies: of each image, that are moved, turned and sized at random.
    """

    hidden: int = 128
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 2e-2
    copies: int = 24


def encoded(images: Any) -> Any:
    """Images ``[S, 8, 8]`` as times of spikes, ``[S, 65]`` in seconds."""
    ink = np.asarray(images, np.float32).reshape(len(images), -1)
    return biased(latency_code(ink, LATEST, silent_below=PAPER)).times[..., 0]


def warped(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Images ``[S, H, W]``, each moved, turned and sized at random; what comes in is paper."""
    samples, height, width = images.shape
    turn, size, down, right = (
        generator.uniform(least, most, (samples, 1, 1))
        for least, most in ((-TURN, TURN), (1 - SIZE, 1 + SIZE), (-SHIFT, SHIFT), (-SHIFT, SHIFT))
    )
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    y, x = np.mgrid[:height, :width] - centre[:, None, None]
    of_y = (np.cos(turn) * y - np.sin(turn) * x) / size + centre[0] - down
    of_x = (np.sin(turn) * y + np.cos(turn) * x) / size + centre[1] - right
    return _between(images, of_y, of_x)


def _between(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Images ``[S, H, W]`` at places between their pixels, by linear interpolation; paper around them."""
    samples, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2)))
    y, x = np.clip(y, -1, height) + 1, np.clip(x, -1, width) + 1
    top, left = y.astype(int), x.astype(int)
    below, beside = y - top, x - left
    which = np.arange(samples)[:, None, None]
    found: np.ndarray = (1 - below) * (
        (1 - beside) * padded[which, top, left] + beside * padded[which, top, left + 1]
    ) + below * ((1 - beside) * padded[which, top + 1, left] + beside * padded[which, top + 1, left + 1])
    return found


def split(name: str, samples: int | None = None, copies: int = 0) -> Samples:
    """Digits of ``"train"``, ``"validation"`` (of the same 1437) or ``"test"``, encoded, and their labels.

    Args:
        name: of the split.
        samples: the first so many of it; ``None`` for all.
        copies: so many random copies of each image as well; always the same.
    """
    images, labels = datasets.digits("test" if name == "test" else "train")
    if name != "test":
        order = np.random.default_rng(0).permutation(len(labels))
        chosen = np.isin(np.arange(len(labels)), order[:VALIDATION]) == (name == "validation")
        images, labels = images[chosen], labels[chosen]
    images, labels = images[:samples, ..., 0], labels[:samples]
    generator = np.random.default_rng(1)
    every = np.concatenate([images, *(warped(images, generator) for _ in range(copies))])
    return Samples(encoded(every), jnp.asarray(np.tile(labels, 1 + copies), jnp.int32))


def learner(settings: Settings) -> Learner:
    """The network and its loss."""
    return integrated(settings.hidden, CLASSES, T_MAX)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command.run(_run, _parser(), arguments)


def _parser() -> command.Parser:
    parser = command.training_parser("snnax.event.tasks.digits", __doc__)
    parser.add_argument("--copies", type=command.number(0), help="of each image, moved and turned at random")
    parser.add_argument("--out", type=Path, help="folder for the results: .json and .npz")
    return parser


def _run(options: Any) -> None:
    if options.out is not None:
        results.folder(options.out)
    settings = command.settings(Settings(), options)
    trainer = Trainer(learner(settings), settings.epochs, settings.batch, settings.learning_rate)
    data, validation = split("train", options.samples, settings.copies), split("validation", options.samples)
    command.say(f"digits: {settings}")
    runs = command.trained(trainer, data, validation, options.seeds)
    _report(options, settings, trainer, runs)


def _report(options: Any, settings: Settings, trainer: Trainer, runs: list[Trained]) -> None:
    """Measure on the test split, say it, save it."""
    inputs, labels = split("test", options.samples)
    classes = np.stack([trainer.classes(run.params, inputs) for run in runs])
    numbers = {
        "task": "digits",
        "settings": asdict(settings),
        "seeds": options.seeds,
        "validation": results.summary([run.validation[-1] for run in runs]),
        "test": results.summary(np.mean(classes == np.asarray(labels), 1).tolist()),
    }
    for name in ("validation", "test"):
        command.say(f"{name}, per cent: mean {numbers[name]['mean']}, of {numbers[name]['each']}")
    if options.out is not None:
        arrays = {"labels": labels, "classes": classes}
        command.saved(options.out, "digits", numbers, arrays, runs, ("loss", "validation"))


if __name__ == "__main__":
    sys.exit(main())
