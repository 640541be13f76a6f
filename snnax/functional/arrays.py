"""What the losses and accuracies share: checked records and labels, populations, cross entropy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError, ShapeError


def name_of(value: object) -> str:
    """Name of the class of a value."""
    return type(value).__name__


def record(name: str, out: ArrayLike) -> jax.Array:
    """Spikes or membranes ``[T, B, N]`` as floats of at least 32 bits.

    Raises:
        ShapeError: for another number of axes, or none of something.
    """
    out = checks.array(out, f"{name}(spk_out=...)")
    if out.ndim != 3 or 0 in out.shape:
        raise ShapeError(
            f"{name} got spikes or membranes of shape {out.shape}; expected [T, B, N], time first, as snn.unroll "
            "returns them. Pass out[None] for one time step [B, N], out[:, None] for one sample [T, N]."
        )
    return out.astype(jnp.promote_types(out.dtype, jnp.float32))


def class_labels(name: str, targets: ArrayLike, shape: tuple[int, ...], classes: int) -> jax.Array:
    """Labels of that shape in 0 ... classes-1.

    Where the values are traced they cannot raise: a label outside becomes ``classes``, which
    :func:`cross_entropy`, :func:`on_off` and :func:`weight_of` turn into NaN.

    Raises:
        ShapeError: for another shape.
        ArgumentError: for a dtype that is no integer, or a label outside.
    """
    labels = checks.array(targets, f"{name}(targets=...)")
    if labels.shape != shape:
        axes = "[T, B]" if len(shape) == 2 else "[B]"
        raise ShapeError(
            f"{name} got targets of shape {labels.shape}; expected {axes} = {shape}, one class label each. "
            "Pass targets.argmax(-1) for one-hot targets."
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ArgumentError(
            f"{name} got targets of dtype {labels.dtype}; expected integer class labels. Pass targets.astype(int)."
        )
    labels = labels.astype(jnp.int32)
    outside = (labels < 0) | (labels >= classes)
    if not isinstance(outside, jax.core.Tracer) and np.any(np.asarray(outside)):
        wrong = int(np.asarray(labels)[np.asarray(outside)][0])
        raise ArgumentError(
            f"{name} got the label {wrong}; expected 0 to {classes - 1}, as there are {classes} classes."
        )
    return jnp.where(outside, classes, labels)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """``-log softmax(logits)[label]`` over the last axis of ``[..., B, C]``."""
    labels = jnp.broadcast_to(labels, logits.shape[:-1])
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def squared_error(values: jax.Array, targets: jax.Array) -> jax.Array:
    """``(values - targets)**2``, ``targets`` repeated over leading axes."""
    return optax.losses.squared_error(values, jnp.broadcast_to(targets, values.shape))


def on_off(labels: jax.Array, classes: int, on: Any, off: Any, dtype: Any) -> jax.Array:
    """``on`` in the column of the label, ``off`` elsewhere: ``[..., C]``."""
    columns = jnp.arange(classes).reshape((1,) * labels.ndim + (-1,))
    values = jnp.where(labels[..., None] == columns, jnp.asarray(on, dtype), jnp.asarray(off, dtype))
    return jnp.where(labels[..., None] < classes, values, jnp.nan)


def weight_of(labels: jax.Array, weight: Any, name: str, classes: int, dtype: Any) -> jax.Array:
    """The weight of each label, in the shape of ``labels``.

    Raises:
        ShapeError: if there is not one weight for each class.
    """
    weight = jnp.asarray(checks.rounded(weight, dtype, f"{name}(weight=...)"))
    if weight.shape != (classes,):
        raise ShapeError(
            f"{name}(weight=...) has shape {weight.shape}; expected one weight for each of the {classes} classes."
        )
    return weight.at[labels].get(mode="fill", fill_value=jnp.nan)


def check_population(name: str, population_code: bool, num_classes: int) -> None:
    """Whether ``num_classes`` is there if it is needed.

    Raises:
        ArgumentError: if it is not a positive integer.
    """
    usable = checks.whole(num_classes) is not None
    if checks.flag(population_code, f"{name}(population_code=...)") and not usable:
        raise ArgumentError(
            f"{name}(population_code=True, num_classes={checks.shown(num_classes)}); expected the number of classes, "
            f"as {name}(population_code=True, num_classes=10)."
        )


def populations(name: str, out: jax.Array, num_classes: int) -> jax.Array:
    """The sum over each class's block of neurons: ``[..., N]`` to ``[..., C]``.

    Raises:
        ShapeError: if ``N`` is no multiple of ``num_classes``.
    """
    neurons = out.shape[-1]
    if neurons % num_classes:
        raise ShapeError(
            f"{name}(num_classes={num_classes}) got {neurons} output neurons; expected a multiple of "
            f"{num_classes}, as {num_classes * max(1, round(neurons / num_classes))}."
        )
    return out.reshape(*out.shape[:-1], num_classes, neurons // num_classes).sum(-1)
