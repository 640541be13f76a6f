"""Networks that draw, and layers in training mode: with torch's numbers their ports compute what they do."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

pytest.importorskip("snntorch")

import torch
from helpers.port_zoo_chance import RANDOM, TRAINING, Dropped, NoisyMembranes, StepNorms, TrainedSteps
from torch import nn

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, StateError, TrainingModeError
from snnax.interop.torch.draws import Draws

ALL = {**RANDOM, **TRAINING}


def ported(cls):
    torch.manual_seed(0)
    net = cls().train(cls in TRAINING)
    x = ALL[cls](3)
    return net, *interop.from_snntorch(net, x, training=cls in TRAINING), x


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_its_port_is_torchs_network_with_the_same_draws(cls):
    net, model, variables, _ = ported(cls)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    report = interop.crossvalidate(net, (model, variables), ALL[cls](5).double().numpy(), gradients=True)
    assert report.agree, str(report)
    assert {pair.name for pair in report.gradients} == {name for name, _ in net.named_parameters()}
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_steps_of_a_network_in_training():
    torch.manual_seed(0)
    net = TrainedSteps().train()
    model, variables = interop.from_snntorch(net, torch.rand(3, 6), training=True)
    report = interop.crossvalidate(
        net, (model, variables), torch.rand(4, 5, 6).double().numpy(), gradients=True
    )
    assert report.agree, str(report)
    assert any("what torch drew, 4 times" in note for note in report.notes)


def test_what_differs_is_found_under_noise():
    net, model, variables, x = ported(NoisyMembranes)
    other = {**variables, "params": {**variables["params"], "size": variables["params"]["size"] * 1.01}}
    assert not interop.crossvalidate(net, (model, other), x.numpy()).agree
    assert interop.crossvalidate((model, variables), (model, variables), x.numpy()).agree
    back = interop.to_snntorch(model, variables)
    assert interop.crossvalidate(back, (model, variables), x.numpy(), gradients=True).agree


def test_the_stream_may_have_flaxs_name():
    _, model, variables, x = ported(Dropped)
    key = jax.random.key(3)
    one, other = (
        snn.unroll(model, variables, x.numpy(), rngs={name: key})[0] for name in ("draws", "dropout")
    )
    assert not np.array_equal(
        one, snn.unroll(model, variables, x.numpy(), rngs={"dropout": jax.random.key(4)})[0]
    )
    assert one.shape == other.shape
    with pytest.raises(ArgumentError, match="draws random numbers"):
        snn.unroll(model, variables, x.numpy())


def test_running_statistics_are_updated():
    net, model, variables, x = ported(StepNorms)
    keys = {"draws": jax.random.key(0)}
    _, updates = snn.unroll(model, variables, x.numpy(), rngs=keys, mutable=("buffers",))
    net(x)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        found, wanted = updates["buffers"]["norm"][name], getattr(net.norm, name)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(StateError, match="running_mean"):
        snn.unroll(model, variables, x.numpy(), rngs=keys)


def test_training_carries_running_statistics():
    net, model, variables, x = ported(StepNorms)
    state = snn.training.TrainState.create(model, variables, optax.sgd(0.0))
    loss, labels = snn.CrossEntropyLoss(), np.zeros(x.shape[1], np.int32)
    train = snn.training.make_train_step(loss, read="all", donate=False)
    for _ in range(2):
        state, _ = train(state, x.numpy(), labels)
        net(x)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        np.testing.assert_allclose(state.buffers["norm"][name], getattr(net.norm, name), rtol=1e-5, atol=1e-6)
    # what was ported is the mode of training
    with pytest.raises(ArgumentError, match="training=True"):
        snn.training.make_eval_step(loss, read="all")(state, x.numpy(), labels)


def test_the_mode_is_the_one_that_was_ported():
    net, model, variables, x = ported(StepNorms)
    with pytest.raises(TrainingModeError, match=r"'norm'.*in evaluation mode now"):
        interop.crossvalidate(net.eval(), (model, variables), x.numpy())
    with pytest.raises(TrainingModeError, match="training=True"):
        interop.from_snntorch(net.train(), x)
    with pytest.raises(ArgumentError, match="batchnorm='fold' with training=True"):
        interop.from_snntorch(net, x, training=True, batchnorm="fold")


def test_draws_that_nothing_uses_are_refused():
    class Wasteful(nn.Module):
        def forward(self, x):
            torch.rand(3)
            return x * torch.rand(4)

    net = Wasteful()
    model, variables = interop.from_snntorch(net, torch.ones(2, 4))
    with pytest.raises(ArgumentError, match=r"torch draws 2 times in this call and its port 1"):
        interop.crossvalidate(net, (model, variables), np.ones((2, 4), np.float32))


def test_what_was_drawn_is_given_again():
    def use():
        x = torch.zeros(3).uniform_(1, 2)
        return x, torch.bernoulli(x - 1), torch.native_dropout(x, 0.4, True), torch.nn.functional.dropout(x)

    with Draws() as first:
        wanted = use()
    with Draws(first.drawn) as again:
        found = use()
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert [name for name, _ in again.drawn] == ["uniform", "bernoulli", "native_dropout", "bernoulli"]


def test_what_draws_is_evaluated_with_the_same_numbers_each_time():
    _, model, variables, x = ported(NoisyMembranes)
    state = snn.training.TrainState.create(model, variables, optax.sgd(0.1))

    def loss(outputs, y):
        return sum((leaf**2).mean() for leaf in jax.tree.leaves(outputs))

    def evaluated(state):
        return snn.training.evaluate(state, [(x.numpy(), np.zeros(3))], loss=loss, read="all")

    assert evaluated(state) == evaluated(state)
    assert evaluated(state) != evaluated(state.replace(key=jax.random.key(5)))


def test_a_port_in_training_mode_is_not_evaluated():
    net, model, variables, x = ported(Dropped)
    state = snn.training.TrainState.create(model, variables, optax.sgd(0.1))
    how = {"loss": lambda outputs, y: (jax.tree.leaves(outputs)[0] ** 2).mean(), "read": "all"}
    with pytest.raises(ArgumentError, match=r"training=True.*from_snntorch\(net.eval\(\), sample\)"):
        snn.training.evaluate(state, [(x.numpy(), np.zeros(3))], **how)
    model, _ = interop.from_snntorch(net.eval(), x)
    assert snn.training.evaluate(state.replace(net=model), [(x.numpy(), np.zeros(3))], **how)["loss"] >= 0
