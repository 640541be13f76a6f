"""What training measured, epoch by epoch and step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["History", "mean"]


@dataclass
class History:
    """One entry per epoch in each list, those of ``step_`` one per step; lists of what was not measured are empty.

    :func:`snnax.spikeplot.history` draws it.

    Attributes:
        loss: mean over the samples of the epoch, each batch before its update.
        accuracy: the same.
        eval_loss: on the evaluation data after the epoch.
        eval_accuracy: the same.
        overflow: share of the epoch's samples in which a network in continuous time had more spikes than its budget.
        eval_overflow: the same, on the evaluation data.
        step_loss: of each batch of the epochs that are complete, before its update.
        step_accuracy: the same.
        samples_per_second: of training, without compilation.
        seconds: of the whole epoch, with compilation and evaluation.
        compile_seconds: of all compilations together, in this run.
        interrupted: whether Ctrl-C or a batch's callback ended the training within an epoch.
        unfinished: of an epoch that was interrupted, ``{"loss": ..., "samples": ...}`` for each batch.

    Example:
        >>> from snnax.training import History
        >>> History(loss=[2.3, 1.1]).last()
        {'loss': 1.1}
        >>> History(loss=[2.3, 1.7, 1.1], accuracy=[0.2, 0.5, 0.875])
        History(3 epochs, loss 2.3 to 1.1, accuracy 0.2 to 0.875)
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    eval_loss: list[float] = field(default_factory=list)
    eval_accuracy: list[float] = field(default_factory=list)
    overflow: list[float] = field(default_factory=list)
    eval_overflow: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
    step_accuracy: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    compile_seconds: float = 0.0
    interrupted: bool = False
    unfinished: list[dict[str, float]] = field(default_factory=list)

    def __repr__(self) -> str:
        count = len(self.loss)
        parts = [f"{count} epoch{'' if count == 1 else 's'}"]
        for name in (
            "loss",
            "accuracy",
            "eval_loss",
            "eval_accuracy",
        ):  # a list of all steps would fill the screen
            if values := getattr(self, name):
                ends = values if len(values) == 1 else (values[0], values[-1])
                parts.append(f"{name} {' to '.join(f'{value:.4g}' for value in ends)}")
        if self.interrupted:
            parts.append(f"interrupted in the next, after {len(self.unfinished)} of its batches")
        return f"History({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """A table of the epochs, for notebooks."""
        from snnax.training.page import epochs

        return epochs(self)

    def last(self) -> dict[str, float]:
        """The newest entry of each list of epochs that has one."""
        names = [f.name for f in fields(self) if f.name != "unfinished" and not f.name.startswith("step_")]
        lists = {name: getattr(self, name) for name in names}
        return {name: value[-1] for name, value in lists.items() if isinstance(value, list) and value}

    def add(self, values: Mapping[str, float]) -> None:
        """Append an epoch's values to the lists of their names."""
        for name, value in values.items():
            getattr(self, name).append(float(value))

    def add_steps(self, batches: Sequence[Mapping[str, float]]) -> None:
        """Append the metrics of an epoch's batches."""
        for name in ("loss", "accuracy"):
            getattr(self, f"step_{name}").extend(float(batch[name]) for batch in batches if name in batch)

    def lengths(self) -> dict[str, int]:
        """How many entries each list has."""
        return {name: len(value) for name, value in vars(self).items() if isinstance(value, list)}

    def cut(self, lengths: Mapping[str, int]) -> None:
        """Leave out what was appended since the lists had these lengths."""
        for name, length in lengths.items():
            del getattr(self, name)[length:]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, as JSON has them."""
        return asdict(self)


def mean(batches: Sequence[Mapping[str, float]], name: str) -> float:
    """Mean of a metric over the samples of several batches."""
    samples = math.fsum(batch["samples"] for batch in batches)
    return math.fsum(batch[name] * batch["samples"] for batch in batches) / samples
