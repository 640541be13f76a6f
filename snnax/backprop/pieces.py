"""One batch in pieces of K steps, with an update after each: one compiled program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from snnax.network.unroll import initial_hidden, unroll
from snnax.training.objective import Objective
from snnax.training.optimizing import descend
from snnax.utils import training

__all__ = ["Pieces", "train_batch"]

Tree = dict[str, Any]


@dataclass(frozen=True)
class Pieces:
    """What is fixed about the training on one batch; equal ones share their program."""

    net: nn.Module
    optimizer: optax.GradientTransformation
    objective: Objective
    steps: int
    size: int
    constant: bool
    cut_targets: bool


def _run_batch(
    pieces: Pieces, variables: Tree, opt_state: Any, x: jax.Array, y: jax.Array, key: jax.Array | None
) -> tuple[jax.Array, Tree, Any]:
    net = training(pieces.net)
    mutable = ("batch_stats",) if "batch_stats" in variables else ()
    fixed = {name: v for name, v in variables.items() if name not in ("params", *mutable)}

    def update(carry: Tree, entry: Any, length: int) -> tuple[Tree, jax.Array]:
        number, x_k, y_k = entry
        keys = None if key is None else {"dropout": jax.random.fold_in(key, number)}
        x_k, y_k = (x if x_k is None else x_k), (y if y_k is None else y_k)

        def forward(params: Tree) -> tuple[jax.Array, Tree]:
            given = {**fixed, **carry["state"], "params": params}
            times = length if pieces.constant else None
            outputs, updates = unroll(net, given, x_k, rngs=keys, mutable=mutable, num_steps=times)
            return pieces.objective(outputs, y_k)[0], updates

        (loss, state), grads = jax.value_and_grad(forward, has_aux=True)(carry["params"])
        params, memory = descend(
            pieces.optimizer,
            grads,
            carry["opt_state"],
            carry["params"],
            loss,
            lambda params: forward(params)[0],
        )
        after = {"params": params, "opt_state": memory, "state": state}
        return _like(after, carry), loss * length

    frame = x if pieces.constant else x[0]
    keys = None if key is None else {"dropout": key}
    state = {"hidden": initial_hidden(net, variables, frame, keys, mutable)}
    state |= {name: variables[name] for name in mutable}
    carry = {"params": variables["params"], "opt_state": opt_state, "state": state}
    whole, rest = divmod(pieces.steps, pieces.size)
    cut = (None if pieces.constant else x, y if pieces.cut_targets else None)
    head = jax.tree.map(lambda v: v[: whole * pieces.size].reshape(whole, -1, *v.shape[1:]), cut)
    carry = _like(carry, carry)
    carry, losses = lax.scan(lambda c, e: update(c, e, pieces.size), carry, (jnp.arange(whole), *head))
    total = losses.sum()
    if rest:
        tail = jax.tree.map(lambda v: v[whole * pieces.size :], cut)
        carry, loss = update(carry, (whole, *tail), rest)
        total = total + loss
    state = {name: carry["state"][name] for name in mutable}
    return total / pieces.steps, {**fixed, **state, "params": carry["params"]}, carry["opt_state"]


train_batch = jax.jit(_run_batch, static_argnums=0)


def _like(after: Any, before: Any) -> Any:
    """The same numbers in the dtypes of ``before``, none weakly typed, as a scan's carry must be."""
    return jax.tree.map(lambda a, b: lax.convert_element_type(a, jnp.asarray(b).dtype), after, before)
