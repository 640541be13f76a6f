"""``snnax run``: a NIR file on an input, a piece of time after the other."""

from __future__ import annotations

import argparse
import math
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
from snnax.errors import ArgumentError, ShapeError

BYTES_AT_ONCE = 2**28
STEPS_AT_ONCE = 1000

Arrays = dict[str, np.ndarray]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The command; returns what it reports, as JSON values."""
    if options.out is not None and options.out.suffix != ".npz":
        raise ArgumentError(f"--out {options.out}: expected a name that ends in .npz, as --out run.npz.")
    if options.chunk is not None and options.chunk < 1:
        raise ArgumentError(f"--chunk {options.chunk}: expected a number of steps >= 1.")
    refuse_existing(options.out, force=options.force)
    check_picture(options.plot)
    x = _input(options)
    began = time.perf_counter()
    with jax.enable_x64(x.dtype == np.float64):
        model, variables = read(options)
        _check(x, model)
        tally = _Tally(len(x), x.shape[1], keep=options.out is not None, picture=options.plot is not None)
        with _progress(len(x)) as advance:
            for steps, outputs, recorded in pieces(model, variables, x, options.chunk):
                tally.add(outputs, recorded)
                advance(steps)
    seconds = time.perf_counter() - began
    layers = tally.layers(model)
    if options.plot is not None:
        from snnax import spikeplot

        save_figure(options.plot, spikeplot.activity(tally.pictures(layers)))
    if options.out is not None:
        save_arrays(options.out, tally.arrays)
    return {
        "file": str(options.file),
        "input": {"file": ", ".join(options.input), "shape": list(x.shape), "dtype": str(x.dtype)},
        "reading": choices(options),
        "seconds": round(seconds, 3),
        "layers": layers,
        "outputs": tally.outputs,
        "out": None if options.out is None else str(options.out),
        "plot": None if options.plot is None else str(options.plot),
    }


def read(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """``from_nir`` as the options ask."""
    from snnax import interop

    return interop.from_nir(options.file, **choices(options))


def _input(options: argparse.Namespace) -> np.ndarray:
    """One array for one input, and the arrays of several joined."""
    named = [text.partition("=") for text in options.input]
    if len(named) == 1 and not (named[0][1] and not Path(options.input[0]).exists()):
        return _array(Path(options.input[0]))
    if bad := [text for text, equals, _ in named if not equals]:
        raise ArgumentError(f"--input {bad[0]}: for several inputs pass --input NAME=X.npy for each of them.")
    from snnax import interop

    return interop.join_inputs(options.file, {name: _array(Path(file)) for name, _, file in named})


def _array(path: Path) -> np.ndarray:
    x = load(path)
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(
            f"{path}: x has shape {x.shape}; expected [T, B, ...] with at least one step and sample."
        )
    if not np.isfinite(x).all():
        raise ArgumentError(f"{path}: x holds NaN or infinity.")
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def _check(x: np.ndarray, model: Any) -> None:
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
    from snnax.network.unroll import initial_hidden, unroll

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


class _Tally:
    """What a run adds up to, and its arrays where somebody wants them."""

    def __init__(self, steps: int, samples: int, *, keep: bool, picture: bool) -> None:
        self.steps, self.samples, self.keep, self.picture = steps, samples, keep, picture
        self.done = 0
        self.arrays: Arrays = {}
        self.first_sample: dict[str, Arrays] = {}
        self.outputs: list[dict[str, Any]] = []
        self._counts: dict[str, dict[str, Any]] = {}

    def add(self, outputs: tuple[np.ndarray, ...], recorded: dict[str, Arrays]) -> None:
        """One more piece of time."""
        length = len(outputs[0])
        names = ["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))]
        if not self.done:
            self.outputs = [
                {"name": name, "shape": [self.steps, *y.shape[1:]], "dtype": str(y.dtype)}
                for name, y in zip(names, outputs, strict=True)
            ]
        for name, values in recorded.items():
            self._count(name, values)
            states = {k: v for k, v in values.items() if k != "input"}
            if self.keep:
                self._put(self.arrays, {f"{name}/{k}": v for k, v in states.items()})
            if self.picture:
                shown = {k: v[:, 0].reshape(length, -1) for k, v in states.items() if k in ("spk", "mem")}
                self._put(self.first_sample.setdefault(name, {}), shown)
        if self.keep:
            self._put(self.arrays, dict(zip(names, outputs, strict=True)))
        self.done += length

    def _put(self, home: Arrays, values: Arrays) -> None:
        for name, value in values.items():
            if name not in home:
                home[name] = np.empty((self.steps, *value.shape[1:]), value.dtype)
            home[name][self.done : self.done + len(value)] = value

    def _count(self, name: str, values: Arrays) -> None:
        found = self._counts.setdefault(name, {"spikes": 0, "first": None, "low": np.inf, "high": -np.inf})
        found["neurons"] = math.prod(values["input" if "spk" not in values else "spk"].shape[2:])
        if "mem" in values:
            found["neurons"] = math.prod(values["mem"].shape[2:])
            found["low"] = np.minimum(found["low"], values["mem"].min())
            found["high"] = np.maximum(found["high"], values["mem"].max())
        if "spk" not in values:
            found["spikes"] = None
            return
        fired = np.count_nonzero(values["spk"].reshape(len(values["spk"]), -1), axis=1)
        found["spikes"] += int(fired.sum())
        if found["first"] is None and fired.any():
            found["first"] = self.done + int((fired > 0).argmax())

    def layers(self, model: Any) -> list[dict[str, Any]]:
        """One entry for each layer of neurons, in the order in which a step executes them."""
        order = {name: place for place, name in enumerate(model.plan().order)}
        names = sorted(self._counts, key=lambda name: order.get(name.partition("/")[0], len(order)))
        rows = []
        for name in names:
            found = self._counts[name]
            size = self.steps * self.samples * found["neurons"]
            spikes = found["spikes"]
            rows.append(
                {
                    "name": name,
                    "kind": _kind(model, name),
                    "neurons": found["neurons"],
                    "spikes": spikes,
                    "rate": None if spikes is None else spikes / size,
                    "first_spike": found["first"],
                    "membrane": [_number(found["low"]), _number(found["high"])],
                }
            )
        return rows

    def pictures(self, layers: list[dict[str, Any]]) -> dict[str, Arrays]:
        """Spikes and membranes of sample 0, in the order of the layers."""
        return {layer["name"]: self.first_sample[layer["name"]] for layer in layers}


def _kind(model: Any, path: str) -> str:
    for name in path.split("/"):
        members = model.members() if hasattr(model, "members") else {}
        if name not in members:
            return "neuron"
        model = members[name]
    return type(model).__name__


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream if that is a terminal, else nothing."""
    if not sys.stderr.isatty():
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
        f"{content['file']} on {content['input']['file']}: {steps} step{'s' * (steps != 1)}, "
        f"{samples} sample{'s' * (samples != 1)}, {content['input']['dtype']}, {content['seconds']:.1f} s"
    )
    rows = [
        ("layer", "neuron", "neurons", "spikes", "rate", "first spike", "membrane"),
        *map(_row, content["layers"]),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(7)]
    left = (0, 1)
    lines = [
        "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    ends = [f"{y['name']}  {' x '.join(map(str, y['shape']))}" for y in content["outputs"]]
    ends += [f"written  {content[k]}" for k in ("out", "plot") if content[k]]
    return "\n".join([head, "", *lines, "", *ends])


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    low, high = layer["membrane"]
    return (
        layer["name"],
        layer["kind"],
        str(layer["neurons"]),
        "-" if layer["spikes"] is None else str(layer["spikes"]),
        "-" if layer["rate"] is None else f"{layer['rate']:.4f}",
        "-" if layer["first_spike"] is None else f"step {layer['first_spike']}",
        "-" if low is None or high is None else f"{low:.4g} to {high:.4g}",
    )
