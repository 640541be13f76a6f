"""NIR's neurons as members of networks."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.nir_neurons import parameters

import snnax as snn
from snnax.errors import ArgumentError


def network():
    p = parameters("CubaLIF", 4)
    lif = {name: p[name] for name in ("v_leak", "v_threshold", "v_reset")}
    return snn.Sequential(
        [
            nn.Dense(4),
            snn.LIF(p["tau_mem"], 6.0, **lif, init_hidden=True),
            snn.CubaLI(3e-4, p["tau_mem"], 9.0, learn=("tau_syn",), init_hidden=True, output=True),
            nn.Dense(4),
            snn.CubaLIF(2e-4, 5e-4, 4.0, w_in=4.0, discretization="exact", init_hidden=True),
            snn.LI(5e-4, 2.0, v_leak=[0.1, 0.2, 0.3, 0.4], init_hidden=True, output=True),
        ]
    )


def test_a_network_of_them_does_not_depend_on_the_chunks():
    net, x = network(), jnp.asarray(3 * twin.current((13, 2, 3)))
    variables = twin.weights(net, x[0])
    assert {name: sorted(v) for name, v in variables.items()} == {
        "params": ["layers_0", "layers_2", "layers_3"],
        "buffers": ["layers_1", "layers_2", "layers_5"],
    }
    (out, mem), updates, recorded = snn.unroll(net, variables, x, record=True)
    assert out.shape == (13, 2, 4)
    assert np.array_equal(out, mem)
    assert sorted(recorded["layers_1"]) == ["input", "mem", "spk"]
    assert sorted(recorded["layers_2"]) == ["input", "mem", "syn"]
    assert sorted(recorded["layers_5"]) == ["input", "mem"]
    assert {0.0, 1.0} == {*np.unique(recorded["layers_4"]["spk"]).tolist()}
    np.testing.assert_array_equal(recorded["layers_5"]["mem"], mem)
    np.testing.assert_array_equal(updates["hidden"]["layers_5"]["mem"], mem[-1])
    (other, _), _ = snn.unroll(net, variables, x, chunk=5)
    np.testing.assert_allclose(other, out, rtol=0, atol=1e-6)


def test_teacher_forcing_takes_spikes_and_membranes():
    net, x = network(), jnp.asarray(3 * twin.current((5, 2, 3)))
    variables = twin.weights(net, x[0])
    spikes = jnp.ones((5, 2, 4))
    _, _, own = snn.unroll(net, variables, x, record=True, force={"layers_1": spikes})
    np.testing.assert_array_equal(own["layers_2"]["input"], spikes)
    given = jnp.full_like(own["layers_2"]["mem"], 0.5)
    _, _, recorded = snn.unroll(net, variables, x, record=True, force={"layers_1": spikes, "layers_2": given})
    np.testing.assert_array_equal(recorded["layers_2"]["mem"], own["layers_2"]["mem"])
    assert not np.array_equal(recorded["layers_4"]["input"], own["layers_4"]["input"])
    assert np.ptp(np.asarray(recorded["layers_4"]["input"]), axis=(0, 1)).max() < 1e-6
    with pytest.raises(
        ArgumentError, match=r"names no neuron; the neurons are \['layers_1', 'layers_2', 'layers_4', "
    ):
        snn.unroll(net, variables, x, force={"layers_9": spikes})


def test_a_graph_reads_the_states_of_one_that_does_not_spike():
    net = snn.Graph(
        nodes={"li": snn.CubaLI(2e-4, 4e-4, init_hidden=True, output=True), "syn": snn.State("syn")},
        edges=[("input", "li"), ("li", "syn"), ("syn", "output")],
        outputs=[("li", "out"), ("li", "mem"), ("syn", "out")],
    )
    (out, mem, syn), _ = snn.unroll(net, {}, jnp.ones((3, 1, 2)))
    np.testing.assert_array_equal(out, mem)
    assert syn[:, 0, 0].tolist() == [0.5, 0.75, 0.875]
