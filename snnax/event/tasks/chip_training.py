"""Training in the loop: a chip runs the network, software computes the gradient at the spikes that were seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnax.event.decoding import first_spike_class
from snnax.event.hardware import Chip, replayed_network
from snnax.event.spike_trains import trains
from snnax.event.tasks.learning import Samples, Told, Trained, checked_loss, no_word, optimizer

__all__ = ["ChipTrainer"]


@dataclass(frozen=True)
class ChipTrainer:
    """Trains the weights of a chip, whose outputs' first spikes have a loss.

    Args:
        chip: runs the network.
        loss: of the spikes of the last layer, and labels.
        epochs: passes over the data.
        batch: samples of a step.
        learning_rate: of Adam at the start; it falls to 0 along a cosine.
        clip: largest norm of a gradient.
        slowest: as of :func:`~snnax.event.hardware.replayed`: of a spike that cannot have been the gradient is large.
    """

    chip: Chip
    loss: Any
    epochs: int
    batch: int
    learning_rate: float
    clip: float = 1.0
    slowest: float = 0.2

    def train(
        self,
        weights: Sequence[Any],
        data: Samples,
        validation: Samples,
        *,
        seed: int = 0,
        told: Told = no_word,
    ) -> Trained:
        """Train from weights; inputs are times ``[S, N]``, in the time of the chip.

        Raises:
            TrainingError: for a loss that is not finite.
        """
        steps = len(data.labels) // self.batch
        params = [jnp.asarray(matrix) for matrix in weights]
        state = params, optimizer(self.learning_rate, steps * self.epochs, self.clip).init(params)
        step, inputs, labels = (
            self._step(steps * self.epochs),
            np.asarray(data.inputs),
            np.asarray(data.labels),
        )
        random, found = np.random.default_rng(seed), []
        for epoch in range(self.epochs):
            order, losses = random.permutation(len(labels))[: steps * self.batch].reshape(steps, -1), []
            for chosen in order:
                observed = self.chip.run(
                    inputs[chosen][:, :, None], [np.asarray(matrix) for matrix in state[0]]
                )
                state, loss = step(state, inputs[chosen], [jnp.asarray(o) for o in observed], labels[chosen])
                losses.append(loss)
            loss, accuracy = float(jnp.mean(jnp.stack(losses))), self.accuracy(state[0], validation)
            checked_loss(loss, epoch, self.learning_rate)
            found.append((loss, accuracy, 0.0))
            told(epoch + 1, loss, accuracy)
        return Trained([np.asarray(matrix) for matrix in state[0]], *np.asarray(found).T)

    def accuracy(self, weights: Sequence[Any], samples: Samples) -> float:
        """Part of the samples that the chip takes for the right class, in one run."""
        return float(np.mean(self.classes(weights, samples.inputs) == np.asarray(samples.labels)))

    def classes(self, weights: Sequence[Any], inputs: Any) -> np.ndarray:
        """What the chip takes inputs ``[S, N]`` for, in one run."""
        seen = self.chip.run(np.asarray(inputs)[:, :, None], [np.asarray(matrix) for matrix in weights])
        return np.asarray(first_spike_class(jnp.asarray(seen[-1])))

    def _step(self, steps: int) -> Any:
        solver = optimizer(self.learning_rate, steps, self.clip)

        def step(state: Any, inputs: Any, observed: Any, labels: Any) -> Any:
            params, memory = state
            loss, gradient = jax.value_and_grad(self._loss)(params, inputs, observed, labels)
            update, memory = solver.update(gradient, memory, params)
            return (optax.apply_updates(params, update), memory), loss

        return jax.jit(step)

    def _loss(self, params: Any, inputs: Any, observed: Any, labels: Any) -> jax.Array:
        used = [self.chip.programmed(index, matrix) for index, matrix in enumerate(params)]
        seen = [trains(times) for times in observed]
        neurons, t_max = self.chip.parameters, self.chip.t_max
        spikes = replayed_network(
            trains(inputs), params, seen, neurons, t_max=t_max, used=used, slowest=self.slowest
        )
        found: jax.Array = self.loss(spikes[-1], labels)
        return found
