"""Traces as data: what is kept, what is refused, and comparing with a run that only a file knows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

from snnax import interop
from snnax.errors import ArgumentError, ConversionError, ShapeError, TraceFileError
from snnax.interop import NodeTrace, Trace, simulator
from snnax.interop.crossvalidation import FlaxSide
from snnax.interop.nir_data import read_nir_data, write_nir_data
from snnax.interop.recordings import from_columns

DATA = Path(__file__).parents[3] / "shared" / "data" / "nir_paper" / "01_lif"
needs_data = pytest.mark.skipif(
    not DATA.exists(), reason="the NIR paper's files are not beside this checkout"
)


def trace(dtype=np.float32, shape=(2, 3, 4), steps=5, batch=2, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*size):
        return rng.normal(size=(steps, batch, *size)).astype(dtype)

    spk = rng.integers(0, 2, (steps, batch, *shape)).astype(dtype)
    nodes = {
        "z.conv": NodeTrace("z.conv", "Leaky", draw(*shape), spk, {"mem": draw(*shape)}),
        "a/b": NodeTrace("a/b", "CubaLIF", draw(3), draw(3) > 0, {"syn": draw(3), "mem": draw(3)}),
        "0": NodeTrace("0", "neuron", draw(1), draw(1) > 0, {}),
    }
    return Trace(nodes, (draw(3), spk))


def arrays(run):
    for node in run.nodes.values():
        yield from (node.input, node.spk, *node.states.values())
    yield from run.outputs


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, jnp.bfloat16])
def test_everything_comes_back_as_it_was(tmp_path, dtype):
    run = trace(dtype)
    path = tmp_path / "run.of.mine"
    interop.save_trace(path, run)
    again = interop.load_trace(path)
    assert list(again.nodes) == ["z.conv", "a/b", "0"]
    for name, node in again.nodes.items():
        assert (node.name, node.kind) == (name, run.nodes[name].kind)
        assert list(node.states) == list(run.nodes[name].states)
    for ours, theirs in zip(arrays(run), arrays(again), strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    assert [p.name for p in tmp_path.iterdir()] == ["run.of.mine"]


def test_what_states_start_from_comes_back(tmp_path):
    run, path = trace(), tmp_path / "run.npz"
    node = run.nodes["a/b"]
    node.starts["mem"], node.rest["syn"] = node.states["mem"] * 2, 0.5
    interop.save_trace(path, run)
    again = interop.load_trace(path).nodes
    for name, start in node.before().items():
        np.testing.assert_array_equal(again["a/b"].before()[name], start)
    assert not again["z.conv"].starts and not again["z.conv"].rest


def test_a_run_that_does_not_fit_together_is_not_written(tmp_path):
    run = trace()
    run.nodes["0"] = NodeTrace("0", "neuron", np.zeros((4, 2, 1)), np.zeros((4, 2, 1)))
    with pytest.raises(ShapeError, match="steps"):
        interop.save_trace(tmp_path / "run.npz", run)
    with pytest.raises(ShapeError, match=r"\[T, B"):
        interop.save_trace(
            tmp_path / "run.npz", Trace({"a": NodeTrace("a", "b", np.zeros(3), np.zeros(3))}, ())
        )
    assert list(tmp_path.iterdir()) == []


def _header(path, **changes):
    """The file with another header."""
    with np.load(path) as file:
        content = {key: file[key] for key in file}
    header = {**json.loads(str(content["trace"])), **changes}
    np.savez(path, **{**content, "trace": np.array(json.dumps(header))})


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _claim(path, shape):
    """The file with an array that claims to be of another shape."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    name = next(n for n in content if n.startswith("0 spk"))
    old = content[name][10 : 10 + int.from_bytes(content[name][8:10], "little")]
    new = old.replace(b"(5, 2, 2, 3, 4)", shape.encode()).strip().ljust(len(old) - 1) + b"\n"
    content[name] = content[name].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for key, value in content.items():
            archive.writestr(key, value)


