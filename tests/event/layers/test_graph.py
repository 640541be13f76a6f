"""Populations and connections as a module with weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import lif

from snnax import event
from snnax.errors import ArgumentError, GraphError, ShapeError

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
    assert {name: value.shape for name, value in shapes.items()} == {
        "x_to_a": (3, 4), "a_to_a": (4, 4), "a_to_out": (4, 2), "a_to_out_delay": (4,), "x_to_out": (3, 2),
        "x_to_out_2": (3, 2),
    }  # fmt: skip


def test_it_is_simulate_with_its_weights():
    mask = np.eye(3, 4)
    net = graph(connections=[event.Connection("x", "a", mask=mask), *CONNECTIONS[2:]])
    params = net.init(KEY, times())["params"]
    network = event.Network(
        POPULATIONS,
        [
            event.Projection("x", "a", params["x_to_a"], mask=mask),
            event.Projection("a", "out", params["a_to_out"], delay=params["a_to_out_delay"]),
            event.Projection("x", "out", params["x_to_out"] + params["x_to_out_2"]),
        ],
    )
    options = {"t_max": T_MAX, "max_spikes": 8}
    found, want = jax.jit(
        lambda: (
            net.apply({"params": params}, times()),
            event.simulate(network, {"x": event.trains(times())}, **options),
        )
    )()
    for name in ("a", "out"):
        np.testing.assert_allclose(np.asarray(found[name].times), np.asarray(want[name].times), rtol=1e-12)
    assert np.isfinite(found["out"].times).sum() > 4


def test_gradients_of_weights_and_delays_are_those_of_central_differences():
    net = graph(outputs="out")
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
