"""Damaged and hostile ``.nir`` files: one documented error that names the file or node, or the same graph as before."""

from __future__ import annotations

import json
import resource
import time
import warnings
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from helpers.valid_files import GRAPHS

from snnax import interop
from snnax.errors import ConversionError, GraphError, NIRFileError, RepairWarning, ShapeError

DOCUMENTED = (NIRFileError, GraphError, ConversionError, ShapeError)
SECONDS = 5.0
MEGABYTES = 300


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Valid files by name."""
    folder = tmp_path_factory.mktemp("valid")
    for name, make in GRAPHS.items():
        interop.write_nir(folder / f"{name}.nir", make())
    return {name: folder / f"{name}.nir" for name in GRAPHS}


def _content(graph, prefix=""):
    """Everything in a graph that another reading of it must have too."""
    found = {f"{prefix}<edges>": graph.edges, f"{prefix}<metadata>": _plain(graph.metadata)}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            found.update(_content(node, f"{prefix}{name}."))
        else:
            found[prefix + name] = type(node).__name__, _plain(vars(node))
    return found


def _plain(values):
    return {
        k: _plain(v) if isinstance(v, dict) else (str(np.asarray(v).dtype), np.asarray(v).tolist())
        for k, v in values.items()
    }


def _read(path):
    """The graph, or the error, of a file; neither slow nor large."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RepairWarning)
            graph = interop.read_nir(path)
            interop.from_nir(graph)
        found = graph
    except DOCUMENTED as error:
        found = error
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    return found


def _put(where, value, dtype=None):
    """An edit that replaces one entry of the file; a missing value takes it out."""

    def edit(node):
        if where in node:
            del node[where]
        if value is not None:
            node.create_dataset(where, data=value, dtype=dtype)

    return edit


def _link(where, target):
    def edit(node):
        del node[where]
        node[where] = node[target] if isinstance(target, str) else target

    return edit


def _huge(where, **how):
    def edit(node):
        del node[where]
        node.create_dataset(where, shape=(10**9,), dtype="f4", **how)

    return edit


def _outside(node):
    del node["nodes/fc/bias"]
    Path(node.file.filename).with_suffix(".raw").write_bytes(bytes(12))
    node.create_dataset("nodes/fc/bias", shape=(3,), dtype="f4", external=[("damaged.raw", 0, 12)])


def _virtual(node):
    del node["nodes/fc/bias"]
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource(".", "/node/nodes/li/tau", shape=(3,))
    node.create_virtual_dataset("nodes/fc/bias", layout)


def _laughs(node):
    """Each group has the next one twice: 2^40 groups for whoever follows all links."""
    group = node["nodes"].create_group("laugh")
    for _ in range(40):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


def _compound(node):
    del node["nodes/fc/bias"]
    node.create_dataset("nodes/fc/bias", data=np.zeros(3, [("a", "f4"), ("b", "i4")]))


def _group(where):
    def edit(node):
        del node[where]
        node.create_group(where)

    return edit


def _described(key, value):
    """Another value in our metadata of a neuron."""

    def edit(node):
        content = json.loads(node[OURS][()])
        del node[OURS]
        node[OURS] = json.dumps({**content, key: value})

    return edit


