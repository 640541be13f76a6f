"""What NIR cannot say is text outside only: written where a graph leaves memory, read once where it enters."""

from __future__ import annotations

import json

import flax.linen as nn
import jax
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.nir import metadata

X = np.random.default_rng(0).uniform(0, 1, (5, 2, 4)).astype(np.float32)


class Counted:
    """``json`` that counts."""

    def __init__(self):
        self.written = self.read = 0

    def dumps(self, *args):
        self.written += 1
        return json.dumps(*args)

    def loads(self, *args, **more):
        self.read += 1
        return json.loads(*args, **more)


@pytest.fixture
def text(monkeypatch):
    counted = Counted()
    monkeypatch.setattr(metadata, "json", counted)
    return counted


def network():
    learned = snn.Leaky(beta=np.array([0.5, 0.6, 0.7, 0.8], np.float32), learn_beta=True, init_hidden=True)
    net = snn.Sequential(
        [nn.Dense(4), learned, snn.Scale(0.5), snn.Alpha(0.9, 0.8, init_hidden=True, output=True)]
    )
    variables = net.init(jax.random.key(0), X[0])
    return net, {collection: values for collection, values in variables.items() if collection != "hidden"}


def test_a_conversion_in_memory_writes_and_reads_none(text):
    pytest.importorskip("snntorch")
    net = interop.to_snntorch(*network(), X[0])
    model, variables = interop.from_snntorch(net, X[0])
    assert interop.crossvalidate(net, (model, variables), X).agree
    assert (text.written, text.read) == (0, 0)


def test_a_graph_leaves_with_text_and_enters_once(text):
    graph = interop.to_nir(*network(), X[0])
    told = [node for node in (graph, *graph.nodes.values()) if node.metadata]
    assert all(isinstance(node.metadata["snnax"], str) for node in told)
    assert text.written == len(told) == 4
    interop.from_nir(graph)
    assert text.read == len(told)
    assert all(isinstance(node.metadata["snnax"], str) for node in told), "the user's graph stays as it is"


@pytest.mark.parametrize("read", [interop.from_nir, interop.losses])
def test_a_text_that_names_an_unknown_neuron_is_refused_by_name(read):
    net = snn.Sequential([snn.RLeaky(beta=0.9, linear_features=3, init_hidden=True)])
    x = np.zeros((1, 3), np.float32)
    graph = interop.to_nir(net, net.init(jax.random.key(0), x), x)
    for node in graph.nodes.values():
        if "snnax" in node.metadata:
            node.metadata["snnax"] = node.metadata["snnax"].replace('"RLeaky"', '"RLea{y"')
    with pytest.raises(ConversionError, match=r"neuron class 'RLea\{y' is unknown"):
        read(graph)
