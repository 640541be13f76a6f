"""Files as Norse 1.1.0 itself reads and runs them: every spike of every layer, under ``preset="norse"``."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("norse")

import nir  # noqa: E402
from norse.torch.utils.import_nir import from_nir  # noqa: E402

import snnax as snn  # noqa: E402
from snnax import interop  # noqa: E402
from snnax.interop.conventions import traces_first  # noqa: E402

DATA = Path(__file__).parents[3] / "shared" / "data" / "nir_paper"
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
