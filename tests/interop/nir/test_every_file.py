"""Every ``.nir`` file of other people that we have: read, run, written, read again, and bit for bit the same."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path

import jax
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import RepairWarning

DATA = Path(__file__).parents[4] / "shared" / "data"
# file: what is wrong with it, as nir 1.0.8 and as our repair say it
FILES = {
    "nir_paper/01_lif/lif_norse.nir": (None, None),
    "nir_paper/01_lif/lif_rockpool.nir": (
        "Type inference error",
        "output 'output': it says (1, 1, 1), what feeds it has shape (1,)",
    ),
    "nir_paper/02_cnn/cnn_sinabs.nir": (None, None),
    "nir_paper/03_rnn/braille_noDelay_bias_zero.nir": (None, None),
    "nir_paper/03_rnn/braille_noDelay_bias_zero_subgraph.nir": (
        "does not exist in the graph",
        "nested graph 'lif1': edges name 'lif', which is no node; taken as 'lif1'",
    ),
}
NUMBERS = {"tau", "tau_syn", "tau_mem", "v_threshold", "v_reset", "v_leak", "weight", "bias"}
"""What an import in double precision and an export give back as it was; ``r`` becomes a gain."""


def _found():
    return sorted(str(path.relative_to(DATA)) for path in DATA.rglob("*.nir"))


def _imported(path, repair=None):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        imported = interop.from_nir(path)
    notes = [str(note.message) for note in said if note.category is RepairWarning]
    assert len(said) == len(notes) == (repair is not None)
    assert repair is None or repair in notes[0]
    return imported


def _run(imported, x):
    out, _, recorded = snn.unroll(*imported, x, record=True)
    return jax.tree.map(np.asarray, (out, recorded))


def same_trees(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def parts(node):
    """Parameters of a node, by name."""
    hidden = ("metadata", "input_type", "output_type")
    return {key: value for key, value in vars(node).items() if key not in hidden and value is not None}


def same_graphs(a, b):
    """Nodes, edges, parameters with their dtype, and metadata."""
    assert [*map(tuple, a.edges)] == [*map(tuple, b.edges)] and a.nodes.keys() == b.nodes.keys()
    assert _plain(a.metadata) == _plain(b.metadata)
    for name, node in a.nodes.items():
        other = b.nodes[name]
        assert type(node) is type(other) and _plain(node.metadata) == _plain(other.metadata)
        assert parts(node).keys() == parts(other).keys()
        for key, value in parts(node).items():
            mine, theirs = np.asarray(value), np.asarray(parts(other)[key])
            assert mine.dtype == theirs.dtype or mine.dtype.kind in "iU", (name, key)
            np.testing.assert_array_equal(mine, theirs)
        for kind in ("input_type", "output_type"):
            for key, shape in (getattr(other, kind) or {}).items():
                if shape is not None:  # nir reads pools without their shapes
                    np.testing.assert_array_equal(getattr(node, kind)[key], shape)


def _plain(content):
    return {key: value.item() if hasattr(value, "item") else value for key, value in content.items()}


@pytest.mark.skipif(not DATA.exists(), reason="the files of the NIR paper are not beside this checkout")
def test_no_file_is_left_out():
    assert _found() == sorted(FILES)


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", FILES)
def test_read_run_written_and_read_again(name, wide, tmp_path):
    path = DATA / name
    if not path.exists():
        pytest.skip("the files of the NIR paper are not beside this checkout")
    wrong, repair = FILES[name]
    with pytest.raises(Exception, match=wrong) if wrong else nullcontext():
        nir.read(path)
    copy = tmp_path / "copy.nir"
    with jax.enable_x64(wide):
        first = _imported(path, repair)
        x = 3.0 * (np.random.default_rng(0).random((8, 1, *first[0].input_shape)) < 0.3)
        x = x.astype(np.float64 if wide else np.float32)
        graph = interop.to_nir(*first)
        interop.write_nir(copy, graph)
        same_graphs(graph, interop.read_nir(copy))
        second = _imported(copy)
        same_graphs(graph, interop.to_nir(*second))
        found = _run(first, x)
        assert any(values["spk"].any() for values in found[1].values() if "spk" in values)
        same_trees(found, _run(second, x))
    _same_numbers(interop.read_nir(path), graph)


def _same_numbers(given, graph):
    """The numbers of the file itself, in the precision of its weights; decays keep a little less of the taus."""
    for name, node in given.nodes.items():
        for key in NUMBERS & parts(node).keys() if name in graph.nodes else ():
            mine, theirs = (np.asarray(parts(n)[key]) for n in (graph.nodes[name], node))
            assert mine.dtype == np.float32, (name, key)
            rtol = 100 * np.finfo(mine.dtype).eps if key.startswith("tau") else 0
            np.testing.assert_allclose(mine, theirs.astype(mine.dtype), rtol, err_msg=f"{name}.{key}")
