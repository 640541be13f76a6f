"""Optimizers of the same kind and numbers share their programs; others do not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import pytest

import snnax as snn
import snnax.functional as SF
from snnax.backprop import pieces
from snnax.training import steps
from snnax.training.same_optimizer import first_alike

MAKE = {
    "adam": lambda rate: optax.adam(rate),
    "sgd": lambda rate: optax.sgd(rate, momentum=0.5),
    "chain": lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate)),
    "schedule": lambda rate: optax.adam(optax.exponential_decay(rate, 10, 0.5)),
    "plateau": lambda rate: optax.chain(optax.sgd(rate), optax.contrib.reduce_on_plateau()),
}


@pytest.mark.parametrize("name", MAKE)
def test_they_are_told_by_what_they_are_made_of(name):
    make = MAKE[name]
    first = make(0.125)
    known = first_alike(first)
    assert first_alike(make(0.125)) is known
    assert first_alike(make(0.25)) is not known
    params = {"w": jnp.ones(3)}
    updates = [
        tx.update(params, tx.init(params), params, **({"value": 1.0} if name == "plateau" else {}))[0]["w"]
        for tx in (known, make(0.125))
    ]
    assert (updates[0] == updates[1]).all()


def test_a_schedule_of_the_users_counts_by_identity():
    def made(rate):
        return lambda count: rate

    assert first_alike(optax.sgd(made(0.5))) is not first_alike(optax.sgd(made(0.25)))


def test_a_new_optimizer_of_the_same_kind_compiles_nothing(monkeypatch):
    net = snn.Sequential(snn.Linear(3, 2), snn.Leaky(0.9, init_hidden=True))
    x, y = jnp.ones((4, 2, 3)), jnp.zeros(2, int)
    variables, traced = net.init(jax.random.key(0), x[0]), []
    run = pieces.training
    monkeypatch.setattr(pieces, "training", lambda net: traced.append(net) or run(net))
    for rate, times in ((0.0625, 1), (0.0625, 1), (0.03125, 2)):
        snn.backprop.BPTT(net, variables, [(x, y)], optax.adam(rate), SF.ce_rate_loss())
        assert len(traced) == times


def test_states_made_anew_train_by_one_program():
    net = snn.Sequential(snn.Linear(3, 2), snn.Leaky(0.9, init_hidden=True))
    x, y = jnp.ones((4, 2, 3)), jnp.zeros(2, int)
    variables, before = net.init(jax.random.key(0), x[0]), steps._train_donating.count()
    for more in (1, 1):
        state = snn.training.TrainState.create(net, variables, optax.adam(0.0625))
        snn.training.make_train_step(SF.ce_rate_loss())(state, x, y)
        assert steps._train_donating.count() == before + more
