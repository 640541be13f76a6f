"""The work of ``snnax run``: the network over time, a piece after the other, added up."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from snnax import interop
from snnax.cli.readings import read
from snnax.cli.tally import Arrays, Tally
from snnax.errors import ShapeError
from snnax.interop.numbers import plain

BYTES_AT_ONCE = 2**28
STEPS_AT_ONCE = 1000


def joined(options: argparse.Namespace, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the network takes: the array for its one input, or those for several joined."""
    real = {
        name: plain(f"--input {text}", "x", x)
        for (name, x), text in zip(given.items(), options.input, strict=True)
    }
    return real[""] if "" in real else interop.join_inputs(options.file, real)


def tallied(options: argparse.Namespace, x: np.ndarray) -> tuple[Any, Tally]:
    """The model, and what its run on ``x`` adds up to."""
    with jax.enable_x64(x.dtype == np.float64):
        model, variables = read(options)
        check_input(x, model)
        tally = Tally(
            len(x),
            x.shape[1],
            keep=options.out is not None,
            inputs=options.trace is not None,
            picture=options.plot is not None,
        )
        with _progress(len(x)) as advance:
            for steps, outputs, recorded in pieces(model, variables, x, options.chunk):
                tally.add(outputs, recorded)
                advance(steps)
    return model, tally


def check_input(x: np.ndarray, model: Any) -> None:
    """Refuse an input of another shape than the network's."""
    shape = getattr(model, "input_shape", None)
    if shape is not None and x.shape[2:] != tuple(shape):
        raise ShapeError(
            f"x has shape {x.shape}; the network takes [T, B, {', '.join(map(str, shape))}]: time steps, "
            "samples, and one sample's shape."
        )


def pieces(
    model: Any, variables: Mapping[str, Any], x: np.ndarray, chunk: int | None
) -> Iterator[tuple[int, tuple[np.ndarray, ...], dict[str, Arrays]]]:
    """The run in pieces of ``chunk`` steps, each of which starts from the state that the last one left."""
    from snnax.network.states import initial_hidden
    from snnax.network.unroll import unroll

    def step(variables: Any, x: Any) -> Any:
        return unroll(model, variables, x, record=True)

    variables = dict(variables)
    if chunk is None:
        y, _, recorded = jax.eval_shape(step, variables, x[:1])
        size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves((y, recorded)))
        chunk = max(1, min(STEPS_AT_ONCE, BYTES_AT_ONCE // max(size, 1)))
    chunk = math.ceil(len(x) / math.ceil(len(x) / chunk))
    if chunk < len(x):
        variables["hidden"] = initial_hidden(model, variables, jax.numpy.asarray(x[0]))
    for start in range(0, len(x), chunk):
        part = x[start : start + chunk]
        y, updates, recorded = step(variables, part)
        variables["hidden"] = updates.get("hidden", {})
        outputs = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(y))
        turned = {name: {k: _first(v) for k, v in values.items()} for name, values in recorded.items()}
        yield len(part), outputs, turned


def _first(array: Any) -> np.ndarray:
    from snnax.interop.conventions import traces_first

    return traces_first(np.asarray(array))


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream if that is a terminal, else nothing."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        progress.TimeRemainingColumn(elapsed_when_finished=True, compact=True),
        console=Console(file=sys.stderr),
    )
    with bar:
        task = bar.add_task("compiling", total=steps)

        def advance(count: int) -> None:
            bar.update(task, advance=count, description="running")

        yield advance