DAMAGE = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-200]),
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("input,voltage,spike\n1,2,3\n"),
    "one array": lambda p: p.write_bytes(_npy(np.zeros(3))),
    "other arrays": lambda p: np.savez(p, a=np.zeros(3)),
    "pickle": lambda p: np.savez(p, trace=np.array([{"a": 1}], object)),
    "no json": lambda p: np.savez(p, trace=np.array("{")),
    "other format": lambda p: _header(p, format="run"),
    "newer": lambda p: _header(p, version=3),
    "version": lambda p: _header(p, version="one"),
    "no nodes": lambda p: _header(p, nodes=None),
    "unknown state": lambda p: _header(p, nodes=[{"name": "a", "kind": "b", "states": ["mem", "syn"]}]),
    "dtype": lambda p: _header(p, dtypes={"0 spk": "float3"}),
    "outputs": lambda p: _header(p, outputs=1 << 40),
    "huge": lambda p: _claim(p, "(99999999, 99999)"),
    "negative": lambda p: _claim(p, "(-1, 3)"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_and_foreign_files_are_one_error(tmp_path, damage):
    path = tmp_path / "run.npz"
    interop.save_trace(path, trace())
    DAMAGE[damage](path)
    with pytest.raises(TraceFileError, match=r"run\.npz.*save_trace"):
        interop.load_trace(path)
    with pytest.raises(TraceFileError):
        interop.RecordedSide(path)


def test_random_bytes_are_found_or_harmless(tmp_path):
    path = tmp_path / "run.npz"
    run = trace(steps=20)
    interop.save_trace(path, run)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        broken[int(rng.integers(len(broken)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            again = interop.load_trace(path)
        except TraceFileError:
            continue
        assert all(np.array_equal(a, b) for a, b in zip(arrays(run), arrays(again), strict=True))


def _npz(path, entries, method=zipfile.ZIP_DEFLATED):
    """A file of any members."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in entries:
                archive.writestr(name, content)


def _npy(header, content=b""):
    """A member with any header."""
    text = header if isinstance(header, bytes) else repr(header).encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def _floats(shape, content=b"", kind="<f4"):
    return _npy({"descr": kind, "fortran_order": False, "shape": shape}, content)


HOSTILE = {
    "no such array there": ([("a.npy", _floats((10**9,)))], r"claims the shape"),
    "more than it says": ([("a.npy", _floats((3,), bytes(13)))], r"claims the shape"),
    "negative": ([("a.npy", _floats((-3,), bytes(12)))], r"claims the shape"),
    "objects": (
        [
            (
                "a.npy",
                _npy({"descr": "|O", "fortran_order": False, "shape": ()}, b"cos\nsystem\n(S'true'\ntR."),
            )
        ],
        "it holds object",
    ),
    "structures": ([("a.npy", _floats((1,), bytes(8), [("a", "<f4"), ("b", "<i4")]))], r"it holds \["),
    "header that is no text": ([("a.npy", _npy(b"\xff" * 40))], r"header is damaged"),
    "header that does not end": ([("a.npy", _npy(b"{'descr': (((("))], r"header is damaged"),
    "header of many brackets": ([("a.npy", _npy(b"(" * 9000))], r"header is damaged"),
    "huge header": ([("a.npy", _npy(b"(" * 60000))], r"header is damaged"),
    "no array": ([("a.npy", b"text")], r"magic"),
    "the same twice": ([("a.npy", _floats((1,), bytes(4)))] * 2, r"an array twice"),
    "header of a trace is a list": ([("trace.npy", b"\x93NUMPY")], r"EOF"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused(case, tmp_path):
    entries, words = HOSTILE[case]
    _npz(tmp_path / "run.npz", entries)
    with pytest.raises(TraceFileError, match=rf"run\.npz.*{words}"):
        interop.load_trace(tmp_path / "run.npz")


def test_zeros_that_unpack_to_more_than_allowed(tmp_path):
    run = trace()
    node = next(iter(run.nodes.values()))
    path = tmp_path / "run.npz"
    zeros = np.zeros((5, 2, 10**6), np.float32)
    interop.save_trace(path, interop.Trace({"a": interop.NodeTrace("a", node.kind, zeros, zeros, {})}, ()))
    assert path.stat().st_size < 10**6
    with pytest.raises(TraceFileError, match="max_bytes"):
        interop.load_trace(path, max_bytes=10**6)
    _npz(path, [("a.npy", _floats((10**6,), bytes(4 * 10**6)))], zipfile.ZIP_BZIP2)
    with pytest.raises(TraceFileError, match="another method"):
        interop.load_trace(path)


@pytest.mark.parametrize("change", [
    {"dtypes": {"0 input": "O"}}, {"dtypes": {"0 input": "f4,f4"}}, {"dtypes": {"0 input": "V4"}}, {"outputs": 10**18},
    {"outputs": "all"}, {"nodes": [{"name": "a", "kind": "b", "states": []}] * 2}, {"nodes": 3}, {"version": None},
    {"dtypes": None}, {"format": "other"},
])  # fmt: skip
def test_a_damaged_header_is_refused(change, tmp_path):
    path = tmp_path / "run.npz"
    interop.save_trace(path, trace())
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays.pop("trace")))
    dtypes = header["dtypes"]
    header.update(change)
    if change.get("dtypes"):
        header["dtypes"] = {**dtypes, **change["dtypes"]}
    np.savez(path, trace=np.array(json.dumps(header)), **arrays)
    with pytest.raises(TraceFileError, match=r"run\.npz"):
        interop.load_trace(path)


@pytest.mark.parametrize("write", ["trace", "data"])
def test_damaged_bytes_are_refused_or_without_effect(write, tmp_path):
    from helpers import mutants

    run, path = trace(), tmp_path / "run"
    run.nodes.pop("a/b", None)
    if write == "trace":
        interop.save_trace(path, run)
    else:
        write_nir_data(path, run, 1e-4)
    whole, refused = path.read_bytes(), 0
    read = interop.load_trace if write == "trace" else read_nir_data
    for number in range(250):
        rng = np.random.default_rng(number)
        how = mutants.BYTES[rng.integers(len(mutants.BYTES))]
        path.write_bytes(how(bytearray(whole), rng))
        try:
            read(path)
        except TraceFileError:
            refused += 1
    assert refused > 20


def test_no_file(tmp_path):
    for read in (interop.load_trace, interop.RecordedSide, read_nir_data):
        with pytest.raises(FileNotFoundError, match=r"none\.npz"):
            read(tmp_path / "none.npz")


# --- NIR's own format -----------------------------------------------------------------------------


def test_nir_data_round_trip(tmp_path):
    run = trace(shape=(2, 3, 4))
    del run.nodes["a/b"]
    write_nir_data(tmp_path / "run.h5", run, dt=1e-4)
    again, dt = read_nir_data(tmp_path / "run.h5")
    assert dt == 1e-4 and list(again.nodes) == ["0", "z.conv"]
    node, expected = again.nodes["z.conv"], run.nodes["z.conv"]
    for ours, theirs in (
        (node.input, expected.input),
        (node.spk, expected.spk),
        (node.states["mem"], expected.states["mem"]),
    ):
        assert ours.dtype == np.float32 and np.array_equal(ours, theirs.reshape(5, 2, 24))
    stored = nir.read_data(str(tmp_path / "run.h5")).nodes["z.conv"].observables
    assert stored["spikes"].data.dtype == bool and stored["voltages"].shape == (2, 5, 24)


def test_nir_data_that_cannot_be_read(tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(ConversionError, match="a/b"):
        write_nir_data(path, trace(), dt=1e-4)
    interop.save_trace(path, trace())
    with pytest.raises(TraceFileError):
        read_nir_data(path)
    events = nir.EventData(np.zeros((1, 2), int), np.zeros((1, 2)), 3, 1e-3)
    nir.write_data(path, nir.NIRGraphData({"a": nir.NIRNodeData({"spikes": events})}))
    with pytest.raises(TraceFileError, match="events"):
        read_nir_data(path)
    grid = nir.TimeGriddedData(np.zeros((1, 4, 2)), 1e-4)
    nir.write_data(path, nir.NIRGraphData({"a": nir.NIRNodeData({"voltages": grid})}))
    with pytest.raises(TraceFileError, match="spk"):
        read_nir_data(path)


# --- as a side ------------------------------------------------------------------------------------


def network(weight=1.0):
    one = np.ones(4, np.float32)
    matrix = np.random.default_rng(0).uniform(-0.5, 1, (4, 3)).astype(np.float32) * np.float32(weight)
    neuron = nir.LIF(tau=one * 1e-3, r=one * 10, v_leak=one * 0, v_threshold=one)
    return nir.NIRGraph.from_list(nir.Affine(matrix, 0.1 * one), neuron)


X = np.random.default_rng(1).uniform(0, 1, (60, 2, 3)).astype(np.float32)


def test_a_recording_stands_for_what_made_it(tmp_path):
    run = simulator.simulate(network(), X)
    interop.save_trace(tmp_path / "run.npz", run)
    model = interop.from_nir(network())
    for recording in (run, tmp_path / "run.npz", str(tmp_path / "run.npz")):
        report = interop.crossvalidate(recording, model, X)
        assert report.agree and report.labels == ("recording", "snnax") and report.layers[0].spikes > 20
    side = interop.RecordedSide(run, "chip", graph=network())
    report = interop.crossvalidate(side, network(), X)
    assert report.agree and report.labels == ("chip", "reference") and not report.notes
    wrong = interop.crossvalidate(side, interop.from_nir(network(1.05)), X)
    assert not wrong.agree and wrong.layers[0].causes


def test_a_recording_cannot_be_side_b_nor_run_on_other_input():
    run = simulator.simulate(network(), X)
    with pytest.raises(ArgumentError, match=r"crossvalidate\(recording, other, x\)"):
        interop.crossvalidate(network(), run, X)
    with pytest.raises(ShapeError, match="60 steps"):
        interop.crossvalidate(run, network(), X[:10])
    with pytest.raises(ArgumentError, match="no layer"):
        interop.RecordedSide(Trace({}, ()))


def test_columns():
    run = from_columns(
        {"input": [1.0, 0.0], "spk": [0, 1], "mem": [[0.5], [0.0]]}, name="lif", dtype=np.float64
    )
    node = run.nodes["lif"]
    assert node.input.shape == node.spk.shape == node.states["mem"].shape == (2, 1, 1)
    assert node.input.dtype == np.float64
    with pytest.raises(ArgumentError, match="spk"):
        from_columns({"input": [1.0]})
    with pytest.raises(ShapeError, match="steps"):
        from_columns({"input": [1.0], "spk": [0, 1]})


@needs_data
@pytest.mark.parametrize(
    ("file", "unit"), [("norse", 1.0), ("snntorch", 0.04), ("sinabs", 1.0), ("spyx", 1.0)]
)
def test_recorded_simulators_against_the_file_they_ran(file, unit):
    """Other frameworks' runs of the NIR paper's neuron, without any of the frameworks."""
    rows = np.genfromtxt(DATA / f"lif_{file}.csv", delimiter=",")[-1000:]
    x = (rows[:, :1] != 0).astype(np.float32)
    run = from_columns({"input": x, "spk": rows[:, 2], "mem": rows[:, 1] * unit}, name="1")
    side = interop.RecordedSide(run, file)
    report = interop.crossvalidate(side, DATA / "lif_norse.nir", x[:, None], reading=file)
    assert report.agree and report.layers[0].spikes == 4
    if file != "snntorch":
        other = "spyx" if file == "norse" else "norse"
        assert not interop.crossvalidate(side, DATA / "lif_norse.nir", x[:, None], reading=other).agree


def scaled(tau_syn=None):
    """A neuron that takes NIR's current, which snnTorch's has scaled: by 0.7 and more."""
    one = np.ones(4, np.float32)
    given = {"r": 7 * one, "v_leak": 0 * one, "v_threshold": one, "v_reset": 0 * one}
    matrix = np.random.default_rng(0).uniform(-0.5, 1, (4, 3)).astype(np.float32)
    if tau_syn is None:
        node = nir.LIF(tau=1e-3 * one, **given)
    else:
        node = nir.CubaLIF(tau_syn=tau_syn * one, tau_mem=1e-3 * one, w_in=3 * one, **given)
    return nir.NIRGraph.from_list(nir.Affine(matrix, 0.1 * one), node)


@pytest.mark.parametrize("tau_syn", [None, 5e-4])
def test_a_recording_is_compared_in_the_units_of_the_model(tau_syn):
    """In NIR's units or in those of snnTorch's neuron, with a graph of its own or without."""
    graph, name = scaled(tau_syn), "lif" if tau_syn is None else "cubalif"
    natural, model = simulator.simulate(graph, X), interop.from_nir(graph)
    own = interop.crossvalidate(model, model, X)
    assert own.agree and own.layers[0].spikes > 20
    for run in (natural, FlaxSide(*model).run(X)):
        for side in (interop.RecordedSide(run), interop.RecordedSide(run, graph=graph)):
            assert [interop.crossvalidate(side, b, X).agree for b in (model, graph)] == [True, True]
    wrong = dict(model[1], buffers=jax.tree.map(lambda v: v * 1.01, model[1]["buffers"]))
    report = interop.crossvalidate(natural, (model[0], wrong), X)
    assert not report.agree and report.layers[0].name == name


def test_no_framework_is_needed(tmp_path):
    interop.save_trace(tmp_path / "run.npz", simulator.simulate(network(), X))
    interop.write_nir(tmp_path / "net.nir", network())
    np.save(tmp_path / "x.npy", X)
    code = (
        "import sys\n"
        "for name in ('torch', 'snntorch', 'norse', 'nirtorch'): sys.modules[name] = None\n"
        "import numpy as np\n"
        "from snnax import interop\n"
        "assert interop.crossvalidate('run.npz', 'net.nir', np.load('x.npy')).agree\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
