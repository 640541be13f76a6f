"""Networks of events read from NIR and written to it: the same network back, and the limit of steps without end."""

from itertools import pairwise

import jax.numpy as jnp
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import event, interop
from snnax.errors import ArgumentError, ConversionError, GraphError, ShapeError
from snnax.interop import reference

MILLI = 1e-3


def cuba(size, **given):
    one = np.ones(size)
    values = {
        "tau_mem": 10 * MILLI,
        "tau_syn": 5 * MILLI,
        "r": 1.0,
        "v_leak": 0.0,
        "v_threshold": 1.0,
        "w_in": 1.0,
    }
    return nir.CubaLIF(**{name: one * value for name, value in {**values, **given}.items()})


def bare(kind, size=3, **given):
    """Neurons without a synapse."""
    values = {"tau": 10 * MILLI, "r": 1.0, "v_leak": 0.0, **given}
    if kind is nir.LIF:
        values["v_threshold"] = 1.0
    return kind(**{name: np.full(size, value) for name, value in values.items()})


def between(*layers, neurons=None, size=3):
    """Two inputs, some layers, three neurons."""
    nodes = {"input": nir.Input({"input": np.array([2])}), **{f"n{k}": node for k, node in enumerate(layers)}}
    nodes |= {
        "lif": cuba(size) if neurons is None else neurons,
        "output": nir.Output({"output": np.array([size])}),
    }
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)), type_check=False)


def weights(seed=0, shape=(3, 2)):
    return np.random.default_rng(seed).uniform(1.0, 4.0, shape)


def only(graph, **given):
    (projection,) = interop.events_from_nir(graph, **{"w_in": "impulse", **given}).projections
    return projection


def cycle():
    """Two populations in a cycle, one way with delays, and an input to each."""
    values = np.random.default_rng(3)
    draw = lambda low, high, *shape: jnp.asarray(values.uniform(low, high, shape), jnp.float32)  # noqa: E731
    neurons = event.LIFParameters(tau_mem=12 * MILLI, tau_syn=4 * MILLI, v_reset=-0.5)
    return event.Network(
        [event.Population("a", 4, neurons), event.Population("b", 3, event.LIFParameters())],
        [
            event.Projection("in", "a", draw(2, 5, 2, 4)),
            event.Projection("a", "b", draw(1, 3, 4, 3), delay=draw(1 * MILLI, 3 * MILLI, 4)),
            event.Projection("b", "a", draw(-2, 1, 3, 4), mask=np.eye(3, 4)),
            event.Projection("in", "b", draw(1, 3, 2, 3), delay=2 * MILLI),
        ],
    )


def spikes(network, name, inputs, t_max=0.04):
    return event.simulate(network, inputs, t_max=t_max, max_spikes=8)[name]


def test_a_network_comes_back_with_the_same_spikes_from_a_file(tmp_path):
    network, inputs = cycle(), {"in": event.from_lists([[[1e-3, 8e-3], [4e-3]], [[0.0], [2e-3, 3e-3]]])}
    interop.write_nir(tmp_path / "cycle.nir", interop.events_to_nir(network, ["a", "b"]))
    again = interop.events_from_nir(tmp_path / "cycle.nir")
    assert again.sizes == network.sizes and again.inputs == network.inputs
    for name in ("a", "b"):
        there, back = spikes(network, name, inputs), spikes(again, name, inputs)
        assert event.count(there).sum() > 4 and not np.any(there.overflow)
        np.testing.assert_allclose(back.times, there.times, rtol=1e-5)


STEPS = {"w_in": "decayed_impulse", "discretization": "exact"}


def by_flax(graph, raster, dt):
    return snn.unroll(*interop.from_nir(graph, dt, **STEPS), raster)[0]


def by_the_referee(graph, raster, dt):
    return reference.simulate(graph, np.asarray(raster), dt=dt, **STEPS).nodes["lif"].spk


