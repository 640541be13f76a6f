"""Populations and connections as a module with weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import lif

from snnax import event
from snnax.errors import ArgumentError, GraphError, ShapeError
from snnax.event.layers import running

T_MAX = 6.0
KEY = jax.random.key(0)
POPULATIONS = [event.Population("a", 4, lif(v_leak=0.2)), event.Population("out", 2, lif())]
UNLIKE = 1 - np.eye(4)
CONNECTIONS = [
    ("x", "a"),
    event.Connection("a", "a", delay=0.3, mask=UNLIKE),
    event.Connection("a", "out", delay=jax.nn.initializers.uniform(0.5)),
    event.Connection("x", "out", jax.nn.initializers.normal(0.5)),
    ("x", "out"),
]

SHAPES = {
    "x_to_a": (3, 4), "a_to_a": (4, 4), "a_to_out": (4, 2), "a_to_out_delay": (4,), "x_to_out": (3, 2),
    "x_to_out_2": (3, 2),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def times(seed=0, inputs=3):
    return jnp.asarray(np.random.default_rng(seed).uniform(0, 2, (2, inputs)))


def graph(**given):
    start = {"populations": POPULATIONS, "connections": CONNECTIONS, "t_max": T_MAX, "max_spikes": 8}
    return event.Graph(**{**start, **given})


def test_the_weights_are_named_after_their_connections():
    shapes = jax.eval_shape(lambda: graph().init(KEY, times()))["params"]
    assert {name: value.shape for name, value in shapes.items()} == SHAPES


class Seen(Exception):
    """What the engine was to run."""


def test_its_weights_delays_and_masks_go_to_simulate(monkeypatch):
    def see(network, inputs, **options):
        raise Seen(network, inputs, options)

    monkeypatch.setattr(running, "simulate", see)
    drawn = {"a_to_out_delay": np.full(4, 0.2)} | {
        name: np.random.default_rng(number).normal(size=shape)
        for number, (name, shape) in enumerate(SHAPES.items())
        if name != "a_to_out_delay"
    }
    with pytest.raises(Seen) as seen:
        graph(engine="loop", max_events=50, max_in_flight=7).apply({"params": drawn}, times())
    network, inputs, options = seen.value.args
    assert options == {
        "t_max": T_MAX,
        "max_spikes": 8,
        "engine": "loop",
        "max_events": 50,
        "max_in_flight": 7,
    }
    assert network.populations == tuple(POPULATIONS) and (inputs["x"].times[:, :, 0] == times()).all()
    found = [(p.source, p.target, p.delay, p.mask is not None) for p in network.projections]
    assert found[:2] == [("x", "a", None, False), ("a", "a", 0.3, True)]
    assert [p[:2] for p in found[2:]] == [("a", "out"), ("x", "out"), ("x", "out")]
    assert (network.projections[2].delay == 0.2).all()
    names = [name for name in SHAPES if name != "a_to_out_delay"]
    for name, projection in zip(names, network.projections, strict=True):
        assert (projection.weights == drawn[name]).all()


def test_gradients_of_weights_and_delays_are_those_of_central_differences():
    net = graph(outputs="out", connections=[CONNECTIONS[0], *CONNECTIONS[2:4]], max_spikes=4)
    both, found = with_pull_back(lambda params: net.apply({"params": params}, times())), []
    for seed in range(4):
        params = net.init(jax.random.key(seed), times())["params"]
        found.append(gradient_error(both, params, np.random.default_rng(seed)))
    known = [error for error in found if error is not None]
    assert len(known) > 1 and max(known) < 1e-6


def test_several_inputs_and_outputs_go_by_name():
    net = graph(connections=[("x", "a"), ("y", "out"), ("a", "out")], outputs=["out"], silence=1.0)
    given = {"x": times(), "y": event.trains(times(1, 2))}
    (found, told), _ = jax.eval_shape(
        lambda: (
            net.apply(variables := net.init(KEY, given), given, mutable=["losses", "overflow"]),
            variables,
        )
    )
    assert [*found] == ["out"] and found["out"].times.shape == (2, 2, 8)
    assert told["overflow"]["spikes"].shape == (2, 6) and told["losses"]["silence"].shape == ()
    for wrong in ({"x": times()}, {**given, "z": times()}):
        with pytest.raises(GraphError, match=r"inputs named .*\['x', 'y'\]"):
            net.init(KEY, wrong)
    with pytest.raises(ArgumentError, match="dictionary of spike trains"):
        net.init(KEY, times())


def test_a_population_that_overflowed_flags_the_others():
    net = graph(connections=[("x", "a"), ("a", "out")], max_spikes=1)
    quiet = {"a_to_out": jnp.zeros((4, 2))}
    params = {**net.init(KEY, times())["params"], **quiet}
    run = jax.jit(lambda weights: net.apply({"params": {**params, "x_to_a": weights}}, times()))
    for weights, flagged in ((9.0, True), (0.0, False)):
        found = run(jnp.full((3, 4), weights))
        assert (found["a"].overflow == flagged).all() and (found["out"].overflow == flagged).all()


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"populations": []}, ArgumentError, r"Graph\(populations="),
        ({"connections": [("x", "a", "out")]}, ArgumentError, r"Graph\(connections="),
        ({"connections": [("x", "b"), *CONNECTIONS]}, GraphError, "ends at 'b'"),
        ({"connections": [("x", "a")]}, GraphError, "nothing projects to the population 'out'"),
        ({"outputs": "b"}, GraphError, r"outputs='b'"),
        ({"outputs": []}, ArgumentError, r"Graph\(outputs="),
        ({"t_max": "1 s"}, ArgumentError, r"Graph\(t_max="),
    ],
)
def test_what_does_not_fit_is_refused(given, kind, said):
    with pytest.raises(kind, match=said):
        graph(**given)


def test_a_mask_of_another_size_is_refused():
    net = graph(connections=[event.Connection("x", "a", mask=np.eye(3)), ("a", "out")])
    with pytest.raises(ShapeError, match=r"mask of shape \(3, 3\)"):
        net.init(KEY, times())
    with pytest.raises(ArgumentError, match=r"Connection\(mask="):
        event.Connection("x", "a", mask="all")
