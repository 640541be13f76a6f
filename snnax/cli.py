"""The command line: ``snnax`` and ``python -m snnax``.

Exit status: 0 the sides agree or the work is done, 1 they disagree, 2 bad input.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnax.errors import ArgumentError, SnnaxError

AGREE, DISAGREE, BAD_INPUT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; errors go to the error stream as one line."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (SnnaxError, OSError) as error:
        print(f"snnax {options.command}: {error}", file=sys.stderr)
        return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snnax",
        description="Spiking networks in JAX, and the proof that a port computes the same spikes.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo", help="port a trained snnTorch network, prove it, train on, port it back"
    )
    demo.add_argument(
        "--out", type=Path, default=Path(), help="folder for demo.nir and demo.png (default: here)"
    )
    demo.add_argument("--json", action="store_true", help="print the results as JSON")
    demo.set_defaults(run=_demo)

    inspect = commands.add_parser("inspect", help="show what is in a .nir file and how snnax reads it")
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--dt", type=float, help="time step in seconds (default: the file's, else 1e-4)")
    inspect.add_argument("--json", action="store_true")
    inspect.set_defaults(run=_inspect)

    compare = commands.add_parser(
        "compare", help="run two .nir files on the same input and compare their spikes"
    )
    compare.add_argument("a", type=Path)
    compare.add_argument("b", type=Path)
    compare.add_argument(
        "--input", type=Path, required=True, help=".npy file with x [T, B, ...], channels first"
    )
    compare.add_argument("--plot", type=Path, help="write the picture of the comparison here")
    compare.add_argument("--dt", type=float, help="time step in seconds (default: each file's, else 1e-4)")
    compare.add_argument("--json", action="store_true")
    compare.set_defaults(run=_compare)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from snnax.demo import run

    say = (lambda text: print(text, file=sys.stderr, flush=True)) if options.json else _say
    results = run(options.out, say)
    if options.json:
        _print_json(results)
    return AGREE if results["agree"] else DISAGREE


def _say(text: str) -> None:
    print(text, flush=True)


def _inspect(options: argparse.Namespace) -> int:
    from snnax.interop.inspecting import describe, table

    content = describe(options.file, options.dt)
    if options.json:
        _print_json(content)
    else:
        print(table(content))
    return AGREE


def _compare(options: argparse.Namespace) -> int:
    from snnax import interop

    x = _load(options.input)
    report = interop.crossvalidate(options.a, options.b, x, dt=options.dt)
    if options.plot is not None:
        report.plot(options.plot)
    if options.json:
        _print_json(report.to_dict())
    else:
        print(report)
    return AGREE if report.agree else DISAGREE


def _load(path: Path) -> Any:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"{path}: not a .npy file with one array ({error}).") from error
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.number):
        raise ArgumentError(f"{path}: expected one numeric array x [T, B, ...], as numpy.save writes it.")
    return array


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2))