@pytest.mark.parametrize("run", [by_flax, by_the_referee])
def test_steps_converge_to_events_with_their_length(run):
    """First order: a spike counts at the end of its step, so that halving the step halves the error."""
    graph = between(nir.Linear(weights()), neurons=cuba(3, v_reset=-0.2))
    network = interop.events_from_nir(graph, w_in="impulse")
    inputs = event.from_lists([[[2e-3, 6e-3], [4e-3]]])
    exact = spikes(network, "lif", {"input": inputs}).times[0]
    errors = []
    for dt in (2e-4, 1e-4, 5e-5):
        fired = run(graph, event.to_raster(inputs, dt, round(0.04 / dt)), dt)
        found = [(np.flatnonzero(fired[:, 0, n]) + 1) * dt for n in range(3)]
        assert [len(times) for times in found] == np.isfinite(exact).sum(1).tolist()
        late = [times - np.asarray(exact[n])[: len(times)] for n, times in enumerate(found)]
        errors.append(np.abs(np.concatenate(late)).mean())
    assert errors[0] > 1.5 * errors[1] > 1.5**2 * errors[2]
    assert errors[2] < 1e-4


def test_gains_are_in_the_weights():
    w = weights()
    graph = between(nir.Linear(w), neurons=cuba(3, r=[1.0, 2.0, 3.0], w_in=0.5))
    expected = w.T * [0.5, 1.0, 1.5]
    np.testing.assert_allclose(only(graph).weights, expected, rtol=1e-6)
    np.testing.assert_allclose(only(graph, w_in="ode", dt=1e-3).weights, expected / 5, rtol=1e-6)


def test_milliseconds():
    graph = between(
        nir.Delay(np.array([1.0, 2.0])), nir.Linear(weights()), neurons=cuba(3, tau_mem=10, tau_syn=5)
    )
    network = interop.events_from_nir(graph, w_in="impulse", time_unit="ms")
    assert network.populations[0].parameters == event.LIFParameters()
    np.testing.assert_allclose(network.projections[0].delay, [1e-3, 2e-3])


def test_layers_on_a_way_are_one_projection():
    one, two = weights(1, (4, 2)), weights(2, (3, 4))
    late = nir.Delay(np.array([1e-3, 3e-3]))
    graph = between(
        late,
        nir.Scale(np.array([1.0, 2.0])),
        nir.Linear(one),
        nir.Affine(two, np.zeros(3)),
        nir.Delay(np.full(3, 1e-3)),
    )
    found = only(graph)
    np.testing.assert_allclose(found.weights, (two @ one @ np.diag([1.0, 2.0])).T, rtol=1e-6)
    np.testing.assert_allclose(found.delay, [2e-3, 4e-3], rtol=1e-6)


def test_parallel_layers_add_up():
    graph = between(nir.Linear(weights(1)))
    graph.nodes["other"] = nir.Linear(weights(2))
    graph.edges += [("input", "other"), ("other", "lif")]
    np.testing.assert_allclose(only(graph).weights, (weights(1) + weights(2)).T, rtol=1e-6)


def test_one_number_for_all_neurons():
    graph = between(nir.Linear(weights()), neurons=cuba(()))
    assert interop.events_from_nir(graph, w_in="impulse").sizes == {"lif": 3}


def test_voltages_start_at_zero():
    graph = between(nir.Linear(weights()), neurons=cuba(3, v_leak=0.5))
    assert interop.events_from_nir(graph, w_in="impulse").populations[0].parameters.v_initial == 0.0


