"""What is edited in a graph of ours, beside our metadata: read as it says, or refused. Never passed over."""

from __future__ import annotations

import warnings

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import RepairWarning, SnnaxError
from snnax.interop.families.native import NATIVE
from snnax.interop.nir.extension import Extension

ROW, LINE, IMAGE = (4,), (6, 2), (6, 6, 2)


def hidden(kind, *args, **more):
    return getattr(snn, kind)(*args, init_hidden=True, **more)


def shared():
    fc = nn.Dense(4)
    return snn.Sequential([fc, hidden("Leaky", 0.5), fc])


def ports():
    nodes = {"fc": nn.Dense(4), "lif": hidden("Leaky", 0.5, output=True)}
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output")]
    return snn.Graph(nodes, edges, outputs=[("lif", "mem")])


NETS = {
    "Dense": (lambda: nn.Dense(3), ROW),
    "Dense without bias": (lambda: nn.Dense(3, use_bias=False), ROW),
    "Conv1d": (lambda: nn.Conv(4, (3,), strides=2, padding=1, feature_group_count=2), LINE),
    "Conv2d": (lambda: nn.Conv(4, (3, 3), padding=1, kernel_dilation=1, use_bias=False), IMAGE),
    "Conv2d, same": (lambda: nn.Conv(2, (2, 2)), IMAGE),
    "Scale": (lambda: snn.Scale(0.5), ROW),
    "tiny Scale": (lambda: snn.Scale(1e-12), ROW),
    "Scale of each": (lambda: snn.Scale(np.array([0.5, 1, 2, 0], np.float32)), ROW),
    "learned Scale": (lambda: snn.Scale(0.5, learn_scale=True), ROW),
    "GradedSpikes": (lambda: snn.GradedSpikes(4, 0.5), ROW),
    "Threshold": (lambda: snn.Threshold(0.5), ROW),
    "Delay": (lambda: snn.Delay(2), ROW),
    "AvgPool2d": (lambda: snn.AvgPool2d(2), IMAGE),
    "SumPool2d": (lambda: snn.SumPool2d(2, padding=1), IMAGE),
    "MaxPool2d": (lambda: snn.MaxPool2d(2), IMAGE),
    "Flatten": (lambda: snn.Flatten(channels_first=True), IMAGE),
    "BatchNorm": (lambda: nn.BatchNorm(use_running_average=True), ROW),
    "Leaky": (lambda: hidden("Leaky", 0.75), ROW),
    "Leaky, zero": (lambda: hidden("Leaky", 0.75, reset_mechanism="zero", reset_delay=False), ROW),
    "Leaky of each": (lambda: hidden("Leaky", np.array([0.5, 0.6, 0.7, 0.8], np.float32)), ROW),
    "without a leak": (lambda: hidden("Leaky", 1.0), ROW),
    "Lapicque": (lambda: hidden("Lapicque", R=2.0, C=5.0), ROW),
    "Synaptic": (lambda: hidden("Synaptic", 0.5, 0.75), ROW),
    "RLeaky": (lambda: hidden("RLeaky", 0.75, linear_features=4), ROW),
    "RLeaky, V": (lambda: hidden("RLeaky", 0.75, V=0.5, all_to_all=False), ROW),
    "RLeaky, convolved": (lambda: hidden("RLeaky", 0.75, conv2d_channels=2, kernel_size=3), IMAGE),
    "RSynaptic": (lambda: hidden("RSynaptic", 0.5, 0.75, linear_features=4), ROW),
    "SLSTM": (lambda: hidden("SLSTM", 4, 3), ROW),
    "LIF": (lambda: hidden("LIF", 2e-3, r=3.0, v_leak=0.1, v_reset=-0.2), ROW),
    "plain LIF": (lambda: hidden("LIF", 2e-3), ROW),
    "CubaLIF": (lambda: hidden("CubaLIF", 2e-3, 3e-3), ROW),
    "LI": (lambda: hidden("LI", 2e-3), ROW),
    "CubaLI": (lambda: hidden("CubaLI", 2e-3, 3e-3), ROW),
    "IF": (lambda: hidden("IF", r=1e4), ROW),
    "I": (lambda: hidden("I", r=1e4), ROW),
    "shared": (shared, ROW),
    "ports": (ports, ROW),
}


def graph_of(name):
    made, shape = NETS[name]
    net = made()
    net = net if isinstance(net, snn.Sequential | snn.Graph) else snn.Sequential([net])
    x = np.ones((1, *shape), np.float32)
    variables = {c: v for c, v in net.init(jax.random.key(0), x).items() if c != "hidden"}
    return interop.to_nir(net, variables, x)


