"""Events are the limit of time steps: the verdict says so where it is true, and finds what is planted."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

from snnax import event, interop
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.event_bounds import step_bounds

INPUTS = event.from_lists([[[1e-3, 9e-3], [4e-3], [6e-3]], [[0.0], [2e-3, 3e-3], [11e-3]]])
STEPS = (2e-4, 1e-4, 5e-5)


def network(v_reset=-0.3, scale=1.0, **given):
    draw = np.random.default_rng(4)
    neurons = event.LIFParameters(v_reset=v_reset, **given)
    return event.Network(
        [event.Population("hidden", 4, neurons), event.Population("out", 2, neurons)],
        [
            event.Projection("in", "hidden", jnp.asarray(scale * draw.uniform(1, 4, (3, 4)))),
            event.Projection("hidden", "out", jnp.asarray(draw.uniform(1, 3, (4, 2)))),
        ],
    )


def of_another_writer(net):
    graph = interop.events_to_nir(net)
    return nir.NIRGraph(graph.nodes, graph.edges, type_check=False)


def report(a, b=None, steps=STEPS, **given):
    return interop.crossvalidate_events(a, INPUTS, b, t_max=0.03, steps=steps, **given)


def test_steps_converge_to_events_with_order_one():
    found = report(network())
    assert found.agree, str(found)
    assert {row.engine for row in found.rows} == {"dense", "referee"}
    assert sum(row.spikes for row in found.finest) > 10
    assert all(0.7 < order < 1.3 for order in found.order.values()), str(found)


def test_cycles_and_delays():
    net = network()
    back = event.Projection("out", "hidden", jnp.full((2, 4), -0.5))
    late = replace(net.projections[1], delay=2e-3)
    found = report(replace(net, projections=(net.projections[0], late, back)), steps=(1e-4, 5e-5))
    assert found.agree, str(found)


def of_two_inputs():
    """The network with its inputs in two parts, of which one is late; and the trains of these."""
    net, (first, second) = network(), network().projections
    parts = {"a": [0, 1], "b": [2]}
    split = [
        event.Projection("a", "hidden", first.weights[:2], delay=np.array([0.0, 1e-3])),
        event.Projection("b", "hidden", first.weights[2:]),
    ]
    trains = {name: event.Trains(*(leaf[:, rows] for leaf in INPUTS)) for name, rows in parts.items()}
    return replace(net, projections=(*split, second)), trains


def test_several_inputs():
    net, trains = of_two_inputs()
    found = interop.crossvalidate_events(net, trains, t_max=0.03, steps=(5e-5,))
    assert found.agree, str(found)
    exact = event.simulate(net, trains, t_max=0.03, max_spikes=16)
    for row in found.rows:
        assert row.spikes == int(event.count(exact[row.population]).sum()) > 0


def test_a_module_with_its_weights():
    net = event.Sequential([event.LIF(4, 0.03, max_spikes=4), event.LI(2, 0.03)])
    variables = net.init(jax.random.key(1), INPUTS)
    assert report((net, variables), steps=(1e-4, 5e-5)).agree


@pytest.mark.parametrize(
    "change", [{"tau_mem": 10.5e-3}, {"tau_syn": 4.7e-3}, {"threshold": 1.03}, {"scale": 1.03}]
)
def test_another_network_is_found(change):
    graph = interop.events_to_nir(network(**change), dt=1e-4)
    found = report(network(), graph, steps=(5e-5,))
    assert not found.agree and found.unexplained, str(found)
    assert report(network(), interop.events_to_nir(network(), dt=1e-4), steps=(5e-5,)).agree


def read_out(tau_mem=15e-3, **given):
    """The network with a readout of its hidden neurons, and of its inputs later."""
    net, draw = network(**given), np.random.default_rng(5)
    weights = draw.uniform(-1, 1, (7, 2))
    more = (
        event.Projection("hidden", "read", jnp.asarray(weights[:4])),
        event.Projection("in", "read", jnp.asarray(weights[4:]), delay=1.2e-3),
    )
    readout = event.Readout("read", 2, event.LIParameters(tau_mem=tau_mem))
    return replace(net, projections=(*net.projections, *more), readouts=(readout,))


def test_voltages_of_readouts():
    found = report(read_out())
    assert found.agree and found.to_dict()["voltages"], str(found)
    assert " read " in str(found)
    for engine in ("dense", "referee"):
        rows = [row for row in found.voltages if row.engine == engine]
        assert [row.dt for row in rows] == [*STEPS] and {row.readout for row in rows} == {"read"}
        assert rows[0].mean_error > 2 * rows[-1].mean_error > 0
        assert all(row.max_error >= row.mean_error and not row.unexplained for row in rows)


def test_another_readout_is_found():
    graph = interop.events_to_nir(read_out(tau_mem=15.1e-3), dt=1e-4)
    found = report(read_out(), graph, steps=(5e-5,))
    assert not found.agree and not any(row.unexplained for row in found.rows)
    assert all(row.unexplained > 100 for row in found.voltages)
    assert found.unexplained == sum(row.unexplained for row in found.voltages)


def test_neurons_that_fire_once():
    found = report(read_out(refractory=np.inf), steps=(1e-4, 5e-5))
    assert found.agree, str(found)
    assert {row.spikes for row in found.finest if row.population == "hidden"} == {8}


def test_bounds_hold_for_spikes_that_are_seen_late():
    """Of an exact neuron whose resets are late by up to dt, by brute force: its spikes are within the bounds."""
    neurons = event.LIFParameters(v_reset=-0.3)
    weights, dt = np.array([[5.0], [4.0]]), 1e-5
    heard = event.trains(jnp.asarray([[1e-3, 4e-3]]))
    with jax.enable_x64(True):
        exact = np.asarray(
            event.lif_spikes(
                event.trains(np.asarray(heard.times, float)), weights, neurons, t_max=0.03, max_spikes=8
            ).times
        )
    bounds = step_bounds(np.asarray(heard.times, float)[:, :, 0], np.zeros(2), weights, exact, neurons, dt)
    v, current, seen, fine = 0.0, 0.0, [], 1e-8
    mem, syn = np.exp(-fine / neurons.tau_mem), np.exp(-fine / neurons.tau_syn)
    response = (mem - syn) * neurons.tau_syn / (neurons.tau_mem - neurons.tau_syn)
    arrivals = dict(
        zip(
            np.round(np.asarray(heard.times)[0, :, 0] / fine).astype(int).tolist(), weights[:, 0], strict=True
        )
    )
    for k in range(round(0.012 / fine)):
        current += arrivals.get(k, 0.0)
        v, current = v * mem + current * response, current * syn
        if (k + 1) % round(dt / fine) == 0 and v > neurons.threshold:
            seen.append((k + 1) * fine)
            v = neurons.v_reset
    times = exact[0, 0][np.isfinite(exact[0, 0])]
    assert len(seen) >= 2
    late = np.array(seen) - times[: len(seen)]
    assert (np.abs(late) <= 1.1 * bounds[0, 0, : len(seen)] + 1e-8).all()
    assert (np.abs(late) > 0).any()


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: report(network(refractory=1e-3)), ConversionError, "refractory"),
        (
            lambda: report(network(refractory=np.inf, tau_mem=1e-5, tau_syn=1e-5)),
            ConversionError,
            "shorter t_max",
        ),
        (lambda: report(read_out(), interop.events_to_nir(network())), ShapeError, r"a has \['read'\]"),
        (lambda: report(network(), steps=(7e-4,)), ArgumentError, "parts of t_max"),
        (lambda: report(network(), max_spikes=1), ArgumentError, "max_spikes=2"),
        (lambda: report("net"), ArgumentError, "event.Network"),
        (lambda: report(network(), of_another_writer(network())), ArgumentError, "dt=1e-4"),
        (
            lambda: report(
                network(),
                interop.events_to_nir(event.Network(network().populations[:1], network().projections[:1])),
            ),
            ShapeError,
            "as many",
        ),
        (lambda: report(of_two_inputs()[0]), ArgumentError, r"spike trains of each of \['a', 'b'\]"),
        (
            lambda: interop.crossvalidate_events(
                of_two_inputs()[0], dict.fromkeys("ab", INPUTS), t_max=0.03, steps=(1e-4,)
            ),
            ShapeError,
            r"inputs\['a'\] of 3 neurons",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()
