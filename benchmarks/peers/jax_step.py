"""What the JAX peers share: the loss, and one jitted training or inference step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.workloads.spec import Workload

Readout = Callable[[Any, jax.Array], jax.Array]
"""Weights and input to what is read out, ``[T, B, N]``."""


def loss(workload: Workload, readout: jax.Array, y: jax.Array) -> jax.Array:
    if workload.loss == "sum":
        return readout.sum()
    # Integer labels would make XLA fold a scatter over all steps while it compiles.
    labels = jax.nn.one_hot(y, readout.shape[-1])[None]
    entropy = optax.softmax_cross_entropy(readout, labels).mean(axis=1)
    return entropy.sum() if workload.loss == "membrane" else entropy.mean()


class JaxStep:
    """A step that keeps the weights that the one before returned. ``program`` and ``arguments`` are for
    compiling it ahead of time."""

    def __init__(self, workload: Workload, readout: Readout, params: Any, x: Any, y: Any) -> None:
        optimizer = optax.sgd(workload.learning_rate)

        def train(params: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
            def objective(params: Any) -> jax.Array:
                return loss(workload, readout(params, x), y)

            value, gradients = jax.value_and_grad(objective)(params)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, value

        def infer(params: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
            return readout(params, x).sum()

        self._x, self._y = jnp.asarray(x), jnp.asarray(y)
        self._state = params, optimizer.init(params)
        self.program = jax.jit(train if workload.train else infer)
        self._train = workload.train

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (*self._state, self._x, self._y)

    def __call__(self) -> float:
        result = jax.block_until_ready(self.program(*self.arguments))
        if not self._train:
            return float(result)
        *state, value = result
        self._state = tuple(state)
        return float(value)
