"""Event-driven networks learn: in a loop of one's own with optax, and by ``fit``."""

import math

import jax
import numpy as np
import optax
import pytest

from snnax import event
from snnax.training import TrainState, batches, evaluate, fit

ONCE = event.LIFParameters(refractory=math.inf)
T_MAX = 40e-3


def data():
    """Which of two values is larger, as spike times ``[B, N, 1]``: of both, of what is missing to 1, and of a bias."""
    values = np.random.default_rng(0).uniform(size=(256, 2)).astype(np.float32)
    values = values[np.abs(values[:, 0] - values[:, 1]) > 0.1][:192]
    spikes = event.biased(event.latency_code(np.concatenate([values, 1 - values], 1), 20e-3))
    return np.asarray(spikes.times), (values[:, 0] > values[:, 1]).astype(int)


X, Y = data()


def hidden(**given):
    return event.LIF(20, T_MAX, **{"parameters": ONCE, "silence": 0.1, **given})


def start(net):
    return TrainState.create(net, net.init(jax.random.key(0), X[:1]), optax.adam(0.03))


def test_first_spikes_learn_by_fit_and_go_on_from_a_checkpoint(tmp_path):
    net = event.Sequential([hidden(), event.LIF(2, T_MAX, ONCE, silence=1.0, silent_over="sample")])
    goal = {"loss": event.ttfs_loss(unit=1e-3, silent=T_MAX), "accuracy": event.accuracy_first_spike}
    options = {"progress": False, "checkpoint": tmp_path, **goal}
    fit(start(net), batches(X, Y, 32), epochs=4, **options)
    _, history = fit(start(net), batches(X, Y, 32), epochs=8, resume=True, **options)
    # 0.53 before, 1.0 after
    assert history.accuracy[0] < 0.7 and history.accuracy[-1] > 0.95 and len(history.loss) == 8
    assert history.overflow == [0.0] * 8


def test_voltages_learn_in_a_loop_of_ones_own():
    net = event.Sequential([hidden(), event.LI(2, T_MAX)])
    loss, optimizer = event.max_over_time_loss(), optax.adam(0.03)
    params = net.init(jax.random.key(0), X[:1])["params"]
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):
        def total(params):
            voltages, told = net.apply({"params": params}, x, mutable=["losses"])
            return loss(voltages, y) + sum(jax.tree.leaves(told["losses"]))

        value, gradient = jax.value_and_grad(total)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    values = []
    for epoch in range(6):
        for x, y in batches(X, Y, 32)(epoch):
            params, state, value = step(params, state, x, y)
            values.append(float(value))
    answer = event.max_voltage_class(jax.jit(net.apply)({"params": params}, X))
    assert np.mean(values[-6:]) < 0.6 * np.mean(values[:6])
    assert np.mean(np.asarray(answer) == Y) > 0.9


def test_neurons_that_would_never_fire_are_woken():
    quiet = hidden(silence=5.0, weight_init=jax.nn.initializers.constant(0.1))
    net = event.Sequential([quiet, event.LI(2, T_MAX)])
    before = start(net)
    silent = np.isinf(jax.jit(quiet.apply)({"params": before.params["layers_0"]}, X).times)
    after, _ = fit(before, [(X, Y)], epochs=30, progress=False, loss=event.max_over_time_loss())
    awake = np.isfinite(jax.jit(quiet.apply)({"params": after.params["layers_0"]}, X).times)
    assert silent.all() and awake.any(0).all()


def test_a_budget_that_does_not_suffice_is_told():
    state = start(event.LIF(2, T_MAX, weight_init=jax.nn.initializers.constant(4.0)))
    found = evaluate(state, [(X[:16], Y[:16])], loss=event.ttfs_loss(unit=1e-3, silent=T_MAX))
    assert found["overflow"] == pytest.approx(1.0)
