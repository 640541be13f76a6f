"""Yin-Yang on a mock of mixed-signal hardware: ``python -m snnax.event.tasks.mock``.

The chip is calibrated; a network is trained in software, with the jitter of the chip; its weights are put on the chip;
and it learns on in the loop: the chip runs, and software computes the gradient at the spikes that were seen.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snnax.event.hardware import Chip, MockChip, calibrate
from snnax.event.tasks import command, results, yinyang
from snnax.event.tasks.chip_training import ChipTrainer
from snnax.event.tasks.learning import Samples, Trainer
from snnax.event.tasks.networks import ONCE, jittery, sure_first_spike_loss, two_layers

__all__ = ["in_the_time_of", "loss_of", "main"]

LAYERS = ("layers_0", "layers_1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command.run(_run, _parser(), arguments)


def in_the_time_of(chip: Chip, samples: Samples) -> Samples:
    """Inputs in seconds of the chip, which may be a thousand times as fast."""
    return samples._replace(inputs=np.asarray(samples.inputs) * _factor(chip))


def loss_of(chip: Chip) -> Any:
    """The loss of first spikes in seconds of the chip."""
    return sure_first_spike_loss(chip.t_max, _factor(chip))


def _factor(chip: Chip) -> float:
    return chip.parameters.tau_syn / ONCE.tau_syn


def _parser() -> command.Parser:
    parser = command.Parser(prog="snnax.event.tasks.mock", description=__doc__)
    parser.add_argument("--hidden", type=command.number(), default=120, help="number of hidden neurons")
    parser.add_argument("--before", type=command.number(), default=300, help="epochs in software")
    parser.add_argument("--epochs", type=command.number(), default=15, help="epochs in the loop")
    parser.add_argument("--batch", type=command.number(), default=64, help="samples of a step")
    parser.add_argument("--bits", type=command.number(), default=6, help="of a weight, beside its sign")
    parser.add_argument("--largest-weight", type=command.above_zero, default=8.0)
    parser.add_argument("--jitter", type=command.from_zero, default=1e-7, help="of spike times, in seconds")
    parser.add_argument("--bias", type=command.from_zero, default=1e-7, help="of spike times, in seconds")
    parser.add_argument(
        "--cycle", type=command.from_zero, default=8e-9, help="resolution of spike times, in seconds"
    )
    parser.add_argument(
        "--spread", type=command.from_zero, default=0.1, help="of thresholds and time constants"
    )
    parser.add_argument("--no-calibration", action="store_true", help="take the chip as it is")
    parser.add_argument("--seed", type=command.number(0), default=0, help="of chip, weights and samples")
    parser.add_argument("--samples", type=command.number(), help="of each split, for a quick try")
    parser.add_argument("--out", type=Path, help="folder for the results: .json and .npz")
    return parser


def _run(options: Any) -> None:
    if options.out is not None:
        results.folder(options.out)
    chip, spreads = _calibrated(options)
    splits = {name: yinyang.split(name, options.samples) for name in yinyang.SIZES}
    software, weights = _in_software(options, splits, options.jitter / _factor(chip))
    own = {name: in_the_time_of(chip, samples) for name, samples in splits.items()}
    trainer = ChipTrainer(chip, loss_of(chip), options.epochs, options.batch, learning_rate=2e-4)
    before = trainer.accuracy(weights, own["test"])
    told = command.teller("in the loop", options.epochs)
    trained = trainer.train(weights, own["train"], own["validation"], seed=options.seed, told=told)
    accuracies = {
        "software": software,
        "chip, weights of software": before,
        "chip, after the loop": trainer.accuracy(trained.params, own["test"]),
    }
    for name, value in accuracies.items():
        command.say(f"test, {name}: {value:.2%}")
    if options.out is not None:
        given = {k: v for k, v in vars(options).items() if k != "out"}
        numbers = {"task": "mock", "settings": given, "spread": spreads, "test": accuracies}
        arrays = {"loss": trained.loss, "validation": trained.validation}
        arrays |= {f"weights_{n}": matrix for n, matrix in enumerate(trained.params)}
        saved = results.save(options.out, "mock", numbers, arrays)
        command.say(f"wrote {saved} and {saved.with_suffix('.json')}")


def _calibrated(options: Any) -> tuple[Chip, dict[str, Any]]:
    """The chip, and by how much its neurons are wrong before and after calibration."""
    chip: Chip = MockChip(
        (5, options.hidden, yinyang.CLASSES),
        bits=options.bits,
        largest_weight=options.largest_weight,
        jitter=options.jitter,
        bias=options.bias,
        cycle=options.cycle,
        threshold_spread=options.spread,
        clock_spread=options.spread,
        seed=options.seed,
    )
    if options.no_calibration:
        return chip, {}
    found = calibrate(chip, repeats=1024)
    chip = found.corrected(chip)
    spreads = {"before": found.spread(), "after": calibrate(chip, repeats=1024).spread()}
    for when, spread in spreads.items():
        command.say(
            f"{when} calibration: thresholds off by {spread['threshold']:.1%}, time constants by "
            f"{spread['clock']:.1%}, spikes late by {spread['delay'] * 1e9:.0f} ns"
        )
    return chip, spreads


def _in_software(options: Any, splits: dict[str, Samples], jitter: float) -> tuple[float, list[np.ndarray]]:
    """The test accuracy of exact neurons, and their weights, trained with jitter, in seconds of the software."""
    settings = yinyang.Settings(hidden=options.hidden)
    net = two_layers(options.hidden, yinyang.CLASSES, yinyang.T_MAX)
    learner = jittery(net, sure_first_spike_loss(yinyang.T_MAX), jitter)
    trainer = Trainer(learner, options.before, options.batch, settings.learning_rate)
    told = command.teller("in software", options.before)
    trained = trainer.train(splits["train"], splits["validation"], seed=options.seed, told=told)
    exact = replace(trainer, learner=yinyang.learner("ttfs", settings))
    return exact.accuracy(trained.params, splits["test"]), [
        trained.params[name]["weights"] for name in LAYERS
    ]


if __name__ == "__main__":
    sys.exit(main())
