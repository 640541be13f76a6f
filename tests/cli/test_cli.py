"""The command line: what it prints and the exit status it returns."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import cli, interop

X = np.random.default_rng(0).uniform(0, 3, (15, 2, 4)).astype(np.float32)


def _file(folder, name, beta=0.9):
    net = snn.Sequential([nn.Dense(6), snn.Leaky(beta, init_hidden=True)])
    variables = net.init(jax.random.key(0), X[0])
    interop.write_nir(folder / name, interop.to_nir(net, variables, X[0]))
    return str(folder / name)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return _file(tmp_path, "a.nir"), _file(tmp_path, "b.nir", 0.8), str(tmp_path / "x.npy")


def test_inspect(files, capsys):
    assert cli.main(["inspect", files[0]]) == 0
    out = capsys.readouterr().out
    assert "Leaky" in out and "beta 0.9" in out and "0 -> 1" in out
    assert cli.main(["inspect", files[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"][1]["becomes"] == "Leaky"


def test_inspect_counts_synaptic_operations(files, capsys):
    a, _, x = files
    assert cli.main(["inspect", a, "--synops", "--input", x, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["synops"]
    model, variables = interop.from_nir(a)
    assert found == snn.utils.synops(model, variables, X).to_dict()
    assert cli.main(["inspect", a, "--synops"]) == 0
    out, said = capsys.readouterr()
    assert "a sample" in out and "100 steps of random spikes" in said
    assert cli.main(["inspect", a, "--input", x]) == 2
    assert "pass --synops too" in capsys.readouterr().err


def test_compare_agrees(files, capsys):
    a, _, x = files
    assert cli.main(["compare", a, a, "--input", x]) == 0
    assert "AGREE" in capsys.readouterr().out


def test_compare_disagrees_and_draws(files, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    a, b, x = files
    assert cli.main(["compare", a, b, "--input", x, "--json", "--plot", str(tmp_path / "p.png")]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["agree"] is False and content["unexplained"] > 0
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_compare_writes_a_page_with_its_command(files, tmp_path, capsys):
    a, b, x = files
    page = tmp_path / "the page.html"
    assert cli.main(["compare", a, b, "--input", x, "--html", str(page)]) == 1
    assert f"snnax compare {a} {b} --input {x} --html &#x27;{page}&#x27;" in page.read_text()


BAD = {
    "no page": (
        ["compare", "{tmp}/a.nir", "{tmp}/a.nir", "--input", "{tmp}/x.npy", "--html", "{tmp}/p.pdf"],
        ".html",
    ),
    "no folder": (
        ["compare", "{tmp}/a.nir", "{tmp}/a.nir", "--input", "{tmp}/x.npy", "--html", "{tmp}/n/p.html"],
        "folder",
    ),
    "no file": (["inspect", "{tmp}/none.nir"], "none.nir"),
    "no nir file": (["inspect", "{tmp}/x.npy"], "x.npy"),
    "no HDF5 file": (["inspect", "{tmp}/x.npy"], "it is no HDF5 file, as nir.write"),
    "a file too many": (["inspect", "{tmp}/a.nir", "b.nir"], "arguments: b.nir; see snnax inspect --help"),
    "no seconds": (["inspect", "{tmp}/a.nir", "--dt", "1ms"], "--dt: got '1ms'; expected seconds, as 1e-4"),
    "no steps": (["run", "{tmp}/a.nir", "--chunk", "2.5"], "--chunk: got '2.5'; expected a whole number"),
    "no limit": (["inspect", "{tmp}/a.nir", "--size-limit", "1e9"], "got '1e9'; expected a whole number"),
    "a file for a folder": (
        ["demo", "--out", "{tmp}/a.nir/b"],
        "a.nir is no folder; expected the name of a folder",
    ),
    "no such place": (["convert", "{tmp}/a.nir", "/proc/x.npz", "--to", "flax"], "convert: /proc/x.npz: "),
    "a folder": (["inspect", "{tmp}"], "a folder; expected the name of a .nir file"),
    "a device": (["inspect", os.devnull], "no regular file; expected the name of a .nir file"),
    "a folder of inputs": (
        ["run", "{tmp}/a.nir", "--input", "{tmp}"],
        "a folder; expected the name of a .npy",
    ),
    "an input without name": (["run", "{tmp}/a.nir", "--input", "={tmp}/x.npy"], "NAME=X.npy"),
    "no input": (["compare", "{tmp}/a.nir", "{tmp}/a.nir", "--input", "{tmp}/none.npy"], "none.npy"),
    "no array": (["compare", "{tmp}/a.nir", "{tmp}/a.nir", "--input", "{tmp}/a.nir"], ".npy"),
    "wrong shape": (["compare", "{tmp}/a.nir", "{tmp}/a.nir", "--input", "{tmp}/y.npy"], "shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_status_2_and_one_line(files, tmp_path, capsys, case):
    np.save(tmp_path / "y.npy", X[..., :3])
    arguments, text = BAD[case]
    assert cli.main([a.format(tmp=tmp_path) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and text in captured.err and "Traceback" not in captured.err


def test_no_command_shows_the_commands(capsys):
    assert cli.main([]) == 2
    said = capsys.readouterr().err
    assert "demo" in said and "convert" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, None),
        ({"JAX_COMPILATION_CACHE_DIR": "here"}, "0"),
        (
            {"JAX_COMPILATION_CACHE_DIR": "here", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "3"},
            "3",
        ),
    ],
)
def test_small_programs_are_kept_where_the_user_keeps_programs(monkeypatch, given, wanted):
    name = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
    own = {k: v for k, v in os.environ.items() if k not in (name, "JAX_COMPILATION_CACHE_DIR")}
    monkeypatch.setattr(os, "environ", {**own, **given})
    monkeypatch.setattr(sys, "argv", ["snnax", "--version"])
    frozen = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    for arguments in (["--version"], None):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert os.environ.get(name) == (given.get(name) if arguments else wanted)
        assert len(frozen) == (arguments is None)  # only what is the command's own process


WITHOUT_JAX = {
    0: ["--help", "--version", *(f"{command} --help" for command in cli.COMMANDS)],
    2: [
        "bogus",
        *(f"{command} --bogus" for command in cli.COMMANDS),
        "inspect none.nir", "inspect folder", "inspect x.npy", "inspect a.nir --input x.npy",
        "compare a.nir none.nir --input x.npy", "compare a.nir b.nir --input none.npy",
        "compare a.nir b.nir --input x.npy --html page.pdf",
        "run none.nir --input x.npy", "run a.nir --input none.npy", "run a.nir --input folder",
        "run a.nir --input x.npy --out x.npy", "run a.nir --input x.npy --chunk 0",
        "convert none.nir net.npz --to flax", "convert a.nir net.txt --to flax",
        "convert a.nir there.npz --to flax", "convert a.nir net.pt --to brian",
        "demo --out x.npy", "inspect a.nir --dt 1ms", "check none.py", "check net.py", "check net.py:Net",
    ],
}  # fmt: skip
"""By exit status: help, and what is refused for its options, or for files that are not there or of another kind."""

ONE_AFTER_THE_OTHER = """
import contextlib, io, json, sys
from snnax import cli
found = {}
for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            status = cli.main(line.split())
        except SystemExit as end:
            status = end.code
    found[line] = [status, sorted({"flax", "jax", "torch"} & set(sys.modules))]
