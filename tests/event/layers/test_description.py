"""A module as a network has the spikes of the module."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError

TIMES = jnp.array([[1e-3, 2e-3, 4e-3], [0.0, 5e-3, 6e-3]])
LEARNED = jax.nn.initializers.uniform(3e-3)


def test_layers_with_delays_and_recurrence():
    layers = [
        event.LIF(5, 0.04, max_spikes=6, recurrent=True, delay=LEARNED, recurrent_delay=1e-3),
        event.LIF(2, 0.04, max_spikes=6),
    ]
    net = event.Sequential(layers)
    spikes, variables = net.init_with_output(jax.random.key(0), TIMES)
    found = event.simulate(
        event.as_network(net, variables), {"input": event.trains(TIMES)}, t_max=0.04, max_spikes=6
    )
    assert event.count(spikes).sum() > 4
    np.testing.assert_allclose(found["layers_1"].times, spikes.times, rtol=1e-6)


def test_a_readout():
    net = event.Sequential([event.LIF(5, 0.04), event.LI(2, 0.04)])
    largest, variables = net.init_with_output(jax.random.key(0), TIMES)
    network, inputs = event.as_network(net, variables), {"input": event.trains(TIMES)}
    found = event.simulate(network, inputs, t_max=0.04)
    read = event.voltages(network, inputs, found.trains, t_max=0.04)
    np.testing.assert_allclose(read["layers_1"], largest, rtol=1e-5)


def test_a_graph():
    net = event.Graph(
        [event.Population("a", 4, event.LIFParameters()), event.Population("b", 2, event.LIFParameters())],
        [
            ("in", "a"),
            event.Connection("a", "b", delay=LEARNED),
            event.Connection("b", "a", mask=np.eye(2, 4)),
        ],
        t_max=0.04,
        outputs="b",
        max_spikes=6,
    )
    spikes, variables = net.init_with_output(jax.random.key(3), TIMES)
    found = event.simulate(
        event.as_network(net, variables), {"in": event.trains(TIMES)}, t_max=0.04, max_spikes=6
    )
    np.testing.assert_allclose(found["b"].times, spikes.times, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: event.as_network(event.LIF(3, 0.04), {"params": {}}), "'weights' is missing"),
        (
            lambda: event.as_network(event.LI(3, 0.04), {"params": {"weights": jnp.ones((2, 3))}}),
            "no spiking neurons",
        ),
        (lambda: event.as_network("net", {}), "event.Sequential"),
    ],
)
def test_what_is_no_network_is_refused(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()
