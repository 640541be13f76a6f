"""One step of an optax optimizer, with all that an optimizer may ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from snnax.errors import ArgumentError

__all__ = ["descend"]


def descend(
    tx: Any,
    grads: Any,
    opt_state: Any,
    params: Any,
    value: jax.Array | None = None,
    value_fn: Callable[[Any], jax.Array] | None = None,
) -> tuple[Any, Any]:
    """The parameters and the optimizer's memory after one step along ``grads``.

    Args:
        tx: an optax optimizer, also one that asks for the loss, as ``optax.contrib.reduce_on_plateau``,
            ``optax.polyak_sgd`` and ``optax.lbfgs``.
        grads: of ``params``.
        opt_state: what ``tx`` remembers.
        params: before the step.
        value: the loss.
        value_fn: the loss on the same batch for any parameters; line searches call it.

    Raises:
        ArgumentError: the optimizer asks for something else, or keeps its weights in a form of its own.
    """
    if isinstance(tx, optax.MultiSteps):
        tx = tx.gradient_transformation()
        tx = optax.GradientTransformationExtraArgs(tx.init, tx.update)
    named = {"value": value, "grad": grads, "value_fn": value_fn}
    extra = {name: given for name, given in named.items() if given is not None}
    try:
        updates, opt_state = optax.with_extra_args_support(tx).update(grads, opt_state, params, **extra)
    except (AttributeError, TypeError) as error:
        raise ArgumentError(
            f"the optimizer cannot take its step: {error}. Training passes it the gradients, the parameters as a "
            f"tree of arrays, and {', '.join(extra)}. Take one that asks for no more (optax.lookahead keeps two sets "
            "of weights, and needs a loop of your own; outside of fit and make_train_step pass the loss on: "
            "apply_gradients(grads, value=..., value_fn=...))."
        ) from error
    return optax.apply_updates(params, updates), opt_state
