"""The engine that is picked, and that all engines agree on what a network does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import lif

from snnax import event
from snnax.errors import ArgumentError, GraphError
from snnax.event import Network, Population, Projection

INF = np.inf
ONCE = lif(refractory=INF)
T_MAX = 6.0


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def chain(generator, delay=None):
    """Two inputs, three layers with a skip, delays that differ."""
    draw = generator.normal

    return Network(
        [Population("a", 5, lif(v_leak=0.2)), Population("b", 4, lif(1.3)), Population("out", 2, lif())],
        [
            Projection("x", "a", draw(1.5, 1, (3, 5))),
            Projection("y", "a", draw(0.5, 1, (2, 5)), delay=0.3),
            Projection("a", "b", draw(0.3, 0.7, (5, 4)), mask=generator.random((5, 4)) < 0.8),
            Projection("a", "out", draw(0.2, 0.5, (5, 2)), delay=generator.uniform(0, 1, 5)),
            Projection("b", "out", draw(0.5, 0.5, (4, 2))),
        ],
    )


def cycle(generator, delays, parameters=ONCE):
    """Two populations that feed each other, one of them itself, and a readout."""
    draw = generator.normal
    forward, back, own = delays
    return Network(
        [Population("a", 4, parameters), Population("out", 2, lif()), Population("b", 3, parameters)],
        [
            Projection("x", "a", draw(2.5, 1, (3, 4))),
            Projection("a", "b", draw(1.5, 0.5, (4, 3)), delay=forward),
            Projection("b", "a", draw(0, 0.5, (3, 4)), delay=back),
            Projection("b", "b", draw(0, 0.5, (3, 3)), delay=own, mask=1 - np.eye(3)),
            Projection("b", "out", draw(2, 1, (3, 2)), delay=0.2),
        ],
    )


def trains(generator, *names):
    sizes = {"x": (2, 3, 1), "y": (2, 2, 2)}
    return {name: event.trains(generator.uniform(0, 2, sizes[name])) for name in names}


def run(network, inputs, **options):
    return event.simulate(network, inputs, **{"t_max": T_MAX, "max_spikes": 10, **options})


@pytest.mark.parametrize(
    ("delays", "parameters", "engine"),
    [
        ((None, None, None), ONCE, "loop"),
        ((1.0, 1.0, None), ONCE, "loop"),
        ((1.0, 1.0, np.full(3, 2.0)), ONCE, "relaxation"),
        ((1.0, 1.0, 1.0), lif(), "loop"),
        ((1.0, 0.1, 1.0), ONCE, "loop"),
    ],
)
def test_the_engine_is_picked_for_each_part_and_told(delays, parameters, engine):
    generator = np.random.default_rng(0)
    network = cycle(generator, delays, parameters)
    options = {"max_spikes": 1} if parameters is ONCE else {}

    def simulated(inputs):
        return run(network, inputs, **options)

    found = jax.eval_shape(simulated, trains(generator, "x"))
    assert found.engines == {"a": engine, "out": "feedforward", "b": engine}


def test_delays_that_are_traced_may_become_anything():
    generator = np.random.default_rng(0)
    network = cycle(generator, (1.0, 1.0, 1.0))
    assert jax.eval_shape(run, network, trains(generator, "x")).engines["a"] == "loop"


def compared(network, inputs, engine, **options):
    """Times of all populations, and gradients of a weighted sum, of one engine and of one loop for all."""

    def all_times(net, engine):
        found = run(net, inputs, engine=engine, **options)
        joint = event.concatenated(*found.trains.values())
        return joint.times, joint.overflow

    pair = [with_pull_back(lambda net, e=e: all_times(net, e))(network, 1.0) for e in (engine, "loop")]
    (times, overflow, gradient), (expected, looped_overflow, looped_gradient) = pair
    assert not overflow.any() and not looped_overflow.any() and np.isfinite(times).sum() > 10
    np.testing.assert_allclose(times, expected, rtol=0, atol=1e-11)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), gradient, looped_gradient
    )
    return gradient


def test_layers_and_loop_agree_on_a_chain_with_skips_and_delays():
    generator = np.random.default_rng(2)
    network = jax.tree.map(jnp.asarray, chain(generator))
    gradient = compared(network, trains(generator, "x", "y"), "feedforward")
    hidden = ~network.projections[2].mask.values
    assert hidden.any() and (np.asarray(gradient.projections[2].weights)[hidden] == 0).all()


@pytest.mark.parametrize("engine", ["auto", "relaxation"])
def test_parts_and_loop_agree_on_a_cycle(engine):
    generator = np.random.default_rng(1)
    delays = (0.4, 0.3, np.array([0.2, 0.5, 0.3])) if engine == "relaxation" else (None, 0.3, None)
    network = jax.tree.map(jnp.asarray, cycle(generator, delays, lif(v_reset=-0.3)))
    compared(network, trains(generator, "x"), engine)


def test_gradients_through_loops_and_layers_are_those_of_differences():
    generator = np.random.default_rng(1)
    network = jax.tree.map(jnp.asarray, cycle(generator, (0.4, None, 0.1), lif(v_reset=-0.3)))
    inputs = trains(generator, "x")

    def out(parts):
        found = run(parts[0], {"x": inputs["x"]._replace(times=parts[1])})["out"]
        return found.times, found.overflow

    assert gradient_error(with_pull_back(out), (network, inputs["x"].times), generator) < 1e-6


def test_a_budget_that_cuts_is_flagged():
    generator = np.random.default_rng(1)
    network = cycle(generator, (None, None, None), lif())
    found = run(network, trains(generator, "x"), max_events=5)
    assert found["a"].overflow.all() and found["b"].overflow.all()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"engine": "fast"}, ArgumentError, "one of 'auto', 'feedforward', 'loop', 'relaxation'"),
        ({"engine": "feedforward"}, GraphError, r"\['a', 'b'\] are in a cycle; write engine='auto'"),
        ({"engine": "relaxation"}, GraphError, r"\('b', 'a'\).* have no delay"),
        ({"inputs": {}}, GraphError, r"expected trains for \['x'\]"),
        ({"inputs": {"x": np.ones((1, 3))}}, ArgumentError, r"simulate\(inputs\['x'\]="),
        ({"network": None}, ArgumentError, "simulate\\(network="),
    ],
)
def test_what_cannot_run_is_refused_with_what_can(options, error, said):
    generator = np.random.default_rng(0)
    arguments = {"network": cycle(generator, (1.0, None, 1.0)), "inputs": trains(generator, "x"), **options}
    with pytest.raises(error, match=said):
        run(**arguments)


@pytest.mark.parametrize("engine", ["feedforward", "loop", "relaxation"])
def test_python_dispatches_no_loop_of_an_engine(engine):
    """Outside of ``jit``, too, an engine is one compiled program: its loops would be traced anew in each call."""
    generator = np.random.default_rng(0)
    network = chain(generator) if engine == "feedforward" else cycle(generator, (1.0, 1.0, 1.0))
    given = trains(generator, *network.inputs)
    run = jax.make_jaxpr(lambda given: simulate_trains(network, given, engine))
    called = {equation.primitive.name for equation in run(given).eqns}
    assert called and not called & {"scan", "while", "custom_vjp_call"}


def simulate_trains(network, given, engine):
    return event.simulate(network, given, t_max=T_MAX, engine=engine).trains
