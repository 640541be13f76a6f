"""Files as Norse 1.1.0 itself reads and runs them, under ``preset="norse"``, and those that it writes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
norse = pytest.importorskip("norse.torch")

import nir  # noqa: E402
from norse.torch.utils import export_nir  # noqa: E402
from norse.torch.utils.import_nir import from_nir  # noqa: E402
from torch import nn  # noqa: E402

import snnax as snn  # noqa: E402
from snnax import interop  # noqa: E402
from snnax.errors import ArgumentError, ConversionError, RepairWarning  # noqa: E402
from snnax.interop.conventions import traces_first  # noqa: E402

DATA = Path(__file__).parents[4] / "shared" / "data" / "nir_paper"
# file, shape of a batch, steps, share of ones, Norse's name of each layer, spikes that it has at least
FILES = {
    "braille": (
        "03_rnn/braille_noDelay_bias_zero.nir", (4, 12), 256, 0.02, {"lif1.lif": "lif1_lif", "lif2": "lif2"}, 50,
    ),
    "cnn": (
        "02_cnn/cnn_sinabs.nir", (1, 2, 34, 34), 20, 0.2, {n: n for n in ("1", "3", "6", "10", "12")}, 5,
    ),
}  # fmt: skip


def _norse(path, x, layers):
    """Norse's own run: the output, and the spikes of each layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = from_nir(nir.read(path), dt=1e-4)
    spikes = {name: [] for name in layers}
    for name, theirs in layers.items():
        rows = spikes[name]
        net.get_submodule(theirs).register_forward_hook(
            lambda _, __, out, rows=rows: rows.append(out[0].numpy())
        )
    state, rows = None, []
    with torch.no_grad():
        for frame in torch.from_numpy(x):
            out, state = net(frame, state)
            rows.append((out[0] if isinstance(out, tuple) else out).numpy())
    return np.stack(rows), {name: np.stack(values) for name, values in spikes.items()}


@pytest.mark.parametrize("name", FILES)
def test_every_spike_of_every_layer_is_norses(name):
    file, shape, steps, share, layers, least = FILES[name]
    path = DATA / file
    if not path.exists():
        pytest.skip("the recordings of the NIR paper are not here")
    x = (np.random.default_rng(0).random((steps, *shape)) < share).astype(np.float32)
    expected, hidden = _norse(path, x, layers)
    model, variables = interop.from_nir(path, 1e-4, preset="norse")
    out, _, recorded = snn.unroll(model, variables, x, record=True)
    np.testing.assert_array_equal(np.asarray(out).reshape(expected.shape), expected)
    for layer, spikes in hidden.items():
        ours = traces_first(recorded[layer]["spk"])
        np.testing.assert_array_equal(ours.reshape(spikes.shape), spikes)
        assert spikes.sum() >= least


# --- files that Norse 1.1.0 writes ------------------------------------------------------------------


def _full(kind, size, **values):
    return kind(**{key: torch.full((size,), value) for key, value in values.items()})


EXPORTS = {
    "box": lambda: [nn.Linear(3, 4), norse.LIFBoxCell()],
    "box, each its own": lambda: [
        nn.Linear(3, 4),
        norse.LIFBoxCell(_full(norse.LIFBoxParameters, 4, tau_mem_inv=50.0, v_leak=0.0, v_th=0.5)),
    ],
    "current": lambda: [nn.Linear(3, 4), norse.LIFCell(), nn.Linear(4, 2, bias=False), norse.LIBoxCell()],
    "integrator first": lambda: [norse.IAFCell(), nn.Linear(3, 4), norse.LIFBoxCell()],
}


def _exported(net, x, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export_nir.to_nir(net, torch.from_numpy(x[0]), **options)


def _read(graph, **how):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        return interop.from_nir(graph, **how), [str(w.message) for w in said if w.category is RepairWarning]


@pytest.mark.parametrize("name", EXPORTS)
def test_a_file_that_norse_writes_is_the_network_that_it_came_from(name, tmp_path):
    torch.manual_seed(0)
    net = norse.SequentialState(*EXPORTS[name]())
    x = (5 * np.random.default_rng(0).random((60, 2, 3))).astype(np.float32)
    path = tmp_path / "norse.nir"
    interop.write_nir(path, _exported(net, x))
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(path)
    (model, variables), notes = _read(path, preset="norse_export")
    assert "its shape (2, 3) has more axes than what it feeds takes; read as (3,)" in notes[0]
    assert model.input_shape == (3,)
    report = interop.crossvalidate(net, (model, variables), x)
    assert report.agree, str(report)
    assert sum(layer.end_to_end.spike_mismatches for layer in report.layers) == 0
    assert any(layer.spikes for layer in report.layers)
    interop.write_nir(path, interop.to_nir(model, variables))
    nir.read(path)  # which checks every shape


def test_images_are_read_from_norses_graph_in_memory():
    net = norse.SequentialState(nn.Conv2d(2, 3, 3), norse.LIFBoxCell(), nn.Conv2d(3, 2, 2), norse.IAFCell())
    x = (9 * np.random.default_rng(0).random((20, 2, 2, 5, 5))).astype(np.float32)
    imported, notes = _read(_exported(net, x, dt=1e-3), preset="norse_export")
    assert "read as (2, 5, 5)" in notes[0]
    assert interop.crossvalidate(net, imported, x).agree


def test_the_time_step_that_norse_multiplied_by_must_be_known():
    x = np.ones((1, 1, 3), np.float32)
    net = norse.SequentialState(nn.Linear(3, 4), norse.LIFBoxCell(dt=2e-3))
    graph = _exported(net, x, dt=2e-3)
    assert float(graph.nodes["1"].tau) == pytest.approx(2e-3 * 1e-2)
    (model, _), _ = _read(graph, preset="norse_export", dt=2e-3)
    assert float(model.members()["1"].tau) == pytest.approx(1e-2)
    with pytest.raises(ConversionError, match="shorter than the time step"):
        interop.from_nir(graph)
    with pytest.raises(ArgumentError, match="dt=1e-3"):
        interop.from_nir(graph, time_unit="dt")
