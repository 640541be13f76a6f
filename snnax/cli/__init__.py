"""The command line: ``snnax`` and ``python -m snnax``.

Exit status: 0 the sides agree or the work is done, 1 they disagree or the network does not port, 2 bad input.
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import snnax
from snnax.cli.files import check_folder, check_network, check_page, check_picture, load, save_figure
from snnax.cli.readings import choices, noted, sized
from snnax.cli.speaking import failed, say, say_json
from snnax.errors import ArgumentError, SnnaxError

AGREE, DISAGREE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
COMMANDS = ("demo", "check", "inspect", "compare", "run", "convert")
Number = TypeVar("Number", int, float)
TARGETS = ("flax", "snntorch", "norse", "flax-source")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Whatever goes wrong is one line on the error stream, and with ``--json`` also one object on the output.
    """
    if arguments is not None:
        return _status(list(arguments))
    _keep_programs()
    try:
        return _status(sys.argv[1:])
    finally:
        # Python looks for cycles once more when it ends: a fifth of the time of `inspect`, most of it in JAX's objects.
        gc.freeze()


def _status(given: list[str]) -> int:
    as_json = any(len(a) > 2 and "--json".startswith(a) for a in given)
    who = " ".join(["snnax", *(a for a in given[:1] if a in COMMANDS)])
    try:
        options, unknown = _parser().parse_known_args(given, argparse.Namespace(given=given))
        if unknown:
            raise ArgumentError(f"unrecognized arguments: {' '.join(unknown)}; see {who} --help")
        with noted(options.command), sized(options):
            status = int(options.run(options))
    except (SnnaxError, OSError) as error:
        failed(who, error, as_json=as_json)
        return BAD_INPUT
    except KeyboardInterrupt as error:
        failed(who, error, as_json=as_json)
        return INTERRUPTED
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        failed(who, error, as_json=as_json, unexpected=True)
        return BAD_INPUT
    return status


def _keep_programs() -> None:
    """Where the user has named a folder for compiled programs, let JAX keep all of them there.

    JAX keeps programs that took a second to compile, and those of a small network take less. It reads both variables
    when it is imported, which is later; and this process is the command's own.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


class _Parser(argparse.ArgumentParser):
    """What cannot be understood is an error like any other, and so is help that cannot be printed."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        """argparse's own takes a full output for one that took it."""
        say(self.format_help().rstrip("\n"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="snnax",
        description="Spiking networks in JAX, and the proof that a port computes the same spikes.",
    )
    parser.add_argument("--version", action="version", version=f"snnax {snnax.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{" + ",".join(COMMANDS) + "}")

    demo = commands.add_parser(
        "demo", help="port a trained snnTorch network, prove it, train on, port it back"
    )
    demo.add_argument(
        "--out", type=Path, default=Path(), help="folder for demo.nir, demo.png and demo.html (default: here)"
    )
    demo.add_argument("--json", action="store_true", help="print the results as JSON")
    demo.set_defaults(run=_demo)

    inspect = commands.add_parser("inspect", help="show what is in a .nir file and how snnax reads it")
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--plot", type=Path, help="write the picture of the graph here, .svg, .png or .pdf")
    inspect.add_argument("--synops", action="store_true", help="count the synaptic operations on an input")
    inspect.add_argument(
        "--input", action="append", metavar="X.npy",
        help="that input, .npy file with x [T, B, ...], channels first; for several inputs NAME=X.npy each "
        "(default: random spikes)",
    )  # fmt: skip
    _add_reading(inspect)
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
    compare.add_argument("--html", type=Path, help="write the proof as one page here, .html")
    _add_reading(compare)
    compare.add_argument("--json", action="store_true")
    compare.set_defaults(run=_compare)
    _add_check(commands)
    _add_run(commands)
    _add_convert(commands)
    return parser


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check", help="say whether a torch network ports, and all that stands in the way"
    )
    check.add_argument(
        "network", metavar="FILE.py:NAME", help="class, function or network; arguments as 'Net(784)'"
    )
    for option, metavar, text in (
        ("sample", "SHAPE", "sizes of what forward takes, as 25,4,784; once for each argument"),
        ("input", "X.npy", ".npy file with what forward takes; once for each argument"),
    ):
        check.add_argument(
            f"--{option}", metavar=metavar, action="append", dest="samples", help=text,
            type=partial(_of_kind, option),
        )  # fmt: skip
    check.add_argument("--train", action="store_true", help="leave it in training mode (default: net.eval())")
    check.add_argument("--json", action="store_true")
    check.set_defaults(run=_check)


def _of_kind(kind: str, text: str) -> tuple[str, str]:
    return kind, text


def _seconds(text: str) -> float:
    return _number(float, text, "seconds, as 1e-4")


