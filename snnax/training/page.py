"""A history and a state as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from snnax.tables import table, text
from snnax.training.history import History

__all__ = ["epochs", "position"]

_FIRST, _LAST = 3, 9
"""Epochs that are shown of a long training, at its start and its end."""

_ARRAYS = 24
"""Arrays of a state that are listed."""

_COLUMNS = (
    "loss", "accuracy", "eval_loss", "eval_accuracy", "overflow", "eval_overflow", "samples_per_second", "seconds",
)  # fmt: skip


def epochs(history: History) -> str:
    """A row for each epoch, of a long training those at its start and its end."""
    measured = {name: values for name in _COLUMNS if (values := getattr(history, name))}
    count = len(history.loss)
    steps = f", {len(history.step_loss)} steps" if history.step_loss else ""
    caption = f"{_counted(count, 'epoch')}{steps}, {history.compile_seconds:.3g} s of compilation"
    left = f"interrupted in the next, after {len(history.unfinished)} of its batches"
    after = f"<p>{left}</p>" if history.interrupted else ""
    shown = (
        [*range(count)]
        if count <= _FIRST + _LAST + 1
        else [*range(_FIRST), None, *range(count - _LAST, count)]
    )
    rows = [_epoch(number, list(measured.values())) for number in shown]
    head = (
        "epoch",
        *(name.replace("samples_per_second", "samples/s").replace("_", " ") for name in measured),
    )
    return f'<div style="overflow-x: auto">{table(caption, head, rows) or f"<p>{caption}</p>"}{after}</div>'


def _epoch(number: int | None, columns: Sequence[Sequence[float]]) -> tuple[str, ...]:
    if number is None:
        return ("...", *("" for _ in columns))
    return (str(number + 1), *(f"{values[number]:.4g}" if number < len(values) else "" for values in columns))


def position(state: Any) -> str:
    """How far it is, what it holds, and its parameters."""
    parts = ("params", "batch_stats", "buffers", "other", "hidden", "opt_state", "ema")
    rows = [
        ("step", _number(state.step)),
        ("epoch", _number(state.epoch)),
        ("network", text(type(state.net).__name__)),
    ]
    rows += [(name, _size(tree)) for name in parts if jax.tree.leaves(tree := getattr(state, name))]
    if state.decay is not None:
        rows.append(("average", f"decay {state.decay:g}"))
    arrays = [("/".join(map(str, path)), value) for path, value in flatten_dict(state.params).items()]
    listed = [
        (text(name), text("x".join(map(str, value.shape)) or "one number"), text(value.dtype))
        for name, value in arrays[:_ARRAYS]
    ]
    more = f"<p>and {len(arrays) - _ARRAYS} more</p>" if len(arrays) > _ARRAYS else ""
    held = table("Parameters", ("name", "shape", "dtype"), listed)
    return f'<div style="overflow-x: auto">{table("TrainState", ("", ""), rows)}{held}{more}</div>'


def _number(value: Any) -> str:
    """Of arrays that were donated to the next step, or that a transformation traces, nobody knows it."""
    try:
        return str(int(value))
    except (RuntimeError, TypeError):
        return "not known: donated or traced"


def _size(tree: Any) -> str:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    numbers = sum(int(np.prod(leaf.shape)) for leaf in leaves)
    size: float = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{_counted(numbers, 'number')} in {_counted(len(leaves), 'array')}, {size:.3g} {unit}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}".replace(",", " ")
