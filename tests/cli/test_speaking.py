"""Whatever goes wrong in the command line is exit status 2 and one line; with ``--json`` also one object."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnax as snn
from snnax import cli, interop
from snnax.shown import printable, shown

ONE = np.ones(2, np.float32)
NASTY = {
    "escape": "a\x1b[2Jb",
    "title": "\x1b]0;x\x07",
    "lines": "a\nAGREE\rb",
    "right to left": "a\u202eb",
    "no width": "a\u200bb",
    "C1": "a\x9b2Jb",
    "delete": "a\x7fb",
}


def network(name="lif"):
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        name: nir.LIF(tau=2e-4 * ONE, r=ONE, v_leak=0 * ONE, v_threshold=ONE / 2),
        "output": nir.Output({"output": np.array([2])}),
    }
    return nir.NIRGraph(nodes, [("input", name), (name, "output")], type_check=False)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    interop.write_nir(folder / "a.nir", network())
    np.save(folder / "x.npy", np.ones((4, 1, 2), np.float32))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    np.save(folder / "wide.npy", np.ones((4, 1, 3), np.float32))
    np.save(folder / "complex.npy", np.ones((4, 1, 2), np.complex64))
    np.save(folder / "large.npy", np.full((4, 1, 2), 2**62 + 1))
    return folder


def call(capsys, *arguments):
    code = cli.main(list(map(str, arguments)))
    said = capsys.readouterr()
    return code, said.out, said.err


A, X = "{s}/a.nir", "{s}/x.npy"
BAD = {
    "no command": [],
    "no such command": ["frobnicate"],
    "no file": ["run"],
    "no input": ["run", A],
    "an option nobody knows": ["run", A, "--input", X, "--nope"],
    "no number": ["run", A, "--input", X, "--chunk", "many"],
    "too many files": ["inspect", A, A],
    "no target": ["convert", A, "{t}/a.npz"],
    "another target": ["convert", A, "{t}/a.npz", "--to", "tensorflow"],
    "an option twice as long": ["inspect", A, "--" + "x" * 300],
    "lines in an option": ["inspect", A, "--a\nb\x1b[2J"],
    "another shape": ["run", A, "--input", "{s}/wide.npy"],
    "complex": ["run", A, "--input", "{s}/complex.npy"],
    "beyond every float": ["run", A, "--input", "{s}/large.npy"],
    "no such file": ["inspect", "{t}/no\x1b[31m.nir"],
    "half a character": ["inspect", "{t}/no\udcff.nir"],
    "a nul": ["inspect", "{t}/no\x00.nir"],
    "a long name": ["inspect", "{t}/" + "n" * 5000],
    "a folder": ["inspect", "{t}"],
    "a pipe": ["inspect", "{s}/pipe"],
    "a pipe for input": ["run", A, "--input", "{s}/pipe"],
    "dt of nothing": ["inspect", A, "--dt", "nan"],
    "dt for ever": ["inspect", A, "--dt", "inf"],
    "late for ever": ["run", A, "--input", X, "--reading", "input_delay=1000000000"],
    "a size of nothing": ["run", A, "--input", X, "--size-limit", "0"],
    "too small a size": ["run", A, "--input", X, "--size-limit", "1"],
    "not JSON": ["run", A, "--input", X, "--reading", "reset={"],
    "nested": ["run", A, "--input", X, "--reading", "reset=" + "[" * 5000],
    "a list": ["run", A, "--input", X, "--reading", 'reset=["nir"]'],
    "an argument as a reading": ["run", A, "--input", X, "--reading", "graph=1"],
    "another argument as a reading": ["inspect", A, "--reading", "path=1"],
    "many names": ["run", A, "--input", X, "--reading", "ignore=" + ",".join("x" * 50_000)],
    "dt beyond float32": ["run", A, "--input", X, "--dt", "1e308"],
    "one file by two names": ["run", A, "--input", X, "--out", "{t}/a.npz", "--trace", "{t}/../{n}/a.npz"],
    "one input twice": ["run", A, "--input", "input=" + X, "--input", "input=" + X],
    "a word of Python's": ["convert", A, "{t}/class.py", "--to", "flax-source"],
    "an object": ["run", A, "--input", X, "--reading", 'threshold={"a": 1}'],
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_whatever_is_wrong_is_status_2_and_one_line(shelf, tmp_path, capsys, case, as_json):
    arguments = [
        a.format(s=shelf, t=tmp_path, n=tmp_path.name) if "{s}" in a or "{t}" in a else a for a in BAD[case]
    ]
    code, out, err = call(capsys, *arguments, *(["--json"] if as_json else []))
    assert code == 2
    assert err.startswith("snnax") and err.endswith("\n") and err[:-1].isprintable()
    assert "Traceback" not in err and "unexpected" not in err and "Warning" not in err
    assert len(err) < 6000 and not os.listdir(tmp_path)
    if not as_json:
        assert out == ""
        return
    found = json.loads(out)["error"]
    assert set(found) == {"command", "type", "message"}
    assert shown(found["message"]) in err


def test_the_limit_of_sizes_can_be_raised(shelf, tmp_path, capsys):
    """In every command that reads a file; what is refused names the option that allows it."""
    late = ("--reading", "input_delay=30000")
    interop.write_nir(tmp_path / "a.nir", network())
    for command in (
        ["inspect"],
        ["run", "--input", shelf / "x.npy"],
        ["convert", tmp_path / "a.npz", "--to", "flax"],
    ):
        first, *more = command
        given = (first, tmp_path / "a.nir", *more, *late)
        code, _, err = call(capsys, *given, "--size-limit", 59_999)
        assert code == 2 and "--size-limit 60000" in err
        assert call(capsys, *given, "--size-limit", 60_000)[0] == 0
    given = ("compare", tmp_path / "a.nir", tmp_path / "a.nir", "--input", shelf / "x.npy")
    assert call(capsys, *given, "--size-limit", 60_000)[0] == 0


def test_what_nobody_thought_of_is_a_line_too(shelf, capsys, monkeypatch):
    def wrong(*_, **__):
        raise ZeroDivisionError("of what\nexactly?")

    monkeypatch.setattr(interop, "from_nir", wrong)
    code, out, err = call(capsys, "run", shelf / "a.nir", "--input", shelf / "x.npy", "--json")
    assert (
        code == 2
        and err.count("\n") == 1
        and "ZeroDivisionError: of what exactly?" in err
        and "-X dev" in err
    )
    assert json.loads(out)["error"]["type"] == "ZeroDivisionError"


def test_an_interrupt_is_an_object_too(shelf, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(interop, "from_nir", stop)
    code, out, err = call(capsys, "run", shelf / "a.nir", "--input", shelf / "x.npy", "--json")
    assert (code, err) == (130, "snnax run: interrupted\n")
    assert json.loads(out)["error"]["message"] == "interrupted"


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", NASTY)
def test_names_of_files_and_nodes_do_not_command_the_terminal(tmp_path, capsys, case):
    """Through every command, as a table and as JSON, in results, repairs and errors."""
    name = NASTY[case]
    nasty, plain, x = tmp_path / f"{name}.nir".replace("/", ""), tmp_path / "b.nir", tmp_path / f"{name}.npy"
    interop.write_nir(nasty, network(name))
    slow = network(name)
    slow.nodes[name].v_threshold = 2 * ONE
    interop.write_nir(plain, slow)
    np.save(x, np.ones((6, 1, 2), np.float32))
    commands = [
        ["inspect", nasty],
        ["run", nasty, "--input", x, "--out", tmp_path / f"{name}.npz"],
        ["compare", nasty, plain, "--input", x],
        ["convert", nasty, tmp_path / f"w{name}.npz", "--to", "flax"],
        ["run", nasty, "--input", tmp_path / f"{name}.none"],
    ]
    for command in commands:
        for more in ([], ["--json"]):
            code, out, err = call(
                capsys, *command, *more, *(["--force"] if command[0] in ("run", "convert") else [])
            )
            assert code in (0, 1, 2) and (code == 0 or command[0] == "compare" or ".none" in str(command[-1]))
            for text in (out, err):
                assert all(line.isprintable() for line in text.split("\n"))
                assert not any(
                    line.startswith("AGREE") for line in text.split("\n") if case == "lines" and code
                )
            if more:
                assert json.loads(out)
            elif command[0] in ("inspect", "compare"):
                assert shown(name) in out


@given(st.text(st.characters(), max_size=20))
def test_shown_text_is_one_line_that_can_be_read_back(text):
    line = shown(text)
    assert line.isprintable()
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in line)
    assert text != line or text.isprintable()
    for encoding in ("ascii", "utf-8", "latin-1", "cp1252"):
        printable(text, encoding).encode(encoding)


# --- streams --------------------------------------------------------------------------------------


class _Full(io.StringIO):
    encoding = "utf-8"

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_a_full_output_is_an_error_too(shelf, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", _Full())
    assert cli.main(["inspect", str(shelf / "a.nir")]) == 2
    monkeypatch.undo()
    assert capsys.readouterr().err == "snnax inspect: the output cannot be written: No space left on device\n"
    monkeypatch.setattr(sys, "stdout", _Full())
    assert cli.main(["run", "--help"]) == 2
    monkeypatch.undo()
    assert capsys.readouterr().err == "snnax run: the output cannot be written: No space left on device\n"


def test_without_streams_nothing_is_printed(shelf, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["inspect", str(shelf / "a.nir")]) == 0
    assert cli.main(["inspect", str(shelf / "none.nir")]) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_process_whose_output_is_full_or_gone(shelf):
    """Python itself would print more, and end with status 120."""
    command = [sys.executable, "-m", "snnax", "inspect", str(shelf / "a.nir")]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space" in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=300)
    os.close(writer)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Broken pipe" in done.stderr


def test_an_output_in_ascii(tmp_path):
    """As with LC_ALL=C and a name in another alphabet."""
    net = snn.Sequential([nn.Dense(2), snn.Leaky(0.9, init_hidden=True)])
    graph = interop.to_nir(net, net.init(jax.random.key(0), np.ones((1, 2))), np.ones((1, 2)))
    interop.write_nir(tmp_path / "größe.nir", graph)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    command = [sys.executable, "-m", "snnax", "inspect", str(tmp_path / "größe.nir")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0 and "gr\\xf6\\xdfe.nir" in done.stdout
