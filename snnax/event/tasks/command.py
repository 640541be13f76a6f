"""What the commands of the tasks share: options, one line for whatever goes wrong, lines on the output."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from snnax.errors import ArgumentError, SnnaxError
from snnax.event.tasks.learning import Told

__all__ = ["Parser", "above_zero", "from_zero", "number", "run", "say", "teller"]

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
