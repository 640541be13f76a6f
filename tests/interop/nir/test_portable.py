"""The portable profile: read by Norse and snnTorch themselves, from a file, with the same spikes."""

import contextlib
import io
import warnings

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError

torch = pytest.importorskip("torch")
snntorch_nir = pytest.importorskip("snntorch.import_nir")
norse = pytest.importorskip("norse.torch")

T, B = 300, 1
ZERO = {"reset_mechanism": "zero", "init_hidden": True}


def dense():
    return snn.Sequential(
        [nn.Dense(16), snn.Leaky(0.9, **ZERO), nn.Dense(5), snn.Leaky(0.8, threshold=0.7, **ZERO)]
    )


def synaptic():
    return snn.Sequential(
        [nn.Dense(16), snn.Synaptic(0.7, 0.9, reset_delay=False, **ZERO), nn.Dense(5), snn.Leaky(0.8, **ZERO)]
    )


def recurrent():
    return snn.Sequential(
        [
            nn.Dense(9),
            snn.RLeaky(0.9, linear_features=9, reset_delay=False, **ZERO),
            nn.Dense(5),
            snn.Leaky(0.8, **ZERO),
        ]
    )


def images():
    return snn.Sequential([nn.Conv(4, (3, 3), padding="VALID"), snn.Leaky(0.9, **ZERO)])


NETS = {
    "dense": (dense, (6,)),
    "synaptic": (synaptic, (6,)),
    "recurrent": (recurrent, (6,)),
    "images": (images, (8, 8, 2)),
}
READERS = {"norse": NETS, "snntorch": [name for name in NETS if name != "recurrent"]}


def made(name):
    build, shape = NETS[name]
    net = build()
    x = np.random.default_rng(0).normal(0.4, 1.0, (T, B, *shape)).astype(np.float32)
    return net, net.init(jax.random.key(1), x[0]), x


def in_norse(path, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = norse.from_nir(nir.read(path), dt=1e-4)
    state, out = None, []
    with torch.no_grad():
        for frame in torch.tensor(x):
            spk, state = net(frame, state)
            out.append(spk)
    return torch.stack(out).numpy()


def in_snntorch(path, x):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        net = snntorch_nir.import_from_nir(nir.read(path))
    state, out = None, []
    with torch.no_grad():
        for frame in torch.tensor(x):
            spk, state = net(frame, state)
            out.append(spk)
    return torch.stack(out).numpy()


RUN = {"norse": in_norse, "snntorch": in_snntorch}


@pytest.mark.parametrize(("reader", "name"), [(r, n) for r in READERS for n in READERS[r]])
def test_others_read_the_same_spikes(reader, name, tmp_path):
    net, variables, x = made(name)
    ours = np.asarray(snn.unroll(net, variables, x)[0])
    interop.write_nir(tmp_path / "a.nir", interop.to_nir(net, variables, x[0], profile="portable"))
    first = x if x.ndim == 3 else np.moveaxis(x, -1, 2)
    theirs = RUN[reader](tmp_path / "a.nir", first)
    theirs = theirs if x.ndim == 3 else np.moveaxis(theirs, 2, -1)
    assert 0.01 < ours.mean() < 0.9
    assert ours.shape == theirs.shape
    assert int((ours != theirs).sum()) == 0


@pytest.mark.parametrize("name", NETS)
def test_it_is_strict_nir_without_metadata(name):
    net, variables, x = made(name)
    graph = interop.to_nir(net, variables, x[0], profile="portable")
    assert not any(node.metadata for node in graph.nodes.values())
    assert not graph.metadata
    again = nir.NIRGraph(graph.nodes, graph.edges, type_check=True)
    assert set(again.nodes) == set(graph.nodes)
    assert interop.losses(graph) == {}
    first = x if x.ndim == 3 else np.moveaxis(x, -1, 2)
    ours = np.asarray(snn.unroll(net, variables, x)[0])
    back = np.asarray(snn.unroll(*interop.from_nir(graph), first)[0])
    assert np.array_equal(ours, back if x.ndim == 3 else np.moveaxis(back, 2, -1))


REFUSED = {
    "subtract": (lambda: snn.Leaky(0.9, init_hidden=True), '"subtract"'),
    "late": (lambda: snn.Synaptic(0.5, 0.9, **ZERO), "in the step after it"),
    "several decays": (lambda: snn.Leaky([0.9, 0.8, 0.7], **ZERO), "differ in tau"),
    "several thresholds": (
        lambda: snn.Leaky(0.9, threshold=[1.0, 0.8, 0.7], **ZERO),
        "differ in v_threshold",
    ),
    "graded": (lambda: snn.Leaky(0.9, graded_spikes_factor=2.0, **ZERO), "height 1"),
    "no node": (lambda: snn.Alpha(0.9, 0.8, init_hidden=True), "no Alpha"),
    "leak": (lambda: snn.LIF(1e-3, v_leak=0.1, init_hidden=True), "v_leak"),
    "integrator": (lambda: snn.LI(1e-3, init_hidden=True), "reads LI as something else"),
    "own step": (lambda: snn.LIF(1e-2, dt=1e-3, init_hidden=True), r"time step is 0\.001 s"),
    "native": (lambda: snn.LIF(1e-3, discretization="exact", init_hidden=True), "exact"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    build, words = REFUSED[name]
    net = snn.Sequential([nn.Dense(3), build()])
    x = np.ones((1, 4), np.float32)
    variables = net.init(jax.random.key(0), x)
    with pytest.raises(ConversionError, match=words):
        interop.to_nir(net, variables, x, profile="portable")
    if name in ("subtract", "late", "graded", "no node", "native"):
        assert list(interop.losses(interop.to_nir(net, variables, x))) == ["1"]


def test_a_gain_needs_weights_to_go_to():
    x = np.ones((1, 4), np.float32)
    net = snn.Sequential([snn.Leaky(0.9, **ZERO)])
    with pytest.raises(ConversionError, match="'input' is a Input without weights"):
        interop.to_nir(net, net.init(jax.random.key(0), x), x, profile="portable")
    net = snn.Sequential([nn.Dense(3), snn.Leaky(0.9, **ZERO)])
    variables = net.init(jax.random.key(0), x)
    with pytest.raises(ConversionError, match=r"1e-0?4"):
        interop.to_nir(net, variables, x, dt=1e-3, profile="portable")
    with pytest.raises(ArgumentError, match="'portable'"):
        interop.to_nir(net, variables, x, profile="small")