@pytest.mark.parametrize(
    ("layers", "neurons", "error", "said"),
    [
        ([nir.Affine(weights(), np.ones(3))], None, ConversionError, "bias"),
        (
            [nir.Linear(weights()), nir.Delay(np.array([1e-3, 2e-3, 3e-3]))],
            None,
            ConversionError,
            "in front of them",
        ),
        ([nir.Threshold(np.ones(2)), nir.Linear(weights())], None, ConversionError, "Threshold"),
        ([nir.Linear(weights())], cuba(3, tau_mem=[1e-2, 2e-2, 1e-2]), ConversionError, "node of its own"),
        ([nir.Linear(weights())], cuba(3, v_leak=1.0), ConversionError, "threshold"),
        ([nir.Linear(weights())], nir.IF(np.ones(3), np.ones(3)), ConversionError, "no CubaLIF"),
        ([nir.Linear(weights())], bare(nir.LIF), ConversionError, "synapse=1e-4"),
        ([nir.Linear(weights(0, (4, 2)))], None, ShapeError, "3 neurons"),
        ([nir.Linear(weights(0, (4, 2))), nir.Linear(weights(0, (3, 5)))], None, ShapeError, "takes 5"),
        ([nir.Delay(np.ones(5)), nir.Linear(weights())], None, ShapeError, "5 are delayed"),
    ],
)
def test_what_is_no_network_of_events_is_refused(layers, neurons, error, said):
    with pytest.raises(error, match=said):
        interop.events_from_nir(between(*layers, neurons=neurons), w_in="impulse")


def test_an_output_of_no_spikes_is_refused():
    graph = between(nir.Linear(weights()))
    graph.edges.append(("n0", "output"))
    with pytest.raises(ConversionError, match="neither spikes"):
        interop.events_from_nir(graph, w_in="impulse")


def test_what_a_spike_adds_is_never_guessed():
    with pytest.raises(ArgumentError, match="w_in='impulse'"):
        interop.events_from_nir(between(nir.Linear(weights())))


@pytest.mark.parametrize(
    ("given", "said"), [({"refractory": 1e-3}, "refractory"), ({"v_leak": 0.5}, "v_initial=0.0")]
)
def test_what_nir_cannot_say_is_refused(given, said):
    network = event.Network(
        [event.Population("out", 1, event.LIFParameters(**given))],
        [event.Projection("in", "out", jnp.ones((1, 1)))],
    )
    with pytest.raises(ConversionError, match=said):
        interop.events_to_nir(network)


def test_outputs_are_populations():
    with pytest.raises(ArgumentError, match="none of"):
        interop.events_to_nir(cycle(), ["c"])


def test_a_population_without_input_is_refused():
    graph = between(nir.Linear(weights()))
    graph.edges.remove(("n0", "lif"))
    with pytest.raises(GraphError):
        interop.events_from_nir(graph, w_in="impulse")


def read_out(readout, **given):
    """Three neurons, and two integrators of their spikes."""
    graph = between(nir.Linear(weights()), neurons=cuba(3, **given))
    graph.nodes |= {"read": nir.Linear(weights(5, (2, 3))), "voltage": readout}
    graph.nodes["output"] = nir.Output({"output": np.array([2])})
    graph.edges = [e for e in graph.edges if e[1] != "output"] + [
        ("lif", "read"),
        ("read", "voltage"),
        ("voltage", "output"),
    ]
    return graph


def cubali(size=2, **given):
    values = {"tau_mem": 20 * MILLI, "tau_syn": 5 * MILLI, "r": 1.0, "v_leak": 0.0, "w_in": 1.0, **given}
    return nir.CubaLI(**{name: np.full(size, value) for name, value in values.items()})


INPUTS = {"input": event.from_lists([[[2e-3, 6e-3], [4e-3]]])}


