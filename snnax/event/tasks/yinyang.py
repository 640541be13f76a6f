"""Yin-Yang in continuous time: ``python -m snnax.event.tasks.yinyang --method ttfs``.

A point is four spikes, at times that grow with ``x``, ``y``, ``1 - x`` and ``1 - y``, and a fifth at time 0. The class
is that of the output neuron that fires first (with ``surrogate``: of the integrator with the largest voltage).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.datasets import yin_yang
from snnax.event.encoding import biased, latency_code
from snnax.event.tasks import command, results
from snnax.event.tasks.learning import Learner, Samples, Trained, Trainer
from snnax.event.tasks.networks import dense, event_driven, first_spike_loss, two_layers

__all__ = ["METHODS", "SIZES", "Settings", "encoded", "learner", "main", "split"]

T_MAX, LATEST = 20e-3, 10e-3
"""When a simulation ends, and the latest input, in seconds."""

DT = 0.5e-3
"""A step of the method that has steps, in seconds."""

CLASSES = 3

SIZES = {"train": 4992, "validation": 1024, "test": 2944}
"""Samples of each split; the seeds of the data are 0, 1 and 2, whatever that of the network."""


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained.

    Args:
        hidden: number of hidden neurons.
        epochs: passes over the data.
        batch: samples of a step.
        learning_rate: of Adam, at the start.
        max_spikes: of a hidden neuron.
        recurrent: whether the hidden neurons project to each other.
        clip: largest norm of a gradient.
    """

    hidden: int = 120
    epochs: int = 300
    batch: int = 64
    learning_rate: float = 1e-2
    max_spikes: int = 1
    recurrent: bool = False
    clip: float | None = None


METHODS = {
    "ttfs": Settings(),
    "eventprop": Settings(max_spikes=6, epochs=150),
    "recurrent": Settings(max_spikes=4, recurrent=True, epochs=50, clip=1.0),
    "surrogate": Settings(epochs=200, clip=1.0),
}
"""By name: each neuron fires once at most; several times; several times and with recurrence; in time steps."""


def encoded(points: Any) -> Any:
    """Points ``[S, 2]`` as times of spikes, ``[S, 5]`` in seconds."""
    values = np.concatenate([points, 1 - points], 1).astype(np.float32)
    return biased(latency_code(values, LATEST, largest_first=False)).times[..., 0]


def split(name: str, samples: int | None = None) -> Samples:
    """Points of ``"train"``, ``"validation"`` or ``"test"``, encoded, and their labels."""
    points, labels = _points(name, samples)
    return Samples(encoded(points), jnp.asarray(labels, jnp.int32))


def _points(name: str, samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    checks.one_of(*SIZES)(name, "split(name=...)")
    return yin_yang(samples or SIZES[name], seed=[*SIZES].index(name))


def learner(method: str, settings: Settings) -> Learner:
    """The network of a method, and its loss."""
    if method == "surrogate":
        return dense(settings.hidden, CLASSES, T_MAX, DT)
    net = two_layers(
        settings.hidden,
        CLASSES,
        T_MAX,
        max_spikes=settings.max_spikes,
        recurrent=settings.recurrent,
    )
    return event_driven(net, first_spike_loss(T_MAX))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command.run(_run, _parser(), arguments)


def _parser() -> command.Parser:
    parser = command.training_parser("snnax.event.tasks.yinyang", __doc__)
    parser.add_argument("--method", choices=METHODS, default="ttfs")
    parser.add_argument("--max-spikes", type=command.number(), help="of a hidden neuron")
    parser.add_argument(
        "--out", type=Path, help="folder for the results: .json, .npz and, if asked for, a picture"
    )
    parser.add_argument(
        "--picture", action="store_true", help="draw the picture, too; needs --out and matplotlib"
    )
    parser.add_argument(
        "--draw", type=Path, metavar="NPZ", help="draw the picture of a result, and do nothing else"
    )
    return parser


def _run(options: Any) -> None:
    if options.draw is not None:
        _draw(options.draw)
        return
    if options.picture and options.out is None:
        raise checks.refuse(
            "--picture", options.picture, "--out DIR with it, as the picture is drawn from what is saved"
        )
    if options.out is not None:
        results.folder(options.out)
    settings = command.settings(METHODS[options.method], options)
    _refuse_unused(options)
    trainer = Trainer(
        learner(options.method, settings),
        settings.epochs,
        settings.batch,
        settings.learning_rate,
        settings.clip,
    )
    data, validation = split("train", options.samples), split("validation", options.samples)
    command.say(f"{options.method}: {settings}")
    runs = command.trained(trainer, data, validation, options.seeds)
    _report(options, settings, trainer, runs)


def _refuse_unused(options: Any) -> None:
    if options.max_spikes is not None and options.method in ("ttfs", "surrogate"):
        raise checks.refuse(
            f"--method {options.method} --max-spikes",
            options.max_spikes,
            "none: it is for eventprop and recurrent",
        )


def _report(options: Any, settings: Settings, trainer: Trainer, runs: list[Trained]) -> None:
    """Measure on the test split, say it, save it."""
    points, labels = _points("test", options.samples)
    classes = np.stack([trainer.classes(run.params, encoded(points)) for run in runs])
    numbers = {
        "task": "yinyang",
        "method": options.method,
        "settings": asdict(settings),
        "seeds": options.seeds,
        "samples": {name: options.samples or size for name, size in SIZES.items()},
        "validation": results.summary([run.validation[-1] for run in runs]),
        "test": results.summary(np.mean(classes == labels, 1).tolist()),
        "overflow": results.summary([run.overflow[-1] for run in runs]),
    }
    for name in ("validation", "test", "overflow"):
        found = numbers[name]
        command.say(f"{name}, per cent: mean {found['mean']}, of {found['each']}")
    if options.out is None:
        return
    arrays = {"points": points, "labels": labels, "classes": classes}
    curves = ("loss", "validation", "overflow")
    saved = command.saved(options.out, f"yinyang_{options.method}", numbers, arrays, runs, curves)
    if options.picture:
        _draw(saved)


def _draw(saved: Path) -> None:
    picture = saved.with_suffix(".png")
    results.draw(saved, picture)
    command.say(f"wrote {picture}")


if __name__ == "__main__":
    sys.exit(main())