def read(graph):
    """The model, its variables as bytes, and whether anything was put right."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model, variables = interop.from_nir(graph)
    noted = any(issubclass(w.category, RepairWarning) for w in said)
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return model, [(str(path), np.asarray(leaf).tobytes()) for path, leaf in leaves], noted


def edits(value):
    """Other values of a field: all much larger, one much larger, and one larger by more than a rounding."""
    if isinstance(value, str | bytes):
        return [(0, 0)]
    array = np.asarray(value)
    if array.dtype.kind in "iu":
        return [tuple(int(n) + 1 for n in array) if array.ndim else int(array) + 1]
    one = array.copy()
    one.flat[-1] = one.flat[-1] * 1.5 + 1e-9
    little = array.copy()
    little.flat[0] *= 1 + 1e-5
    many = [array * np.asarray(1.5, array.dtype) + np.asarray(0.25, array.dtype), one, little]
    return [edited for edited in many if (edited != array).any()]


def fields(node):
    """Where a node keeps each thing that it says."""
    if isinstance(node, nir.Input | nir.Output):
        return []
    if isinstance(node, Extension):
        return [(node.arrays, key) for key in node.arrays]
    found = [(vars(node), key) for key in vars(node) if key not in ("metadata", "input_type", "output_type")]
    return [*found, (node.input_type, "input")] if isinstance(node, nir.Flatten) else found


@pytest.mark.parametrize("name", NETS)
def test_no_edit_is_passed_over(name):
    graph = graph_of(name)
    before = read(graph)
    assert not before[2]
    tried = 0
    for at, node in graph.nodes.items():
        for home, key in fields(node):
            kept = home[key]
            for value in edits(kept):
                home[key] = value
                try:
                    after = read(graph)
                    assert after[2] or after[:2] != before[:2], f"{at}.{key} = {value} was passed over"
                except SnnaxError:
                    pass
                home[key] = kept
                tried += 1
    assert tried or name == "MaxPool2d"
    assert read(graph) == before


def neurons(node):
    """Neurons of the other kinds that NIR has, with the numbers of this one."""
    one = np.ones_like(node.r)
    of = {"tau": 1e-3 * one, "tau_mem": 1e-3 * one, "tau_syn": 1e-3 * one, "w_in": one, "v_leak": 0 * one,
          "v_threshold": one, "v_reset": 0 * one, **vars(node)}  # fmt: skip
    for kind, names in NATIVE.items():
        if getattr(nir, kind) is not type(node):
            yield getattr(nir, kind)(**{key: of[key] for key in names}, metadata=node.metadata)


@pytest.mark.parametrize("name", NETS)
def test_no_neuron_of_another_kind_passes_for_the_one_that_was_written(name):
    graph = graph_of(name)
    before = read(graph)
    for at, node in list(graph.nodes.items()):
        for other in neurons(node) if type(node).__name__ in NATIVE else ():
            graph.nodes[at] = other
            with pytest.raises(SnnaxError, match=r"Remove the key 'snnax' from (the node's|its) metadata"):
                read(graph)
        graph.nodes[at] = node
    assert read(graph) == before


def test_other_edges_than_the_metadata_says():
    graph = graph_of("ports")
    graph.edges = [("fc", "output") if edge == ("lif", "output") else edge for edge in graph.edges]
    with pytest.raises(SnnaxError, match="other edges"):
        interop.from_nir(graph)
    nodes = {"a": snn.Scale(0.5), "b": snn.Scale(0.25), "c": snn.Scale(0.75)}
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "c"), ("c", "output")]
    net = snn.Graph(nodes, edges)
    for other in ([("c", "b")], [("c", "a")]):
        graph = interop.to_nir(net, {}, np.ones((1, 2), np.float32))
        graph.edges = [*graph.edges, *other]
        with pytest.raises(SnnaxError, match="Remove the key 'snnax' from the graph's metadata"):
            interop.from_nir(graph)
        graph.metadata.clear()
        interop.from_nir(graph)


def test_an_edited_lapicque_has_the_circuit_of_its_node():
    graph = graph_of("Lapicque")
    node = graph.nodes["0"]
    node.r, node.tau = node.r * 2, node.tau * 3
    neuron = interop.from_nir(graph)[0].members()["0"]
    assert float(neuron.R) == 4.0 and float(neuron.C) == pytest.approx(7.5)
    x = np.random.default_rng(0).uniform(0, 2, (20, 1, 4)).astype(np.float32)
    assert interop.crossvalidate(graph, interop.from_nir(graph), x).agree
