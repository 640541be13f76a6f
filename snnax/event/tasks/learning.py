"""Training of one network on data in memory: an epoch is one compiled program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnax.errors import ArgumentError, TrainingError

__all__ = [
    "Learner",
    "Outcome",
    "Samples",
    "Told",
    "Trained",
    "Trainer",
    "checked_loss",
    "no_word",
    "optimizer",
]

Told = Callable[[int, float, float], None]
"""Called after each epoch with its number from 1, its loss, and the accuracy on the validation split."""


class Samples(NamedTuple):
    """Inputs ``[S, ...]`` and labels ``[S]``."""

    inputs: Any
    labels: Any


class Outcome(NamedTuple):
    """What a network makes of a batch."""

    loss: jax.Array
    classes: jax.Array
    """``[B]``: what it takes each sample for; -1 for no answer."""
    overflow: jax.Array
    """``[B]``: whether spikes are missing, because a budget was spent."""


@dataclass(frozen=True)
class Learner:
    """A network and its loss, as two functions.

    Args:
        init: ``(key, inputs) -> weights``.
        outcome: ``(weights, inputs, labels) -> Outcome``.
    """

    init: Callable[[Any, Any], Any]
    outcome: Callable[[Any, Any, Any], Outcome]


class Trained(NamedTuple):
    """Weights after the last epoch, and what was measured in each."""

    params: Any
    loss: np.ndarray
    """``[epochs]``: mean over the batches, each before its update."""
    validation: np.ndarray
    """``[epochs]``: accuracy on the validation split after the epoch."""
    overflow: np.ndarray
    """``[epochs]``: part of the training samples of which spikes are missing."""


def no_word(epoch: int, loss: float, accuracy: float) -> None:
    """Tell nothing of an epoch."""


@dataclass(frozen=True)
class Trainer:
    """Trains a network, compiled once for all seeds: shuffled batches, Adam, a rate that falls to 0 along a cosine.

    What is left of the last batch of an epoch is not used in it.

    Args:
        learner: the network.
        epochs: passes over the data.
        batch: samples of a step.
        learning_rate: at the start.
        clip: the largest norm of a gradient, in which it counts before Adam; ``None`` for any.
    """

    learner: Learner
    epochs: int
    batch: int
    learning_rate: float
    clip: float | None = None

    def train(self, data: Samples, validation: Samples, *, seed: int = 0, told: Told = no_word) -> Trained:
        """Train from the weights of a seed, which the order of the samples depends on, too.

        Raises:
            ArgumentError: for a batch that is larger than the data.
            TrainingError: for a loss that is not finite.
        """
        number = len(data.labels)
        steps = number // self.batch
        if not steps:
            raise ArgumentError(
                f"a batch of {self.batch}: expected at most the {number} samples that there are to learn from."
            )
        weights_key, order_key = jax.random.split(jax.random.key(seed))
        params = self.learner.init(weights_key, data.inputs[:1])
        state = params, optimizer(self.learning_rate, steps * self.epochs, self.clip).init(params)
        found = []
        for epoch in range(self.epochs):
            key = jax.random.fold_in(order_key, epoch)
            state, (loss, overflow) = self._epoch(state, data, key)
            accuracy = self.accuracy(state[0], validation)
            checked_loss(float(loss), epoch, self.learning_rate)
            found.append((float(loss), accuracy, float(overflow)))
            told(epoch + 1, float(loss), accuracy)
        return Trained(jax.tree.map(np.asarray, state[0]), *np.asarray(found).T)

    def accuracy(self, params: Any, samples: Samples) -> float:
        """Part of the samples of which the class is right."""
        return float(np.mean(self.classes(params, samples.inputs) == np.asarray(samples.labels)))

    def classes(self, params: Any, inputs: Any) -> np.ndarray:
        """What the network takes inputs ``[S, ...]`` for."""
        return np.asarray(self._classes(params, inputs))

    @cached_property
    def _epoch(self) -> Any:
        def epoch(state: Any, data: Samples, key: Any) -> Any:
            number = len(data.labels)
            steps = number // self.batch
            solver = optimizer(self.learning_rate, steps * self.epochs, self.clip)
            order = jax.random.permutation(key, number)[: steps * self.batch].reshape(steps, self.batch)

            def step(state: Any, chosen: jax.Array) -> Any:
                params, memory = state
                batch = jax.tree.map(lambda array: array[chosen], data)
                (_, outcome), gradient = jax.value_and_grad(self._loss, has_aux=True)(params, batch)
                update, memory = solver.update(gradient, memory, params)
                return (optax.apply_updates(params, update), memory), (outcome.loss, outcome.overflow.mean())

            state, measured = jax.lax.scan(step, state, order)
            return state, jax.tree.map(jnp.mean, measured)

        return jax.jit(epoch, donate_argnums=0)

    def _loss(self, params: Any, batch: Samples) -> tuple[jax.Array, Outcome]:
        outcome = self.learner.outcome(params, *batch)
        return outcome.loss, outcome

    @cached_property
    def _classes(self) -> Any:
        labels = jnp.zeros((), jnp.int32)  # classes do not depend on them

        def one(params: Any, sample: Any) -> jax.Array:
            return self.learner.outcome(params, sample[None], labels[None]).classes[0]

        return jax.jit(
            lambda params, inputs: jax.lax.map(partial(one, params), inputs, batch_size=self.batch)
        )


def optimizer(learning_rate: float, steps: int, clip: float | None = None) -> optax.GradientTransformation:
    """Adam for so many steps, its rate falling to 0 along a cosine; ``clip`` bounds the norm of the gradient before."""
    adam = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    return adam if clip is None else optax.chain(optax.clip_by_global_norm(clip), adam)


def checked_loss(loss: float, epoch: int, learning_rate: float) -> None:
    """Refuse to go on from a loss that is not finite.

    Raises:
        TrainingError: then.
    """
    if not np.isfinite(loss):
        raise TrainingError(
            f"the loss of epoch {epoch + 1} is {loss}; a learning rate below {learning_rate:g}, or a clip of "
            "gradients, helps."
        )
