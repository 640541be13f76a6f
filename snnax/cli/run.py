"""``snnax run``: a NIR file on an input, a piece of time after the other."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from snnax.cli.files import (
    check_network,
    check_picture,
    load,
    refuse_existing,
    save_arrays,
    save_figure,
)
from snnax.cli.readings import choices
from snnax.errors import ArgumentError, ShapeError
from snnax.shown import columns, shown


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
    check_network(options.file)
    given = read_inputs(options)
    check_picture(options.plot)
    from snnax.cli import running

    x = running.joined(options, given)
    began = time.perf_counter()
    model, tally = running.tallied(options, x)
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


def read_inputs(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The arrays of ``--input`` by the names that it gives them; the only one may have the name ``""``."""
    named = [text.partition("=") for text in options.input]
    if len(named) == 1 and not (named[0][1] and not Path(options.input[0]).exists()):
        return {"": _array(Path(options.input[0]))}
    if bad := ["".join(parts) for parts in named if not (parts[0] and parts[1])]:
        raise ArgumentError(f"--input {bad[0]}: for several inputs pass --input NAME=X.npy for each of them.")
    if len({name for name, _, _ in named}) < len(named):
        raise ArgumentError("--input has one name twice; pass one NAME=X.npy for each input.")
    return {name: _array(Path(file)) for name, _, file in named}


def _array(path: Path) -> np.ndarray:
    x = load(path)
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(
            f"{path}: x has shape {x.shape}; expected [T, B, ...] with at least one step and sample."
        )
    return x


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