def test_steps_of_a_readout_converge_to_its_voltage():
    graph = read_out(cubali(r=2.0))
    network = interop.events_from_nir(graph, w_in="impulse")
    found = event.simulate(network, INPUTS, t_max=0.04, max_spikes=8)
    errors = []
    for dt in (8e-4, 2e-4, 5e-5):
        steps = round(0.04 / dt)
        stepped = by_flax(graph, event.to_raster(INPUTS["input"], dt, steps), dt)
        exact = event.voltages(network, INPUTS, found.trains, times=jnp.arange(1, steps + 1) * dt)["voltage"]
        assert stepped.shape == exact.shape
        errors.append(float(jnp.abs(stepped - exact).mean() / jnp.abs(exact).mean()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.01


def test_readouts_come_back_from_a_file(tmp_path):
    network = interop.events_from_nir(read_out(cubali()), w_in="impulse")
    interop.write_nir(tmp_path / "read.nir", interop.events_to_nir(network))
    again = interop.events_from_nir(tmp_path / "read.nir")
    assert again.readouts == network.readouts
    largest = [
        event.voltages(n, INPUTS, event.simulate(n, INPUTS, t_max=0.04, max_spikes=8).trains, t_max=0.04)[
            "voltage"
        ]
        for n in (network, again)
    ]
    np.testing.assert_allclose(largest[1], largest[0], rtol=1e-5)


def test_a_synapse_for_neurons_without_one_keeps_the_charge():
    """With a vanishing synapse the voltage is that of NIR's LI, whose jumps are r w dt / tau."""
    graph = read_out(bare(nir.LI, 2, r=3.0))
    network = interop.events_from_nir(graph, 1e-3, synapse=1e-6)
    found = event.simulate(network, INPUTS, t_max=0.04, max_spikes=8)
    times = jnp.linspace(0.011, 0.04, 7)
    voltage = event.voltages(network, INPUTS, found.trains, times=times)["voltage"][:, 0]
    passed = np.asarray(times)[:, None, None] - np.asarray(found["lif"].times[0])[None]
    jumps = np.where(passed > 0, np.exp(-np.maximum(passed, 0) / (10 * MILLI)), 0).sum(-1)
    np.testing.assert_allclose(voltage, 3.0 * 1e-3 / (10 * MILLI) * jumps @ weights(5, (2, 3)).T, rtol=1e-3)


def test_a_spike_of_a_neuron_without_synapse_lifts_it_by_its_weight():
    network = interop.events_from_nir(
        between(nir.Linear(weights()), neurons=bare(nir.LIF)), w_in="impulse", synapse=1e-6
    )
    inputs = {"input": event.from_lists([[[2e-3], []]])}
    found = event.simulate(network, inputs, t_max=0.04)["lif"].times[0, :, 0]
    np.testing.assert_allclose(found, np.where(weights()[:, 0] > 1, 2e-3, np.inf), atol=1e-5)


@pytest.mark.parametrize(
    ("graph", "said"),
    [(read_out(cubali(v_leak=0.5)), "starts at v_leak"), (read_out(bare(nir.LI, 2)), "CubaLI")],
)
def test_readouts_that_are_not_the_same_are_refused(graph, said):
    with pytest.raises(ConversionError, match=said):
        interop.events_from_nir(graph, w_in="impulse")


def test_voltages_are_no_spikes():
    graph = read_out(cubali())
    graph.nodes |= {"back": nir.Linear(weights(6, (3, 2)))}
    graph.edges += [("voltage", "back"), ("back", "lif")]
    with pytest.raises(ConversionError, match="no spikes"):
        interop.events_from_nir(graph, w_in="impulse")


def test_a_way_of_a_thousand_layers_is_read():
    graph = between(*[nir.Scale(np.full(2, 1.0)) for _ in range(1500)], nir.Linear(weights()))
    np.testing.assert_allclose(only(graph).weights, weights().T, rtol=1e-6)


def test_a_cycle_without_neurons_is_refused():
    graph = between(nir.Linear(weights(0, (2, 2))), nir.Linear(weights()))
    graph.nodes["loop"] = nir.Linear(weights(0, (2, 2)))
    graph.edges += [("n0", "loop"), ("loop", "n0")]
    with pytest.raises(ConversionError, match="cycle without neurons"):
        interop.events_from_nir(graph, w_in="impulse")
