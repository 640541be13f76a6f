"""``snnax run`` and ``snnax convert``: what they print, what they write, and what they refuse without a trace."""

from __future__ import annotations

import io
import json
import re
import runpy
import sys
import textwrap
import warnings
from pathlib import Path

import jax
import nir
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

import snnax as snn
from snnax import cli, interop

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 2, (25, 2, 3)).astype(np.float32)
STRANGE = RNG.integers(0, 2, (25, 2, 3))


def lif(size, **changes):
    values = {"tau": 2e-3, "r": 20.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changes
    return nir.LIF(**{k: np.full(size, v, np.float32) for k, v in values.items()})


def array(*shape):
    return RNG.uniform(-0.5, 1, shape).astype(np.float32)


def network(**changes):
    return nir.NIRGraph.from_list(
        nir.Affine(array(4, 3), array(4)), lif(4, **changes), nir.Linear(array(2, 4)), lif(2)
    )


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Files that tests only read."""
    folder = tmp_path_factory.mktemp("shelf")
    interop.write_nir(folder / "net.nir", network())
    (folder / "cut.nir").write_bytes((folder / "net.nir").read_bytes()[:2000])
    inputs = {n: nir.Input({"input": np.array([size])}) for n, size in (("a", 1), ("b", 2))}
    weights = {"wa": nir.Linear(array(4, 1)), "wb": nir.Linear(array(4, 2)), "lif": lif(4)}
    output = {"output": nir.Output({"output": np.array([4])})}
    edges = [("a", "wa"), ("b", "wb"), ("wa", "lif"), ("wb", "lif"), ("lif", "output")]
    two = nir.NIRGraph({**inputs, **weights, **output}, edges, type_check=False)
    interop.write_nir(folder / "two.nir", two)
    loop = {
        "fc": nir.Linear(array(4, 3)),
        "lif": lif(4),
        "w": nir.Linear(array(4, 4)),
        "s": nir.Linear(array(4, 4)),
    }
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "w"), ("w", "s"), ("s", "lif"), ("lif", "output")]
    ends = {"input": nir.Input({"input": np.array([3])}), **output}
    interop.write_nir(folder / "loop.nir", nir.NIRGraph({**ends, **loop}, edges, type_check=False))
    np.save(folder / "x.npy", X)
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:300])
    np.save(folder / "narrow.npy", X[..., :2])
    np.save(folder / "flat.npy", X[:, 0, 0])
    np.save(folder / "empty.npy", X[:0])
    np.save(folder / "nan.npy", np.full_like(X, np.nan))
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "a.npy", X[..., :1])
    np.save(folder / "b.npy", X[..., 1:])
    np.savez(folder / "many.npz", x=X, y=X)
    return folder


def call(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def expected(path, x, **reading):
    model, variables = interop.from_nir(path, **reading)
    y, _, recorded = snn.unroll(model, variables, x, record=True)
    return np.asarray(y), recorded


def test_run_is_from_nir_and_unroll(shelf, tmp_path, capsys):
    out = tmp_path / "run.npz"
    code, said, err = call(capsys, "run", shelf / "net.nir", "--input", shelf / "x.npy", "--out", out)
    assert code == 0 and err == ""
    y, recorded = expected(shelf / "net.nir", X)
    with np.load(out) as file:
        kept = dict(file)
    np.testing.assert_array_equal(kept["output"], y)
    assert sorted(kept) == ["lif/mem", "lif/spk", "lif_1/mem", "lif_1/spk", "output"]
    for layer, values in recorded.items():
        np.testing.assert_array_equal(kept[f"{layer}/spk"], values["spk"])
        np.testing.assert_array_equal(kept[f"{layer}/mem"], values["mem"])
    spikes = int(np.sum(recorded["lif"]["spk"]))
    row = next(line for line in said.splitlines() if line.startswith("lif "))
    assert "25 steps, 2 samples" in said and str(spikes) in row.split() and str(out) in said
    assert {path.name for path in tmp_path.iterdir()} == {"run.npz"}


@pytest.mark.parametrize("chunk", [1, 7, 25, 1000])
def test_a_run_in_pieces_is_the_same_run(shelf, tmp_path, capsys, chunk):
    out = tmp_path / "run.npz"
    run = ("run", shelf / "net.nir", "--input", shelf / "x.npy", "--out", out, "--json", "--chunk", chunk)
    code, said, _ = call(capsys, *run)
    assert code == 0
    y, recorded = expected(shelf / "net.nir", X)
    with np.load(out) as file:
        np.testing.assert_array_equal(file["output"], y)
        # one step at a time XLA multiplies by another routine, which rounds differently
        np.testing.assert_allclose(file["lif/mem"], recorded["lif"]["mem"], rtol=5e-7 if chunk == 1 else 0)
    layer = json.loads(said)["layers"][0]
    fired = np.asarray(recorded["lif"]["spk"]).any(axis=(1, 2))
    assert layer["first_spike"] == int(np.flatnonzero(fired)[0])
    assert layer["spikes"] == int(np.sum(recorded["lif"]["spk"]))
    assert layer["rate"] == pytest.approx(float(np.mean(recorded["lif"]["spk"])))
    low, high = np.min(recorded["lif"]["mem"]), np.max(recorded["lif"]["mem"])
    assert layer["membrane"] == pytest.approx([float(low), float(high)])
    assert (layer["name"], layer["kind"], layer["neurons"]) == ("lif", "Leaky", 4)


def test_long_runs_are_cut_by_themselves(shelf, monkeypatch):
    from snnax.cli import running

    model, variables = interop.from_nir(shelf / "net.nir")
    lengths = [[steps for steps, *_ in running.pieces(model, variables, X, None)]]
    monkeypatch.setattr(running, "STEPS_AT_ONCE", 10)
    lengths.append([steps for steps, *_ in running.pieces(model, variables, X, None)])
    monkeypatch.setattr(running, "BYTES_AT_ONCE", 1)
    lengths.append([steps for steps, *_ in running.pieces(model, variables, X[:3], None)])
    assert lengths == [[25], [9, 9, 7], [1, 1, 1]]


@pytest.mark.parametrize(
    ("options", "reading"),
    [
        (["--preset", "sinabs"], {"preset": "sinabs"}),
        (["--dt", "2e-4"], {"dt": 2e-4}),
        (["--reading", "reset=subtract", "--reading", "reset_delay=true"], {"reset": "subtract", "reset_delay": True}),
        (["--reading", "ignore=LIF.r,LIF.v_reset"], {"ignore": ("LIF.r", "LIF.v_reset")}),
    ],
)  # fmt: skip
def test_the_reading_is_passed_on(shelf, tmp_path, capsys, options, reading):
    out = tmp_path / "run.npz"
    code, *_ = call(capsys, "run", shelf / "net.nir", "--input", shelf / "x.npy", "--out", out, *options)
    y, _ = expected(shelf / "net.nir", X, **reading)
    with np.load(out) as file:
        np.testing.assert_array_equal(file["output"], y)
    assert code == 0


def test_several_inputs(shelf, tmp_path, capsys):
    out = tmp_path / "run.npz"
    named = ["--input", f"b={shelf / 'b.npy'}", "--input", f"a={shelf / 'a.npy'}"]
    code, *_ = call(capsys, "run", shelf / "two.nir", *named, "--out", out)
    assert code == 0
    with np.load(out) as file:
        np.testing.assert_array_equal(file["output"], expected(shelf / "two.nir", X)[0])


def test_images_come_out_channels_first(tmp_path, capsys):
    conv = nir.Conv2d((4, 5), array(3, 2, 3, 3), 1, 0, 1, 1, array(3))
    fire = nir.IF(np.ones((3, 2, 3), np.float32), np.ones((3, 2, 3), np.float32))
    graph = nir.NIRGraph(
        {"input": nir.Input({"input": np.array([2, 4, 5])}), "conv": conv, "if": fire,
         "output": nir.Output({"output": np.array([3, 2, 3])})},
        [("input", "conv"), ("conv", "if"), ("if", "output")],
    )  # fmt: skip
    interop.write_nir(tmp_path / "net.nir", graph)
    np.save(tmp_path / "x.npy", RNG.integers(0, 2, (6, 2, 2, 4, 5)).astype(bool))
    out = tmp_path / "run.npz"
    code, *_ = call(capsys, "run", tmp_path / "net.nir", "--input", tmp_path / "x.npy", "--out", out)
    assert code == 0
    with np.load(out) as file:
        assert file["output"].shape == (6, 2, 3, 2, 3) and file["output"].any()
        np.testing.assert_array_equal(file["if/spk"], file["output"])


def test_a_trace_is_a_side_to_compare_with(shelf, tmp_path, capsys):
    trace = tmp_path / "trace.npz"
    run = ("run", shelf / "net.nir", "--input", shelf / "x.npy", "--trace", trace)
    assert call(capsys, *run)[0] == 0 and call(capsys, *run)[0] == 2
    loaded = interop.load_trace(trace)
    _, recorded = expected(shelf / "net.nir", X)
    assert [(node.name, node.kind) for node in loaded.nodes.values()] == [
        ("lif", "Leaky"),
        ("lif_1", "Leaky"),
    ]
    for name, node in loaded.nodes.items():
        np.testing.assert_array_equal(node.input, recorded[name]["input"])
        np.testing.assert_array_equal(node.spk, recorded[name]["spk"])
    assert interop.crossvalidate(interop.RecordedSide(trace), interop.from_nir(shelf / "net.nir"), X).agree


def test_integrators_have_membranes_and_no_spikes(tmp_path, capsys):
    li = nir.LI(*(np.full(2, v, np.float32) for v in (3e-3, 1.5, 0.0)))
    interop.write_nir(tmp_path / "net.nir", nir.NIRGraph.from_list(nir.Linear(array(2, 3)), li))
    np.save(tmp_path / "x.npy", X)
    run = ("run", tmp_path / "net.nir", "--input", tmp_path / "x.npy", "--plot", tmp_path / "p.svg", "--json")
    pytest.importorskip("matplotlib")
    code, said, _ = call(capsys, *run)
    layer = json.loads(said)["layers"][0]
    assert code == 0 and layer["spikes"] is layer["rate"] is layer["first_spike"] is None
    assert layer["neurons"] == 2 and layer["membrane"][0] < layer["membrane"][1]
    assert "<svg" in (tmp_path / "p.svg").read_text()


def test_float64_runs_in_float64_and_integers_in_float32(shelf, tmp_path, capsys):
    np.save(tmp_path / "wide.npy", X.astype(np.float64))
    np.save(tmp_path / "whole.npy", STRANGE)
    for name, dtype in (("wide", np.float64), ("whole", np.float32)):
        out = tmp_path / f"{name}.npz"
        call(capsys, "run", shelf / "net.nir", "--input", tmp_path / f"{name}.npy", "--out", out)
        with np.load(out) as file:
            assert file["lif/mem"].dtype == dtype
    assert not jax.config.jax_enable_x64


class Terminal(io.StringIO):
    """An error stream that says that it is a terminal."""

    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_only(shelf, monkeypatch, capsys):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    code = cli.main(
        ["run", str(shelf / "net.nir"), "--input", str(shelf / "x.npy"), "--json", "--chunk", "10"]
    )
    assert code == 0 and "25/25 steps" in screen.getvalue()
    json.loads(capsys.readouterr().out)


def test_repairs_are_told_in_one_line(shelf, tmp_path, capsys, monkeypatch):
    from snnax.errors import RepairWarning

    def repaired(*_, **__):
        warnings.warn(RepairWarning("the Output claims 3 neurons, it has 2"), stacklevel=2)
        return original(shelf / "net.nir")

    original = interop.from_nir
    monkeypatch.setattr(interop, "from_nir", repaired)
    code, out, err = call(capsys, "run", shelf / "net.nir", "--input", shelf / "x.npy")
    assert code == 0 and out
    assert err == "snnax run: repaired: the Output claims 3 neurons, it has 2\n"


def test_an_interrupt_is_a_line_too(shelf, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(interop, "from_nir", stop)
    assert call(capsys, "run", shelf / "net.nir", "--input", shelf / "x.npy") == (
        130,
        "",
        "snnax run: interrupted\n",
    )


# --- convert --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.npz", "net.safetensors"])
def test_convert_to_flax_keeps_the_variables(shelf, tmp_path, capsys, name):
    out = tmp_path / name
    code, said, _ = call(capsys, "convert", shelf / "net.nir", out, "--to", "flax")
    assert code == 0 and str(out) in said
    if out.suffix == ".npz":
        loaded = unflatten_dict(dict(np.load(out)), sep="/")
    else:
        loaded = unflatten_dict(pytest.importorskip("safetensors.numpy").load_file(out), sep="/")
    model, variables = interop.from_nir(shelf / "net.nir")
    mine, theirs = flatten_dict(loaded), flatten_dict(variables)
    assert mine.keys() == theirs.keys()
    for path in mine:
        np.testing.assert_array_equal(mine[path], theirs[path])
        assert mine[path].dtype == theirs[path].dtype
    y, _ = snn.unroll(model, loaded, X)
    np.testing.assert_array_equal(y, expected(shelf / "net.nir", X)[0])


def test_convert_to_snntorch_saves_what_the_network_loads(shelf, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    pytest.importorskip("snntorch")
    out = tmp_path / "net.pt"
    code, said, _ = call(capsys, "convert", shelf / "net.nir", out, "--to", "snntorch", "--json")
    assert code == 0 and "cannot be pickled" in json.loads(said)["use"]
    net = interop.to_snntorch(*interop.from_nir(shelf / "net.nir"))
    known = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for value in net.state_dict().values():
            value.zero_()
    net.load_state_dict(torch.load(out, weights_only=True))
    for name, value in net.state_dict().items():
        assert torch.equal(value, known[name])


def test_convert_to_source(shelf, tmp_path, capsys):
    out = tmp_path / "net.py"
    code, said, _ = call(capsys, "convert", shelf / "net.nir", out, "--to", "flax-source", "--json")
    assert code == 0
    assert json.loads(said)["written"] == [str(out), str(out.with_suffix(".npz"))]
    assert "from net.nir" in out.read_text()
    model, variables = runpy.run_path(str(out))["build"]()
    np.testing.assert_array_equal(snn.unroll(model, variables, X)[0], expected(shelf / "net.nir", X)[0])


def test_force_replaces(shelf, tmp_path, capsys):
    out = tmp_path / "net.py"
    for target in (out, out.with_suffix(".npz")):
        target.write_text("old")
    arguments = ("convert", shelf / "net.nir", out, "--to", "flax-source")
    assert call(capsys, *arguments)[0] == 2 and out.read_text() == "old"
    assert call(capsys, *arguments, "--force")[0] == 0 and "build" in out.read_text()


# --- bad input ------------------------------------------------------------------------------------

RUN = ["run", "{s}/net.nir", "--input", "{s}/x.npy"]
CONVERT = ["convert", "{s}/net.nir"]
BAD = {
    "no file": (["run", "{s}/none.nir", "--input", "{s}/x.npy"], "none.nir"),
    "half a file": (["run", "{s}/cut.nir", "--input", "{s}/x.npy"], "cut.nir"),
    "no nir file": (["run", "{s}/x.npy", "--input", "{s}/x.npy"], "x.npy"),
    "no input": ([*RUN[:3], "{s}/none.npy"], "none.npy"),
    "half an input": ([*RUN[:3], "{s}/cut.npy"], "cut.npy"),
    "no array": ([*RUN[:3], "{s}/net.nir"], "not a .npy file"),
    "many arrays": ([*RUN[:3], "{s}/many.npz"], "numpy.save"),
    "words": ([*RUN[:3], "{s}/words.npy"], "numpy.save"),
    "wrong shape": ([*RUN[:3], "{s}/narrow.npy"], "[T, B, 3]"),
    "one axis": ([*RUN[:3], "{s}/flat.npy"], "[T, B, ...]"),
    "no steps": ([*RUN[:3], "{s}/empty.npy"], "at least one step"),
    "not a number": ([*RUN[:3], "{s}/nan.npy"], "NaN"),
    "unnamed inputs": ([*RUN, "--input", "{s}/x.npy"], "NAME=X.npy"),
    "unknown input": (["run", "{s}/two.nir", "--input", "a={s}/a.npy", "--input", "c={s}/b.npy"], "c"),
    "zero chunk": ([*RUN, "--chunk", "0"], "--chunk 0"),
    "zero dt": ([*RUN, "--dt", "0"], "dt=0"),
    "unknown preset": ([*RUN, "--preset", "nobody"], "'norse'"),
    "no choice": ([*RUN, "--reading", "reset"], "CHOICE=VALUE"),
    "unknown choice": ([*RUN, "--reading", "rset=nir"], "rset"),
    "bad choice": ([*RUN, "--reading", "reset=maybe"], "maybe"),
    "out is there": ([*RUN, "--out", "{t}/there.npz"], "--force"),
    "out is a folder": ([*RUN, "--out", "{t}/folder.npz"], "folder"),
    "no folder": ([*RUN, "--out", "{t}/none/run.npz"], "no folder"),
    "out is no npz": ([*RUN, "--out", "{t}/run.txt"], ".npz"),
    "one file twice": ([*RUN, "--out", "{t}/run.npz", "--trace", "{t}/run.npz"], "each a file"),
    "unknown picture": ([*RUN, "--plot", "{t}/run.doc", "--out", "{t}/run.npz"], "svg"),
    "picture of nothing": (["inspect", "{s}/cut.nir", "--plot", "{t}/g.svg"], "cut.nir"),
    "convert nothing": (["convert", "{s}/none.nir", "{t}/a.npz", "--to", "flax"], "none.nir"),
    "convert half": (["convert", "{s}/cut.nir", "{t}/a.py", "--to", "flax-source"], "cut.nir"),
    "weights elsewhere": ([*CONVERT, "{t}/there.py", "--to", "flax-source"], "there.npz"),
    "wrong name": ([*CONVERT, "{t}/a.npz", "--to", "flax-source"], ".py"),
    "no module's name": ([*CONVERT, "{t}/1-a.py", "--to", "flax-source"], "import"),
    "no torch file": ([*CONVERT, "{t}/a.npz", "--to", "snntorch"], ".pt"),
    "no snnTorch form": (["convert", "{s}/loop.nir", "{t}/a.pt", "--to", "snntorch"], "no snnTorch form"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_status_2_one_line_and_no_file(shelf, tmp_path, capsys, case):
    arguments, text = BAD[case]
    if any(a in ("snntorch",) for a in arguments):
        pytest.importorskip("snntorch")
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    (tmp_path / "there.npz").write_text("old")
    (tmp_path / "folder.npz").mkdir()
    code, out, err = call(capsys, *(a.format(s=shelf, t=tmp_path) for a in arguments))
    assert code == 2 and out == ""
    assert err.startswith(f"snnax {arguments[0]}: ") and err.count("\n") == 1 and text in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.npz", "there.npz"]
    assert (tmp_path / "there.npz").read_text() == "old"


def test_convert_to_norse_saves_what_the_network_loads(shelf, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    pytest.importorskip("norse")
    code, *_ = call(capsys, "convert", shelf / "net.nir", tmp_path / "net.pt", "--to", "norse")
    assert code == 0
    net = interop.to_norse(*interop.from_nir(shelf / "net.nir"))
    known = net.state_dict()
    saved = torch.load(tmp_path / "net.pt", weights_only=True)
    assert len(saved) >= 3 and saved.keys() == known.keys()
    assert all(torch.equal(saved[name], known[name]) for name in saved)
    net.load_state_dict(saved)


# --- the page of the documentation ----------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "command_line.rst"


def blocks(kind):
    pattern = rf"\.\. code-block:: {kind}\n\n((?:   .*\n|\n)+)"
    return [textwrap.dedent(block).strip() + "\n" for block in re.findall(pattern, PAGE.read_text())]


def masked(text):
    """Without times, sizes of files and versions."""
    return re.sub(r"[\d.]+ s\n|\(\d+ bytes\)|NIR [\d.]+|snnax [\d.]+", "#", text)


def test_the_page_shows_what_the_commands_print(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (script,) = blocks("python")
    exec(compile(script, PAGE.name, "exec"), {})
    shown, (checked, module) = blocks("console"), blocks("py")
    assert len(shown) == 6
    Path("net.py").write_text(checked)
    for block in shown:
        command, _, output = block.partition("\n")
        words = command.split()
        assert words[:2] == ["$", "snnax"]
        cli.main(words[2:])
        captured = capsys.readouterr()
        said = captured.out + captured.err
        if words[2] == "compare":  # its table is another page's
            assert output.split("\n")[0] == said.split("\n")[0] and ("DISAGREE" in output) == (
                "DISAGREE" in said
            )
            continue
        if words[2] == "check":
            assert said == output
            Path("net.py").unlink()  # the name of the module that convert writes
            continue
        assert masked(said) == masked(output)
    assert masked(module) == masked(Path("net.py").read_text())
    assert {"net.svg", "run.npz", "run.png", "net.py", "net.npz"} <= {
        path.name for path in tmp_path.iterdir()
    }
