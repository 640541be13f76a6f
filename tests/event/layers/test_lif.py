"""The layer does what the engines do with its parameters, and says what it lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import lif

from snnax import event
from snnax.errors import ArgumentError, ShapeError
from snnax.event.layers import running

T_MAX = 6.0
KEY = jax.random.key(0)
DELAYS = jax.nn.initializers.uniform(1.0)


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def times(seed=0, shape=(2, 4, 2)):
    return jnp.asarray(np.random.default_rng(seed).uniform(0, 3, shape))


def layer(**given):
    return event.LIF(**{"features": 3, "t_max": T_MAX, "parameters": lif(), "max_spikes": 4, **given})


@pytest.mark.parametrize("recurrent", [False, True])
def test_it_is_what_the_engines_do_with_its_weights(recurrent):
    drawn = {"recurrent_init": jax.nn.initializers.normal(0.5)} if recurrent else {}
    module = layer(recurrent=recurrent, delay=0.25, **drawn)
    variables = module.init(KEY, times())
    shapes = {name: value.shape for name, value in variables["params"].items()}
    assert [*variables] == ["params"]
    assert shapes == {"weights": (4, 3)} | ({"recurrent": (3, 3)} if recurrent else {})

    @jax.jit
    def both(variables):
        weights, options = variables["params"], {"t_max": T_MAX, "max_spikes": 4}
        inputs = event.delayed(event.trains(times()), 0.25)
        if recurrent:
            wiring = event.Wiring(weights["weights"], weights["recurrent"])
            return module.apply(variables, times()), event.recurrent_spikes(inputs, wiring, lif(), **options)
        return module.apply(variables, times()), event.lif_spikes(
            inputs, weights["weights"], lif(), **options
        )

    got, want = both(variables)
    np.testing.assert_array_equal(np.asarray(got.times), np.asarray(want.times))
    assert np.isfinite(got.times).sum() > 8


def test_gradients_of_all_parameters_are_those_of_central_differences():
    module = layer(
        recurrent=True,
        recurrent_delay=DELAYS,
        recurrent_init=jax.nn.initializers.normal(0.5),
        delay=[0.1] * 4,
    )
    both, found = with_pull_back(lambda parts: module.apply({"params": parts[0]}, parts[1])), []
    for seed in range(4):
        params = module.init(jax.random.key(seed), times(seed))["params"]
        assert {*params} == {"weights", "recurrent", "recurrent_delay"}
        found.append(gradient_error(both, [params, times(seed)], np.random.default_rng(seed)))
    known = [error for error in found if error is not None]
    assert len(known) > 1 and max(known) < 1e-6


def test_times_may_be_an_array_of_one_spike_each():
    module = layer()
    found = jax.eval_shape(lambda: module.init_with_output(KEY, times()[:, :, 0])[0])
    assert found.times.shape == (2, 3, 4)


def test_overflow_is_told_and_passed_on():
    module = layer(max_spikes=1, weight_init=lambda *_: jnp.array([[9.0, 2.0, 0.0]]))
    one = times(shape=(2, 1, 1))
    variables, run = module.init(KEY, one), jax.jit(lambda *given: module.apply(*given, mutable=["overflow"]))
    # what an input lost is unknown to every neuron of the sample
    for lost in (False, True):
        spikes, told = run(variables, event.Trains(one, jnp.array([[lost], [False]])))
        assert told["overflow"]["spikes"].tolist() == 2 * [[True, False, False]]
        assert spikes.overflow.tolist() == [[True, lost, lost], [True, False, False]]


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_term_for_silent_neurons_is_put_among_the_losses(recurrent, monkeypatch):
    silent = event.trains(jnp.full((2, 3), np.inf))
    monkeypatch.setattr(running, "simulate", lambda *_, **__: event.Simulation({"neurons": silent}, ()))
    module = layer(silence=2.0, weight_init=jax.nn.initializers.constant(0.1), recurrent=recurrent)
    variables = module.init(KEY, times())
    assert [*variables] == ["params"]

    def term(params):
        return module.apply({"params": params}, times(), mutable=["losses"])[1]["losses"]["silence"]

    def wanted(params):
        return 2 * event.silence(event.trains(times()), params["weights"], silent, lif(), t_max=T_MAX)

    value, gradient = jax.jit(jax.value_and_grad(term))(variables["params"])
    np.testing.assert_allclose(value, jax.jit(wanted)(variables["params"]))
    assert (gradient["weights"] < 0).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"features": 0}, "features=0"),
        ({"t_max": -1.0}, "t_max=-1.0"),
        ({"parameters": event.LIParameters()}, "parameters"),
        ({"delay": -1.0}, "delay=-1.0"),
        ({"delay": "learned"}, "delay='learned'"),
        ({"recurrent_delay": 1.0}, "recurrent=True"),
        ({"engine": "fast"}, "engine='fast'"),
        ({"silent_over": "all"}, "silent_over='all'"),
        ({"weight_init": 0.1}, "weight_init=0.1"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    with pytest.raises(ArgumentError, match=said):
        layer(**given)


def test_inputs_that_do_not_fit_are_refused():
    variables = layer().init(KEY, times())
    with pytest.raises(ShapeError, match=r"weights.*\(4, 3\).*\(5, 3\)"):
        layer().apply(variables, times(shape=(2, 5, 1)))
    with pytest.raises(ShapeError, match=r"shape \(2,\)"):
        layer().apply(variables, jnp.zeros(2))
    with pytest.raises(ShapeError, match=r"delay of 2 axons.*4"):
        layer(delay=[0.1, 0.2]).init(KEY, times())
    with pytest.raises(ArgumentError, match="from 0 on"):
        layer().apply(variables, -times())
