"""What training shows while it runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

__all__ = ["Reporter", "describe", "reporter"]

Values = dict[str, float]

_SHOWN = {
    "loss": "loss {:.4g}",
    "accuracy": "accuracy {:.2%}",
    "eval_loss": "eval loss {:.4g}",
    "eval_accuracy": "eval accuracy {:.2%}",
    "overflow": "overflow {:.2%}",
    "eval_overflow": "eval overflow {:.2%}",
    "samples_per_second": "{:,.0f} samples/s",
}


def describe(values: Values) -> str:
    """Metrics as text, in one order, those that are there; of an overflow only one that is more than 0.

    Example:
        >>> from snnax.training.progress import describe
        >>> describe({"accuracy": 0.5, "loss": 0.25})
        'loss 0.25, accuracy 50.00%'
    """
    shown = {name for name, value in values.items() if value or not name.endswith("overflow")}
    return ", ".join(text.format(values[name]) for name, text in _SHOWN.items() if name in shown)


_LEVELS = "▁▂▃▄▅▆▇█"


def curve(values: Sequence[float], width: int = 16) -> str:
    """The course of some numbers in one line of text: means of ``width`` parts, from the lowest to the highest.

    Example:
        >>> from snnax.training.progress import curve
        >>> curve([4.0, 3.0, 2.0, 1.0, 0.5])
        '█▆▄▂▁'
    """
    count, parts = len(values), min(width, len(values))
    cuts = [n * count // parts for n in range(parts + 1)] if parts else []
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if not all(map(math.isfinite, (*means, high - low))):
        return ""
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(_LEVELS[round((mean - low) * scale)] for mean in means)


class Reporter:
    """Shows nothing; what shows something overrides these. ``with`` it around the training."""

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def compiling(self, what: str) -> None:
        """Compilation of ``what`` begins."""

    def compiled(self, what: str, seconds: float) -> None:
        """Compilation of ``what`` has ended."""

    def begin(self, epoch: int, epochs: int, batches: int | None) -> None:
        """Epoch ``epoch`` of ``epochs``, counted from 1, begins; it has that many batches, if known."""

    def advance(self, done: int, values: Values) -> None:
        """So many batches of the epoch are done; the metrics are of the last one."""

    def finish(self, epoch: int, epochs: int, batches: int, values: Values) -> None:
        """The epoch has ended after so many batches, with these means and its ``seconds``."""

    def note(self, text: str) -> None:
        """Something that happens once."""


class Lines(Reporter):
    """One line for each epoch, and one for each compilation."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def compiling(self, what: str) -> None:
        """The first half of the line, so that the pause is explained while it lasts."""
        self._write(f"compiling the {what} ...", end="")

    def compiled(self, what: str, seconds: float) -> None:
        """The second half."""
        self._write(f" {seconds:.1f} s")

    def finish(self, epoch: int, epochs: int, batches: int, values: Values) -> None:
        """The line of the epoch."""
        self._write(f"epoch {epoch}/{epochs}: {describe(values)}, {values['seconds']:.1f} s")

    def note(self, text: str) -> None:
        """A line."""
        self._write(text)

    def _write(self, text: str, end: str = "\n") -> None:
        self._console.print(text, end=end, markup=False, highlight=False, soft_wrap=True)


class Bars(Reporter):
    """One bar for each epoch with loss, accuracy, samples per second and time left; one for compiling."""

    def __init__(self, console: Console) -> None:
        from rich import progress

        self._bars: Progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[curve]}"),
            progress.TextColumn("{task.fields[shown]}"),
            progress.TimeRemainingColumn(elapsed_when_finished=True, compact=True),
            console=console,
        )
        self._epoch: TaskID | None = None
        self._compile: TaskID | None = None
        self._losses: list[float] = []

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def compiling(self, what: str) -> None:
        """A bar that runs back and forth."""
        self._compile = self._bars.add_task(f"compiling the {what}", total=None, curve="", shown="")

    def compiled(self, what: str, seconds: float) -> None:
        """A line in its place."""
        if self._compile is not None:
            self._bars.remove_task(self._compile)
        self.note(f"compiled the {what} in {seconds:.1f} s")

    def begin(self, epoch: int, epochs: int, batches: int | None) -> None:
        """A new bar below those of the epochs before."""
        self._epoch = self._bars.add_task(f"epoch {epoch}/{epochs}", total=batches, curve="", shown="")

    def advance(self, done: int, values: Values) -> None:
        """Move the bar."""
        if self._epoch is not None:
            self._losses.append(values["loss"])
            self._bars.update(self._epoch, completed=done, curve=curve(self._losses), shown=describe(values))

    def finish(self, epoch: int, epochs: int, batches: int, values: Values) -> None:
        """Fill the bar; it stays."""
        if self._epoch is not None:
            self._bars.update(self._epoch, total=batches, completed=batches, shown=describe(values))

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)


def reporter(progress: bool | Console) -> Reporter:
    """What ``fit(progress=...)`` asks for: nothing, standard output, or that ``rich`` console."""
    if progress is False:
        return Reporter()
    from rich.console import Console

    console = progress if isinstance(progress, Console) else Console()
    return Bars(console) if console.is_terminal or console.is_jupyter else Lines(console)
