"""Optimizers that ask for more than gradients: the loss, and the loss at other weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import training_nets as nets

import snnax as snn
import snnax.functional as SF
from snnax.errors import ArgumentError
from snnax.training import fit, make_train_step

X, Y = nets.data()
LOSS = SF.ce_rate_loss()
STEP = make_train_step(LOSS, donate=False)

OPTIMIZERS = {
    "reduce_on_plateau": lambda: optax.chain(optax.adam(1e-2), optax.contrib.reduce_on_plateau()),
    "polyak_sgd": lambda: optax.polyak_sgd(1.0),
    "lbfgs": lambda: optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=3)),
    "masked": lambda: optax.masked(optax.polyak_sgd(1.0), lambda p: jax.tree.map(lambda _: True, p)),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
    "MultiSteps": lambda: optax.MultiSteps(optax.polyak_sgd(1.0), 1),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.sgd(0.1), 3),
}


def by_hand(tx, params, net):
    """One step as optax's own documentation writes it."""

    def loss(params):
        return LOSS(snn.unroll(net, {"params": params}, X)[0][0], Y)

    @jax.jit
    def step(params, memory):
        value, grads = jax.value_and_grad(loss)(params)
        update = tx.update if isinstance(tx, optax.MultiSteps) else optax.with_extra_args_support(tx).update
        changes, _ = update(grads, memory, params, value=value, grad=grads, value_fn=loss)
        return optax.apply_updates(params, changes)

    return step(params, tx.init(params))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_gets_what_it_asks_for(name):
    tx = OPTIMIZERS[name]()
    state = nets.start(nets.dense(), tx)
    after, _ = STEP(state, X, Y)
    moved = [
        np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (after.params, state.params)), strict=True)
    ]
    assert max(moved) > 0
    for ours, theirs in zip(
        *map(jax.tree.leaves, (after.params, by_hand(tx, state.params, state.net))), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def asking(name):
    """An optimizer that cannot do without one more argument."""

    def update(grads, memory, params=None, **extra):
        return jax.tree.map(lambda g: -0.1 * g * (extra[name] is not None), grads), memory

    def strict(grads, memory, params=None, *, another, **extra):
        return grads, memory

    chosen = strict if name == "another" else update
    return optax.GradientTransformationExtraArgs(lambda params: (), chosen)


@pytest.mark.parametrize("name", ["value", "grad", "value_fn"])
def test_truncated_backpropagation_passes_them_too(name):
    net = nets.dense()
    state = nets.start(net, optax.sgd(0.1))
    tx = asking(name)
    snn.backprop.TBPTT(net, state.variables, [(X, Y)], tx, LOSS, K=4)


def test_what_nobody_passes_is_named():
    state = nets.start(nets.dense(), asking("another"))
    with pytest.raises(ArgumentError, match=r"'another'.*value, grad, value_fn.*apply_gradients"):
        STEP(state, X, Y)


def test_weights_in_another_form_are_refused():
    state = nets.start(nets.dense(), optax.lookahead(optax.adam(1e-3), 5, 0.5))
    with pytest.raises(ArgumentError, match=r"'fast'.*optax.lookahead keeps two sets"):
        fit(state, [(X, Y)], epochs=1, loss=LOSS, progress=False)


def test_by_hand_the_loss_is_passed_on():
    state = nets.start(nets.dense(), optax.polyak_sgd(1.0))
    grads = jax.tree.map(jnp.ones_like, state.params)
    with pytest.raises(ArgumentError, match=r"'value'.*apply_gradients\(grads, value=\.\.\."):
        state.apply_gradients(grads)
    after = state.apply_gradients(grads, value=jnp.float32(0.5))
    assert int(after.step) == 1
