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


def checked(workload: Workload, readout: Any) -> Any:
    """What is read out, of as many steps and samples as were asked for.

    Raises:
        ValueError: says how many there are.
    """
    if tuple(readout.shape[:2]) != (workload.steps, workload.batch):
        raise ValueError(
            f"{workload.steps} steps of {workload.batch} samples were asked for, and {readout.shape} came"
        )
    return readout


def loss(workload: Workload, readout: jax.Array, y: jax.Array) -> jax.Array:
    if workload.loss == "sum":
        return readout.sum()
    # Integer labels would make XLA fold a scatter over all steps while it compiles.
    labels = jax.nn.one_hot(y, readout.shape[-1])[None]
    entropy = optax.softmax_cross_entropy(readout, labels).mean(axis=1)
    return entropy.sum() if workload.loss == "membrane" else entropy.mean()


def operand(workload: Workload, x: Any) -> jax.Array:
    """The input as products take it, rounded on the device: on a processor that takes seconds."""
    x = jnp.asarray(x)
    return x.astype(jnp.bfloat16) if workload.precision == "bfloat16" else x


class JaxStep:
    """A step that keeps the weights that the one before returned. ``program`` and ``arguments`` are for
    compiling it ahead of time; the last that a program returns is the loss, or the sum of what is read out."""

    def __init__(self, workload: Workload, readout: Readout, params: Any, x: Any, y: Any) -> None:
        optimizer = optax.sgd(workload.learning_rate)

        def train(params: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
            def objective(params: Any) -> jax.Array:
                return loss(workload, checked(workload, readout(params, x)), y)

            value, gradients = jax.value_and_grad(objective)(params)
            if not workload.update:
                return gradients, value
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, value

        def infer(params: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
            out = checked(workload, readout(params, x))
            return out, out.sum()

        self._x, self._y = operand(workload, x), jnp.asarray(y)
        self._state = params, optimizer.init(params)
        self.program = jax.jit(train if workload.train else infer)
        self._keep = workload.train and workload.update

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (*self._state, self._x, self._y)

    def __call__(self) -> float:
        result = jax.block_until_ready(self.program(*self.arguments))
        if self._keep:
            self._state = result[:-1]
        return float(result[-1])