TAU, WEIGHT, SHAPE = "nodes/li/tau", "nodes/fc/weight", "nodes/input/shape"
PAIRS = [(b"input", b"fc"), (b"fc", b"nest"), (b"nest", b"li"), (b"li", b"output")]
NO_INPUT = [(b"input", b"output"), (b"fc", b"nest"), (b"nest", b"fc"), (b"nest", b"li"), (b"li", b"output")]
OURS = "nodes/li/metadata/snnax"
DAMAGED = {
    "no type": ("small", _put("type", None), "damaged.nir"),
    "no edges": ("small", _put("edges", None), "edges"),
    "no nodes": ("small", _put("nodes", None), "nodes"),
    "nodes are no group": ("small", _put("nodes", 3), "damaged.nir"),
    "unknown type": ("small", _put("nodes/fc/type", "Izhikevich"), "'fc'"),
    "type of a function": ("small", _put("nodes/fc/type", "write"), "'fc'"),
    "type of a base class": ("small", _put("nodes/fc/type", "NIRNode"), "'fc'"),
    "type is a number": ("small", _put("nodes/fc/type", 3), "'fc'"),
    "single node": ("small", _put("type", "LIF"), "damaged.nir"),
    "missing parameter": ("small", _put(TAU, None), "'li'"),
    "missing parameter of a nested node": ("small", _put("nodes/nest/nodes/lif/r", None), "'nest.lif'"),
    "extra parameter": ("small", _put("nodes/li/noise", np.ones(3)), "'li'"),
    "group for a parameter": ("small", _group(TAU), "'li'"),
    "text": ("small", _put(TAU, [b"a", b"b", b"c"]), "'li'"),
    "text of numbers": ("small", _put(TAU, [b"1", b"2", b"3"]), "'li'"),
    "one word": ("small", _put(TAU, "fast"), "'li'"),
    "complex": ("small", _put(TAU, np.ones(3, np.complex64)), "'li'"),
    "complex weight": ("small", _put(WEIGHT, np.ones((3, 4), np.complex64)), "'fc'"),
    "truth values": ("small", _put(WEIGHT, np.ones((3, 4), bool)), "'fc'"),
    "compound": ("small", _compound, "fc/bias"),
    "NaN": ("small", _put(TAU, np.array([1, np.nan, 1], "f4")), "'li'"),
    "infinity": ("small", _put(WEIGHT, np.full((3, 4), np.inf, "f4")), "'fc'"),
    "tau 0": ("small", _put(TAU, np.array([1, 0, 1], "f4")), "'li'"),
    "tau negative": ("small", _put("nodes/nest/nodes/lif/tau", -np.ones(3, "f4")), "'nest.lif'"),
    "tau_syn negative": ("images", _put("nodes/cuba/tau_syn", -np.ones(3, "f4")), "'cuba'"),
    "weight of one axis": ("small", _put(WEIGHT, np.ones(4, "f4")), "'fc'"),
    "weight of three axes": ("small", _put(WEIGHT, np.ones((2, 3, 4), "f4")), "'fc'"),
    "weight without elements": ("small", _put(WEIGHT, np.ones((0, 4), "f4")), "'fc'"),
    "bias too long": ("small", _put("nodes/fc/bias", np.ones(5, "f4")), "'fc'"),
    "weight too wide": ("small", _put(WEIGHT, np.ones((3, 5), "f4")), "'fc'"),
    "parameters of two sizes": ("small", _put(TAU, np.ones(2, "f4")), "'li'"),
    "parameters of another size": ("images", lambda node: [
        _put(f"nodes/if/{key}", np.full(2, x, "f4"))(node) for key, x in (("r", 1), ("v_threshold", 1), ("v_reset", -1))
    ], "'if'"),
    "w_in of two axes": ("images", _put("nodes/cuba/w_in", np.ones((2, 3), "f4")), "'cuba'"),
    "threshold too long": ("images", _put("nodes/above/threshold", np.ones(4, "f4")), "'above'"),
    "scale too long": ("images", _put("nodes/scale/scale", np.ones(4, "f4")), "'scale'"),
    "delay negative": ("images", _put("nodes/delay/delay", -np.ones(3, "f4")), "'delay'"),
    "delay NaN": ("images", _put("nodes/delay/delay", np.full(3, np.nan, "f4")), "'delay'"),
    "input of 10^7": ("small", _put(SHAPE, np.array([10**7])), "'fc'"),
    "input of 10^9": ("small", _put(SHAPE, np.array([10**9])), "'input'"),
    "input of 10^18 images": ("images", _put(SHAPE, np.array([2, 10**9, 10**9])), "'input'"),
    "input of 10^7 and one tau": ("small", lambda node: [
        _put(SHAPE, np.array([10**7]))(node), _put("edges", [(b"input", b"li"), (b"li", b"output")])(node),
        node["nodes"].pop("fc"), node["nodes"].pop("nest"),
    ], "'li'"),
    "input of no size": ("small", _put(SHAPE, np.array([], int)), "'input'"),
    "input of size 0": ("small", _put(SHAPE, np.array([0])), "'input'"),
    "input of negative size": ("small", _put(SHAPE, np.array([-4])), "'input'"),
    "input of half a size": ("small", _put(SHAPE, np.array([4.5])), "'input'"),
    "input of NaN": ("small", _put(SHAPE, np.array([np.nan])), "'input'"),
    "input shape is text": ("small", _put(SHAPE, [b"4"]), "'input'"),
    "input shape of two axes": ("small", _put(SHAPE, np.array([[4]])), "'input'"),
    "no input shape": ("small", _put(SHAPE, None), "'input'"),
    "edges of three": ("small", _put("edges", [(b"input", b"fc", b"x"), (b"fc", b"li", b"y")]), "edges"),
    "edges flat": ("small", _put("edges", [b"input", b"fc", b"fc", b"output"]), "edges"),
    "edges are numbers": ("small", _put("edges", np.array([[0, 1], [1, 2]])), "edges"),
    "edges are a word": ("small", _put("edges", "input-fc"), "edges"),
    "edge to nowhere": ("small", _put("edges", [*PAIRS, (b"li", b"moon")]), "'moon'"),
    "edge twice": ("small", _put("edges", [*PAIRS, PAIRS[0]]), "'fc'"),
    "edge into the input": ("small", _put("edges", [*PAIRS, (b"li", b"input")]), "'li'"),
    "edge out of the output": ("small", _put("edges", [*PAIRS, (b"output", b"li")]), "'li'"),
    "cycle without input": ("small", _put("edges", NO_INPUT), "'nest.lif'"),
    "no edges at all": ("small", _put("edges", np.zeros((0, 2), "S1")), "fc"),
    "nothing to the output": ("small", _put("edges", PAIRS[:-1]), "output"),
    "stride 0": ("images", _put("nodes/conv/stride", np.array([0, 1])), "'conv'"),
    "stride negative": ("images", _put("nodes/conv/stride", np.array([-1, 1])), "'conv'"),
    "stride of three": ("images", _put("nodes/conv/stride", np.array([1, 1, 1])), "'conv'"),
    "stride of half": ("images", _put("nodes/conv/stride", np.array([1.5, 1])), "'conv'"),
    "stride is text": ("images", _put("nodes/conv/stride", "two"), "'conv'"),
    "dilation 0": ("images", _put("nodes/conv/dilation", np.array([0, 1])), "'conv'"),
    "dilation huge": ("images", _put("nodes/conv/dilation", np.array([10**12, 1])), "'conv'"),
    "groups 0": ("images", _put("nodes/conv/groups", 0), "'conv'"),
    "groups in an array": ("images", _put("nodes/conv/groups", np.array([2])), "'conv'"),
    "groups 3": ("images", _put("nodes/conv/groups", 3), "'conv'"),
    "groups that channels do not divide into": ("images", lambda node: [
        _put("nodes/conv/weight", np.ones((3, 1, 3, 2), "f4"))(node), _put("nodes/conv/bias", np.ones(3, "f4"))(node),
    ], "'conv'"),
    "padding unknown": ("images", _put("nodes/conv/padding", "mirror"), "'conv'"),
    "padding negative": ("images", _put("nodes/conv/padding", np.array([-1, 0])), "'conv'"),
    "padding huge": ("images", _put("nodes/conv/padding", np.array([10**9, 10**9])), "'conv'"),
    "bias of a convolution": ("images", _put("nodes/conv/bias", np.ones(7, "f4")), "'conv'"),
    "weight of a convolution": ("images", _put("nodes/conv/weight", np.ones((4, 1, 3), "f4")), "'conv'"),
    "kernel too large": ("images", _put("nodes/conv/weight", np.ones((4, 1, 30, 2), "f4")), "'conv'"),
    "window 0": ("images", _put("nodes/pool/kernel_size", np.array([0, 2])), "'pool'"),
    "window huge": ("images", _put("nodes/pool/kernel_size", np.array([10**12, 2])), "'pool'"),
    "window stride 0": ("images", _put("nodes/pool/stride", np.array([0, 0])), "'pool'"),
    "flatten from beyond": ("images", _put("nodes/flat/start_dim", 7), "'flat'"),
    "flatten to before": ("images", _put("nodes/flat/end_dim", -9), "'flat'"),
    "flatten from text": ("images", _put("nodes/flat/start_dim", "first"), "'flat'"),
    "flatten backwards": ("images", lambda node: [
        _put("nodes/flat/start_dim", 2)(node), _put("nodes/flat/end_dim", 1)(node),
    ], "'flat'"),
    "shape that the file does not hold": ("small", _huge("nodes/fc/bias"), "fc/bias"),
    "shape that the file does not hold, in chunks": (
        "small", _huge("nodes/fc/bias", chunks=(10**6,), compression="gzip"), "fc/bias",
    ),
    "group in itself": ("small", _link("nodes/nest/nodes/w", "nodes/nest"), "nest"),
    "graph in itself": ("small", _link("nodes/li", "."), "li"),
    "links upon links": ("small", _laughs, "laugh"),
    "soft link": ("small", _link(TAU, h5py.SoftLink("/node/nodes/fc/bias")), "li/tau"),
    "soft link to nowhere": ("small", _link(TAU, h5py.SoftLink("/nowhere")), "li/tau"),
    "link to a file": ("small", _link(TAU, h5py.ExternalLink("other.nir", "/node/nodes/li/tau")), "li/tau"),
    "numbers in another file": ("small", _outside, "fc/bias"),
    "numbers of another place": ("small", _virtual, "fc/bias"),
    "object reference": ("small", lambda node: _put(TAU, node.ref, h5py.ref_dtype)(node), "li/tau"),
    "nothing": ("small", _put(TAU, h5py.Empty("f4")), "li/tau"),
    "our metadata is no JSON": ("exported", _put(OURS, "{"), "'li'"),
    "our metadata is a list": ("exported", _put(OURS, "[1]"), "'li'"),
    "our metadata is of the future": ("exported", _put(OURS, '{"version": 99}'), "'li'"),
    "our metadata is a number": ("exported", _put(OURS, 3), "'li'"),
    "our metadata lacks the numbers": ("exported", _put(OURS, '{"version": 1, "kind": "LI"}'), "'li'"),
    "our metadata is of another neuron": ("exported", _put(OURS, (
        '{"version": 1, "kind": "Tea", "scalars": {}, "arrays": [], "learn": [], "options": {}, "surrogate": null, '
        '"quantizer": null, "dt": 1e-4}'
    )), "'li'"),
    "our metadata is of a sum": ("exported", _put(OURS, (
        '{"version": 1, "kind": "CubaLIF", "scalars": {}, "arrays": [], "learn": [], "options": {}, "surrogate": null, '
        '"quantizer": null, "dt": 1e-4}'
    )), "'li'"),
    "our metadata is nested without end": ("exported", _put(OURS, "[" * 10**5), "'li'"),
    "our metadata is no text": ("exported", _put("nodes/li/metadata", 3), "'li'"),
    "our time step has 400 digits": ("exported", _put("metadata/snnax", f'{{"version": 1, "dt": 1{"0" * 400}}}'), "dt"),
    "our time step is NaN": ("exported", _put("metadata/snnax", '{"version": 1, "dt": NaN}'), "NaN"),
    **{f"our {key} is {value}": ("exported", _described(key, value), key) for key, value in [
        ("kind", ["LI"]), ("kind", None), ("scalars", None), ("scalars", {"tau": "fast"}),
        ("scalars", {"tau": 10**400}),
        ("arrays", "tau"), ("arrays", ["tau", "snnax"]), ("arrays", ["nothing"]), ("learn", 3), ("learn", [3]),
        ("options", []), ("options", {"output": []}), ("surrogate", "atan"), ("surrogate", ["atan"]),
        ("surrogate", ["Surrogate", {}]), ("surrogate", ["custom_surrogate", {}]), ("surrogate", ["base", {}]),
        ("surrogate", ["Function", {}]),
        ("surrogate", ["__doc__", {}]), ("surrogate", ["atan", {"alpha": [1]}]), ("quantizer", 3),
        ("quantizer", [None]),
        ("sizes", [1]), ("dt", -1), ("dt", True),
    ]},
    "our options fill a page": ("exported", _described("sizes", {"discretization": "x" * 5000}), "sizes"),
    "a surrogate without such an argument": ("exported", _described("surrogate", ["atan", {"beta": 1}]), "'li'"),
    "output shape is text": ("small", _put("nodes/output/shape", [b"3"]), "'output'"),
    "output of infinite size": ("small", _put("nodes/output/shape", np.array([np.inf])), "'output'"),
    "padding of a pool in words": ("images", _put("nodes/pool/padding", "same"), "'pool'"),
    "our time step is text": ("exported", _put("metadata/snnax", '{"version": 1, "dt": "fast"}'), "dt"),
    "our time step is negative": ("exported", _put("metadata/snnax", '{"version": 1, "dt": -1}'), "dt"),
    "our outputs are unknown": ("exported", _put("metadata/snnax", '{"version": 1, "outputs": [["x", "out"]]}'), "x"),
    "our outputs are numbers": ("exported", _put("metadata/snnax", '{"version": 1, "outputs": [1]}'), "outputs"),
}  # fmt: skip


