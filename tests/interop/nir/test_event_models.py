"""Models of snnTorch's neurons as events: the same voltages at the ends of steps, the same spikes within a step."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import event, interop
from snnax.errors import ConversionError

DT, STEPS = 1e-3, 40
SAMPLE = jnp.ones((1, 3))


def model(alpha=0.8, beta=0.9, **given):
    given = {"init_hidden": True, "output": True, "reset_mechanism": "zero", **given}
    net = snn.Sequential([nn.Dense(4, use_bias=False), snn.Synaptic(alpha=alpha, beta=beta, **given)])
    return net, snn.utils.reset(net.init(jax.random.key(0), SAMPLE))


def raster():
    drawn = np.random.default_rng(0).uniform(size=(STEPS, 2, 3)) < 0.15
    return jnp.asarray(drawn, jnp.float32)


@pytest.mark.parametrize(("alpha", "beta"), [(0.8, 0.9), (0.9, 0.6), (0.85, 0.85)])
def test_voltages_below_the_threshold_are_those_of_the_model(alpha, beta):
    net, variables = model(alpha, beta, threshold=1e6)
    network, _ = interop.events_from_model(net, variables, SAMPLE, dt=DT)
    (projection,), (population,) = network.projections, network.populations
    x = raster()
    mem = snn.unroll(net, variables, x)[0][-1]
    ends = jnp.arange(1, STEPS + 1) * DT
    found = event.li_voltage(event.from_raster(x, DT), projection.weights, population.parameters, ends)
    np.testing.assert_allclose(found, mem, rtol=2e-4, atol=2e-4)


def test_first_spikes_are_in_the_step_in_which_the_model_sees_them():
    net, variables = model()
    network, notes = interop.events_from_model(net, variables, SAMPLE, dt=DT)
    x = raster()
    spk = np.asarray(snn.unroll(net, variables, x)[0][0])
    source = network.inputs[0]
    found = event.simulate(network, {source: event.from_raster(x, DT)}, t_max=STEPS * DT, max_spikes=30)
    (trains,) = found.trains.values()
    first = np.asarray(trains.times)[:, :, 0]
    seen = np.where(spk.any(0), spk.argmax(0), np.inf)
    assert np.isfinite(seen).sum() >= 3
    inside = np.floor(first[np.isfinite(seen)] / DT - 1e-4)
    np.testing.assert_array_equal(inside, seen[np.isfinite(seen)])
    assert any("one step later" in note for note in notes)


def test_neurons_without_a_synapse_get_one_if_asked():
    net = snn.Sequential([nn.Dense(2, use_bias=False), snn.Leaky(beta=0.9, init_hidden=True)])
    variables = net.init(jax.random.key(0), SAMPLE)
    with pytest.raises(ConversionError, match="synapse=1e-4"):
        interop.events_from_model(net, variables, SAMPLE, dt=DT)
    network, notes = interop.events_from_model(net, variables, SAMPLE, dt=DT, synapse=1e-5)
    assert network.populations[0].parameters.tau_mem == pytest.approx(-DT / np.log(0.9), rel=1e-5)
    assert any("synapse" in note for note in notes)


def test_a_network_of_snntorch():
    torch, snntorch = pytest.importorskip("torch"), pytest.importorskip("snntorch")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), snntorch.Synaptic(alpha=0.8, beta=0.9, init_hidden=True)
    )
    network, notes = interop.events_from_model(*interop.from_snntorch(theirs, torch.ones(1, 3)), dt=DT)
    assert network.sizes and any("subtracts" in note for note in notes)
    own = theirs[0].weight.detach().numpy().T
    np.testing.assert_allclose(network.projections[0].weights / own, np.full((3, 4), 11.18), rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reset_mechanism": "none"}, "'zero'"),
        ({"beta": 1.0}, "decay of 0 or 1"),
        ({"inhibition": True}, "inhibition"),
    ],
)
def test_what_events_have_not_is_refused(given, said):
    with pytest.raises(ConversionError, match=said):
        interop.events_from_model(*model(**given), SAMPLE, dt=DT)


def test_other_neurons_are_sent_to_their_conversion():
    net = snn.Sequential(
        [nn.Dense(2, use_bias=False), snn.CubaLIF(tau_mem=1e-2, tau_syn=5e-3, init_hidden=True)]
    )
    with pytest.raises(ConversionError, match="events_from_nir"):
        interop.events_from_model(net, net.init(jax.random.key(0), SAMPLE), SAMPLE, dt=DT)
