"""What the commands of the tasks share: options, one line for whatever goes wrong, lines on the output."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from snnax.errors import ArgumentError, SnnaxError
from snnax.event.tasks import results
from snnax.event.tasks.learning import Samples, Told, Trained, Trainer

S = TypeVar("S")

__all__ = [
    "Parser",
    "above_zero",
    "from_zero",
    "number",
    "run",
    "saved",
    "say",
    "settings",
    "teller",
    "trained",
    "training_parser",
]

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130


class Parser(argparse.ArgumentParser):
    """What cannot be understood is an error like any other."""

    def error(self, message: str) -> NoReturn:
        """Refuse the line.

        Raises:
            ArgumentError: always.
        """
        raise ArgumentError(f"{message}; see python -m {self.prog} --help")


def number(least: int = 1) -> Callable[[str], int]:
    """The type of an option that is a whole number from ``least`` on."""

    def whole(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = least - 1
        if found < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text!r}")
        return found

    return whole


def above_zero(text: str) -> float:
    """The type of an option that is a finite number above 0."""
    if not 0 < (found := _real(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return found


def from_zero(text: str) -> float:
    """The type of an option that is a finite number from 0 on."""
    if not 0 <= (found := _real(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, got {text!r}")
    return found


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def training_parser(prog: str, about: str | None) -> Parser:
    """Options of a command that trains networks."""
    parser = Parser(prog=prog, description=about)
    parser.add_argument("--hidden", type=number(), help="number of hidden neurons")
    parser.add_argument("--epochs", type=number(), help="passes over the data")
    parser.add_argument("--batch", type=number(), help="samples of a step")
    parser.add_argument("--learning-rate", type=above_zero, help="of Adam, at the start")
    parser.add_argument("--seeds", type=number(), default=1, help="so many networks, from seed 0")
    parser.add_argument("--samples", type=number(), help="of each split, for a quick try")
    return parser


def settings(default: S, options: Any) -> S:
    """``default``, a dataclass, with what the options say of its fields."""
    given = {field.name: getattr(options, field.name, None) for field in fields(default)}  # type: ignore[arg-type]
    said = {name: value for name, value in given.items() if value is not None}
    return replace(default, **said)  # type: ignore[type-var]


def trained(trainer: Trainer, data: Samples, validation: Samples, seeds: int) -> list[Trained]:
    """A network of each seed, with lines that say how it goes."""
    runs = []
    for seed in range(seeds):
        began, told = time.process_time(), teller(f"seed {seed}", trainer.epochs)
        runs.append(trainer.train(data, validation, seed=seed, told=told))
        say(f"seed {seed}: {time.process_time() - began:.0f} CPU seconds")
    return runs


def saved(
    out: Path,
    name: str,
    numbers: dict[str, Any],
    arrays: dict[str, Any],
    runs: Sequence[Trained],
    curves: Sequence[str],
) -> Path:
    """Write a result with the curves and the weights of each network, and say where."""
    arrays = arrays | {curve: np.stack([getattr(run, curve) for run in runs]) for curve in curves}
    for seed, run in enumerate(runs):
        arrays |= results.weights(run.params, f"seed_{seed}")
    path = results.save(out, name, numbers, arrays)
    say(f"wrote {path} and {path.with_suffix('.json')}")
    return path


def run(work: Callable[[Any], None], parser: Parser, arguments: Sequence[str] | None) -> int:
    """Do what a line of options asks for; the exit status: 0 done, 2 bad input, 130 interrupted."""
    try:
        work(parser.parse_args(arguments))
    except (SnnaxError, OSError) as error:
        _write(f"{parser.prog}: {' '.join(str(error).split())}", sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        _write(f"{parser.prog}: interrupted; nothing was saved", sys.stderr)
        return INTERRUPTED
    return DONE


def say(text: str) -> None:
    """A line on the output, at once."""
    _write(text, sys.stdout)


def teller(who: str, epochs: int) -> Told:
    """Says of about ten epochs what they brought."""
    every = max(1, epochs // 10)

    def told(epoch: int, loss: float, accuracy: float) -> None:
        if epoch % every == 0 or epoch == epochs:
            say(f"{who}, epoch {epoch}: loss {loss:.5f}, validation {accuracy:.2%}")

    return told


def _write(text: str, stream: Any) -> None:
    stream.write(text + "\n")
    stream.flush()
