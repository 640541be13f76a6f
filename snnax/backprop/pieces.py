"""One batch in pieces of K steps, with an update after each: one compiled program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from snnax.network.compiled import Compiled
from snnax.network.states import initial_hidden
from snnax.network.unroll import unroll
from snnax.neurons.own import is_own
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
        after = {"params": params, "opt_state": memory}
        known = {name: _like(tree, carry["state"].get(name, tree)) for name, tree in state.items()}
        return {**_like(after, {name: carry[name] for name in after}), "state": known}, loss * length

    frame = x if pieces.constant else x[0]
    keys = None if key is None else {"dropout": key}
    state = {name: variables[name] for name in mutable}
    first = is_own(net)  # the first step declares the states
    if not first:
        state["hidden"] = initial_hidden(net, variables, frame, keys, mutable)
    carry = {"params": variables["params"], "opt_state": opt_state, "state": state}
    whole, rest = divmod(pieces.steps, pieces.size)
    cut = (None if pieces.constant else x, y if pieces.cut_targets else None)
    head = jax.tree.map(lambda v: v[: whole * pieces.size].reshape(whole, -1, *v.shape[1:]), cut)
    carry, entries = _like(carry, carry), (jnp.arange(whole), *head)
    total: Any = 0.0
    if first and whole:
        carry, loss = update(carry, jax.tree.map(lambda v: v[0], entries), pieces.size)
        total, entries = total + loss, jax.tree.map(lambda v: v[1:], entries)
    if whole > first:
        carry, losses = lax.scan(lambda c, e: update(c, e, pieces.size), carry, entries)
        total = total + losses.sum()
    if rest:
        tail = jax.tree.map(lambda v: v[whole * pieces.size :], cut)
        carry, loss = update(carry, (whole, *tail), rest)
        total = total + loss
    state = {name: carry["state"][name] for name in mutable}
    return total / pieces.steps, {**fixed, **state, "params": carry["params"]}, carry["opt_state"]


_compiled = Compiled(_run_batch)


def train_batch(
    pieces: Pieces, variables: Tree, opt_state: Any, x: jax.Array, y: jax.Array, key: jax.Array | None
) -> tuple[jax.Array, Tree, Any]:
    """The loss of the batch, and variables and the optimizer's state after it."""
    return cast(tuple[jax.Array, Tree, Any], _compiled(pieces.net, pieces, variables, opt_state, x, y, key))


def _like(after: Any, before: Any) -> Any:
    """The same numbers in the dtypes of ``before``, none weakly typed, as a scan's carry must be."""
    return jax.tree.map(lambda a, b: lax.convert_element_type(a, jnp.asarray(b).dtype), after, before)