print(json.dumps(found))
"""


def test_what_needs_no_jax_does_not_import_it(files, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.npz").touch()
    (tmp_path / "net.py").touch()
    wanted = {line: [status, []] for status, lines in WITHOUT_JAX.items() for line in lines}
    root = str(Path(cli.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, *wanted], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert json.loads(done.stdout or "null") == wanted, done.stderr


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"snnax {snn.__version__}\n"


def test_every_preset_is_in_the_help(capsys):
    for command in ("inspect", "run", "compare", "convert"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        said = capsys.readouterr().out.replace("\n", " ")
        assert all(name in said for name in interop.PRESETS)


def test_compare_reads_both_files_by_the_preset(tmp_path, capsys):
    """Norse leaves ``v_reset`` out, which only then makes these files alike."""
    one = np.ones(2, np.float32)
    for name, reset in (("a.nir", 0.0), ("b.nir", -0.5)):
        neuron = nir.LIF(
            tau=2e-3 * one, r=20 * one, v_leak=0 * one, v_threshold=one, v_reset=np.float32(reset) * one
        )
        graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2, 4, dtype=np.float32)), neuron)
        interop.write_nir(tmp_path / name, graph)
    np.save(tmp_path / "x.npy", X)
    plain = ["compare", *(str(tmp_path / n) for n in ("a.nir", "b.nir")), "--input", str(tmp_path / "x.npy")]
    assert cli.main(plain) == 1 and "DISAGREE" in capsys.readouterr().out
    assert cli.main([*plain, "--preset", "norse", "--dt", "1e-4"]) == 0
    assert "AGREE" in capsys.readouterr().out
    assert cli.main([*plain, "--reading", "reset=subtract"]) == 0
    capsys.readouterr()
    assert cli.main([*plain, "--preset", "brian"]) == 2
    said = capsys.readouterr().err
    assert "'brian'" in said and all(repr(name) in said for name in interop.PRESETS)
