"""Networks of jaxsnn, and NIR graphs as it reads them, have the spikes here that its engine found."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
from helpers.jaxsnn_networks import NETS, T_MAX, nir_graph

from snnax import event, interop

RECORDED = json.loads((Path(__file__).parent / "jaxsnn_spikes.json").read_text())["spikes"]
LAYOUT = {"jaxsnn": np.asarray, "nir": np.transpose}


def written(net):
    """The network as one writes it here."""
    numbers = event.LIFParameters(
        tau_mem=net.tau_mem, tau_syn=net.tau_syn, threshold=net.v_th, v_reset=net.v_reset
    )
    weights, names = net.weights(), ["input", *(f"lif{k}" for k in range(len(net.sizes) - 1))]
    ends = [*itertools.pairwise(names), *[("lif0", "lif0")] * net.recurrent]
    return event.Network(
        [event.Population(name, size, numbers) for name, size in zip(names[1:], net.sizes[1:], strict=True)],
        [event.Projection(*pair, jnp.asarray(w)) for pair, w in zip(ends, weights, strict=True)],
    )


def assert_recorded(network, name):
    net = NETS[name]
    last = network.populations[-1].name
    found = event.simulate(network, {"input": event.trains(net.inputs)}, t_max=T_MAX, max_spikes=24)[last]
    assert not np.any(found.overflow)
    spikes = 0
    for b, sample in enumerate(RECORDED[name]):
        for n, recorded in enumerate(sample):
            times = np.asarray(found.times[b, n])
            np.testing.assert_allclose(times[np.isfinite(times)], recorded, rtol=1e-9)
            spikes += len(recorded)
    assert spikes >= 9


@pytest.mark.parametrize("name", NETS)
def test_a_network_has_the_spikes_of_jaxsnn(name):
    with jax.enable_x64(True):
        assert_recorded(written(NETS[name]), name)


def test_a_graph_is_read_as_jaxsnn_reads_it(tmp_path):
    name = "from a NIR graph"
    graph = nir_graph(NETS[name], LAYOUT["jaxsnn"])
    graph.nodes["lif0"].r *= 3.0  # which it does not read
    with jax.enable_x64(True):
        assert_recorded(interop.events_from_nir(graph, preset="jaxsnn"), name)
        nir.write(tmp_path / "chain.nir", graph)
        assert_recorded(interop.events_from_nir(tmp_path / "chain.nir", preset="jaxsnn"), name)


def test_in_the_layout_of_nir_the_same_network_needs_no_preset():
    name = "from a NIR graph"
    graph = nir_graph(NETS[name], LAYOUT["nir"])
    with jax.enable_x64(True):
        assert_recorded(interop.events_from_nir(graph, w_in="impulse", time_unit="ms"), name)