def _damaged(tmp_path, source, edit):
    path = tmp_path / "damaged.nir"
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        edit(file["node"])
    return path


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_named(case, files, tmp_path):
    which, edit, words = DAMAGED[case]
    found = _read(_damaged(tmp_path, files[which], edit))
    assert isinstance(found, DOCUMENTED), "it was read"
    assert words in str(found)
    assert not isinstance(found, NIRFileError) or "damaged.nir" in str(found) or "'" in str(found)


FLIPS, CUTS = 120, 25


@pytest.mark.parametrize("which", GRAPHS)
def test_bit_flips_are_errors_or_warned_of_or_without_effect(which, files, tmp_path):
    raw, rng = files[which].read_bytes(), np.random.default_rng(FLIPS)
    valid = _content(interop.read_nir(files[which]))
    path = tmp_path / "damaged.nir"
    kinds = {"same": 0, "error": 0}
    for at in rng.integers(8 * len(raw), size=FLIPS):
        damaged = bytearray(raw)
        damaged[at // 8] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                found = _content(interop.read_nir(path))
            except NIRFileError as error:
                assert "damaged.nir" in str(error)  # noqa: PT017
                kinds["error"] += 1
                continue
        if found == valid:
            kinds["same"] += 1
        else:
            assert any("has changed since" in str(w.message) for w in said), int(at)
    assert min(kinds.values()) > 0


@pytest.mark.parametrize("which", GRAPHS)
def test_cut_and_overwritten_files_are_errors(which, files, tmp_path):
    raw, rng = files[which].read_bytes(), np.random.default_rng(CUTS)
    path = tmp_path / "damaged.nir"
    valid = _content(interop.read_nir(files[which]))
    for cut in [
        0,
        1,
        7,
        8,
        9,
        95,
        96,
        97,
        len(raw) // 2,
        len(raw) - 4096,
        len(raw) - 1,
        *rng.integers(len(raw), size=CUTS),
    ]:
        path.write_bytes(raw[:cut])
        with pytest.raises(NIRFileError, match=r"damaged\.nir"):
            interop.read_nir(path)
    for at in rng.integers(len(raw) - 100, size=CUTS):
        path.write_bytes(raw[:at] + rng.bytes(100) + raw[at + 100 :])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = interop.read_nir(path)
            except (NIRFileError, RepairWarning) as error:
                assert "damaged.nir" in str(error)  # noqa: PT017
            else:
                assert _content(found) == valid


def test_an_edit_counts_and_is_said(files, tmp_path):
    path = _damaged(tmp_path, files["small"], _put(TAU, np.full(3, 0.5, "f4")))
    with pytest.warns(RepairWarning, match=r"damaged\.nir: it has changed"):
        graph = interop.read_nir(path)
    assert graph.nodes["li"].tau.tolist() == [0.5] * 3


def test_whole_numbers_are_numbers(files, tmp_path):
    whole = [np.ones(3, kind) for kind in ("i8", "u2", "f4")]
    graphs = [_read(_damaged(tmp_path, files["small"], _put(TAU, tau))) for tau in whole]
    modules = [interop.from_nir(graph)[0].members()["li"] for graph in graphs]
    assert modules[0] == modules[1] == modules[2]


@pytest.mark.parametrize("depth", [40, 1000])
def test_graphs_nested_too_deep(depth, tmp_path):
    graph = GRAPHS["small"]()
    for _ in range(depth):
        nodes = {
            "in": nir.Input({"input": np.array([4])}),
            "g": graph,
            "out": nir.Output({"output": np.array([3])}),
        }
        graph = nir.NIRGraph(nodes, [("in", "g"), ("g", "out")], type_check=False)
    with pytest.raises(NIRFileError, match="32"):
        interop.from_nir(graph)
    path = tmp_path / "damaged.nir"
    with h5py.File(path, "w") as file:
        group = file.create_group("node")
        for _ in range(depth):
            group["type"] = "NIRGraph"
            group["edges"] = np.array([[b"in", b"g"], [b"g", b"out"]])
            group = group.create_group("nodes/g")
    found = _read(path)
    assert isinstance(found, NIRFileError) and "damaged.nir" in str(found) and "32" in str(found)


def test_a_graph_that_holds_itself():
    graph = GRAPHS["small"]()
    graph.nodes["nest"].nodes["lif"] = graph.nodes["nest"]
    with pytest.raises(NIRFileError, match=r"nest\.lif\.lif"):
        interop.from_nir(graph)


def test_zeros_that_unpack_to_more_than_allowed(tmp_path, files):
    path = _damaged(tmp_path, files["small"], _put("nodes/fc/bias", None))
    with h5py.File(path, "r+") as file:
        file["node"].create_dataset("nodes/fc/bias", data=np.zeros(3 * 10**6, "f4"), compression="gzip")
    with pytest.raises(NIRFileError, match="max_bytes"):
        interop.read_nir(path, max_bytes=10**6)
    assert isinstance(_read(path), ShapeError)


def test_what_is_no_nir_file(tmp_path):
    folder, text, empty, other = (tmp_path / name for name in ("a.nir", "b.nir", "c.nir", "d.nir"))
    folder.mkdir()
    text.write_text("a network\n" * 1000)
    empty.touch()
    with h5py.File(other, "w") as file:
        file["weights"] = np.ones(3)
    for path in (folder, text, empty, other):
        with pytest.raises(NIRFileError, match=path.name):
            interop.from_nir(path)
    with pytest.raises(FileNotFoundError, match=r"e\.nir"):
        interop.from_nir(tmp_path / "e.nir")
