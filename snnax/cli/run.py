"""``snnax run``: a NIR file on an input, a piece of time after the other."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from snnax.cli.files import check_picture, load, refuse_existing, save_arrays, save_figure
from snnax.cli.readings import choices
from snnax.cli.tally import Arrays, Tally
from snnax.errors import ArgumentError, ShapeError
from snnax.interop.numbers import plain
from snnax.shown import columns, shown

BYTES_AT_ONCE = 2**28
STEPS_AT_ONCE = 1000


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The command; returns what it reports, as JSON values."""
    for option in ("out", "trace"):
        path = getattr(options, option)
        if path is not None and path.suffix != ".npz":
            raise ArgumentError(
                f"--{option} {path}: expected a name that ends in .npz, as --{option} run.npz."
            )
    if options.out and options.trace and os.path.realpath(options.out) == os.path.realpath(options.trace):
        raise ArgumentError(f"--out and --trace are both {options.out}; give each a file of its own.")
    if options.chunk is not None and options.chunk < 1:
        raise ArgumentError(f"--chunk {options.chunk}: expected a number of steps >= 1.")
    refuse_existing(options.out, options.trace, force=options.force)
    check_picture(options.plot)
    x = read_input(options)
    began = time.perf_counter()
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
    seconds = time.perf_counter() - began
    layers = tally.layers(model)
    if options.plot is not None:
        from snnax import spikeplot

        save_figure(options.plot, lambda: spikeplot.activity(tally.pictures(layers)))
    if options.out is not None:
        save_arrays(options.out, tally.named())
    if options.trace is not None:
        from snnax import interop

        interop.save_trace(options.trace, tally.trace(layers))
    return {
        "file": str(options.file),
        "input": {"file": ", ".join(options.input), "shape": list(x.shape), "dtype": str(x.dtype)},
        "reading": choices(options),
        "seconds": round(seconds, 3),
        "layers": layers,
        "outputs": tally.outputs,
        "out": None if options.out is None else str(options.out),
        "trace": None if options.trace is None else str(options.trace),
        "plot": None if options.plot is None else str(options.plot),
    }


def read(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """``from_nir`` as the options ask."""
    from snnax import interop

    return interop.from_nir(options.file, **choices(options))


def read_input(options: argparse.Namespace) -> np.ndarray:
    """One array for one input, and the arrays of several joined."""
    named = [text.partition("=") for text in options.input]
    if len(named) == 1 and not (named[0][1] and not Path(options.input[0]).exists()):
        return _array(Path(options.input[0]))
    if bad := [text for text, equals, _ in named if not equals]:
        raise ArgumentError(f"--input {bad[0]}: for several inputs pass --input NAME=X.npy for each of them.")
    if len({name for name, _, _ in named}) < len(named):
        raise ArgumentError("--input has one name twice; pass one NAME=X.npy for each input.")
    from snnax import interop

    return interop.join_inputs(options.file, {name: _array(Path(file)) for name, _, file in named})


def _array(path: Path) -> np.ndarray:
    x = load(path)
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(
            f"{path}: x has shape {x.shape}; expected [T, B, ...] with at least one step and sample."
        )
    return plain(str(path), "x", x)


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


def table(content: dict[str, Any]) -> str:
    """The report as text."""
    steps, samples = content["input"]["shape"][:2]
    head = (
        f"{shown(content['file'])} on {shown(content['input']['file'])}: {steps} step{'s' * (steps != 1)}, "
        f"{samples} sample{'s' * (samples != 1)}, {content['input']['dtype']}, {content['seconds']:.1f} s"
    )
    rows = [
        ("layer", "neuron", "neurons", "spikes", "rate", "first spike", "membrane"),
        *map(_row, content["layers"]),
    ]
    ends = [f"{y['name']}  {' x '.join(map(str, y['shape']))}" for y in content["outputs"]]
    ends += [f"written  {shown(content[k])}" for k in ("out", "trace", "plot") if content[k]]
    return "\n".join([head, "", *columns(rows, left=2), "", *ends])


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    low, high = layer["membrane"]
    return (
        shown(layer["name"]),
        shown(layer["kind"]),
        str(layer["neurons"]),
        "-" if layer["spikes"] is None else str(layer["spikes"]),
        "-" if layer["rate"] is None else f"{layer['rate']:.4f}",
        "-" if layer["first_spike"] is None else f"step {layer['first_spike']}",
        "-" if low is None or high is None else f"{low:.4g} to {high:.4g}",
    )