def _whole(text: str) -> int:
    return _number(int, text, "a whole number, as 1000")


def _number(kind: Callable[[str], Number], text: str, expected: str) -> Number:
    """The number in an option.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected {expected}") from None


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run a .nir file on an input; spikes and membranes to a file")
    run.add_argument("file", type=Path)
    run.add_argument(
        "--input", action="append", required=True, metavar="X.npy",
        help=".npy file with x [T, B, ...], channels first; for several inputs NAME=X.npy each",
    )  # fmt: skip
    run.add_argument("--out", type=Path, help="write outputs, spikes and membranes here, .npz")
    run.add_argument("--trace", type=Path, help="record the run here, .npz, for interop.load_trace")
    run.add_argument("--plot", type=Path, help="write the picture of the first sample's spikes here")
    run.add_argument(
        "--chunk",
        type=_whole,
        metavar="STEPS",
        help="steps at a time (default: what fits in 256 MiB, at most 1000)",
    )
    _add_reading(run)
    run.add_argument("--force", action="store_true", help="replace files that are there")
    run.add_argument("--json", action="store_true")
    run.set_defaults(run=_run)


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser("convert", help="write a .nir file as weights or source of a framework")
    convert.add_argument("file", type=Path)
    convert.add_argument("out", type=Path, help="file to write")
    convert.add_argument("--to", choices=TARGETS, required=True)
    _add_reading(convert)
    convert.add_argument("--force", action="store_true", help="replace OUT if it is there")
    convert.add_argument("--json", action="store_true")
    convert.set_defaults(run=_convert)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dt",
        type=_seconds,
        metavar="SECONDS",
        help="time step in seconds (default: each file's, else 1e-4)",
    )
    parser.add_argument(
        "--preset", metavar="NAME",
        help="read files as this framework does: norse, norse_export (files that Norse 1.1.0 wrote), snntorch, spyx, "
        "nengo, sinabs, rockpool, spinnaker2 or lava",
    )  # fmt: skip
    parser.add_argument(
        "--reading", action="append", default=[], metavar="CHOICE=VALUE",
        help="one choice of what NIR leaves open, as reset=subtract; goes before the preset",
    )  # fmt: skip
    parser.add_argument(
        "--size-limit", type=_whole, metavar="N",
        help="numbers that one layer may make of, or keep for, one sample (default: 2**26 = 67108864)",
    )  # fmt: skip


def _demo(options: argparse.Namespace) -> int:
    check_folder(options.out)
    from snnax.demo import run

    results = run(options.out, partial(say, to_errors=options.json))
    if options.json:
        say_json(results)
    return AGREE if results["agree"] else DISAGREE


def _check(options: argparse.Namespace) -> int:
    from snnax.cli.check import check

    found = check(options)
    if options.json:
        say_json(found.to_dict())
    else:
        say(str(found))
    return AGREE if found.ok else DISAGREE


def _inspect(options: argparse.Namespace) -> int:
    if options.input and not options.synops:
        raise ArgumentError("--input is what --synops counts on; pass --synops too")
    check_network(options.file)
    check_picture(options.plot)
    from snnax.interop.nir.inspecting import describe, table

    content = describe(options.file, **choices(options))
    if options.plot is not None:
        from snnax import spikeplot

        save_figure(options.plot, lambda: spikeplot.network_graph(content).figure)
    lines = [table(content)]
    if options.synops:
        from snnax.cli.synops import count

        found = count(options, content["input"])
        content["synops"], lines = found.to_dict(), [*lines, "", str(found)]
    if options.json:
        say_json(content)
    else:
        say("\n".join(lines))
    return AGREE


def _compare(options: argparse.Namespace) -> int:
    check_page(options.html)
    check_network(options.a, options.b)
    x = load(options.input)
    check_picture(options.plot)
    from snnax import interop
    from snnax.interop.nir.readings import reading

    report = interop.crossvalidate(options.a, options.b, x, reading=reading(**choices(options)))
    if options.plot is not None:
        save_figure(options.plot, report.plot)
    if options.html is not None:
        report.to_html(options.html, command=shlex.join(["snnax", *options.given]))
    if options.json:
        say_json(report.to_dict())
    else:
        say(str(report))
    return AGREE if report.agree else DISAGREE


def _run(options: argparse.Namespace) -> int:
    from snnax.cli import run

    content = run.run(options)
    if options.json:
        say_json(content)
    else:
        say(run.table(content))
    return AGREE


def _convert(options: argparse.Namespace) -> int:
    from snnax.cli import convert

    content = convert.convert(options)
    if options.json:
        say_json(content)
    else:
        say(convert.text(content))
    return AGREE
