"""Training: what is learned, from what, and when it is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax.errors import ArgumentError, TrainingError
from snnax.event.tasks.learning import Learner, Outcome, Samples, Trainer


def separable(samples=32):
    inputs = np.random.default_rng(0).normal(size=(samples, 2)).astype(np.float32)
    return Samples(jnp.asarray(inputs), jnp.asarray(inputs[:, 0] > 0, jnp.int32))


def linear(scale=1.0):
    def outcome(params, inputs, labels):
        margin = inputs @ params
        losses = jax.nn.softplus(jnp.where(labels == 1, -1, 1) * margin) * scale
        return Outcome(losses.mean(), (margin > 0).astype(jnp.int32), inputs[:, 1] > 100)

    return Learner(lambda key, inputs: jax.random.normal(key, (2,)), outcome)


def test_it_learns_and_says_what_it_measured():
    told, data = [], separable()
    trainer = Trainer(linear(), epochs=20, batch=10, learning_rate=0.3)
    found = trainer.train(data, data, told=lambda *given: told.append(given))
    assert found.loss[-1] < found.loss[0] / 2
    assert found.validation[-1] == trainer.accuracy(found.params, data) > 0.9
    assert [epoch for epoch, *_ in told] == [*range(1, 21)] and told[-1][1] == found.loss[-1]
    assert found.overflow.tolist() == [0.0] * 20
    classes = trainer.classes(found.params, data.inputs)
    assert np.mean(classes == np.asarray(data.labels)) == found.validation[-1]


def test_a_seed_is_a_run():
    data, trainer = separable(), Trainer(linear(), epochs=2, batch=8, learning_rate=0.1)
    first, again, other = (trainer.train(data, data, seed=seed).params for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_missing_spikes_are_counted():
    data = separable(10)
    data = data._replace(inputs=data.inputs.at[:5, 1].set(101.0))
    found = Trainer(linear(), epochs=1, batch=10, learning_rate=1e-3).train(data, data)
    assert found.overflow.tolist() == [0.5]


def test_a_clip_bounds_the_gradient():
    data = separable()
    rough, calm = (Trainer(linear(1e-3), 1, 32, 0.1, clip).train(data, data).params for clip in (None, 1e-20))
    assert np.abs(rough - calm).max() > 0.01  # Adam's epsilon is larger than what is left


def test_a_batch_larger_than_the_data_is_refused():
    data = separable(4)
    with pytest.raises(ArgumentError, match="a batch of 5: expected at most the 4 samples"):
        Trainer(linear(), 1, 5, 0.1).train(data, data)


def test_a_loss_that_is_not_finite_ends_the_training():
    data = separable(4)
    with pytest.raises(TrainingError, match=r"the loss of epoch 1 is nan; a learning rate below 0\.1"):
        Trainer(linear(float("nan")), 2, 4, 0.1).train(data, data)
