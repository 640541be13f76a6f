"""Normalization by the statistics of batches, samples and groups, in the order in which torch rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.registry import Call, computes

Statistics = tuple[jax.Array, ...]


def _moments(x: jax.Array, axes: tuple[int, ...], keepdims: bool = False) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance."""
    mean = x.mean(axes, keepdims=True)
    variance = jnp.square(x - mean).mean(axes, keepdims=keepdims)
    return mean if keepdims else mean.squeeze(axes), variance


def _kept(*statistics: jax.Array) -> tuple[jax.Array, ...]:
    """What torch keeps for its backward pass, which is no way for slopes."""
    return tuple(map(lax.stop_gradient, statistics))


def _scaled(
    x: jax.Array, mean: jax.Array, inverse: jax.Array, weight: jax.Array | None, bias: jax.Array | None
) -> jax.Array:
    """``(x - mean) inverse weight + bias`` as torch computes it: one factor and one summand for each channel."""
    factor = inverse if weight is None else inverse * weight
    summand = -mean * factor if bias is None else bias - mean * factor
    # channels last, as convolutions beside it have them: the way there and back falls out
    lead = (1,) * (x.ndim - 1)
    y = jnp.moveaxis(x, 1, -1) * factor.reshape(*lead, -1) + summand.reshape(*lead, -1)
    return jnp.moveaxis(y, -1, 1)


def _batch_norm(
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    running: tuple[jax.Array | None, jax.Array | None],
    training: bool,
    eps: float,
) -> tuple[Statistics, jax.Array]:
    """The normalized array with mean and inverse deviation, and the biased variance."""
    mean, variance = running
    if training or mean is None or variance is None:
        mean, variance = _moments(x, (0, *range(2, x.ndim)))
    inverse = 1 / jnp.sqrt(variance + eps)
    made = _scaled(x, mean, inverse, weight, bias)
    return (made, *_kept(mean, inverse)), variance


@computes("native_batch_norm", "_native_batch_norm_legit")
def batch_norm(
    call: Call,
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    running_mean: jax.Array | None,
    running_var: jax.Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[jax.Array | None, ...]:
    """Normalized by running statistics, or in training by those of the batch; what is kept of them, in training only.

    The running statistics themselves stay as they are: torch writes them in place, which whoever traces must see.
    """
    del call, momentum
    made, _ = _batch_norm(x, weight, bias, (running_mean, running_var), training, eps)
    return made if training else (made[0], None, None)


@computes("_native_batch_norm_legit.no_stats")
def batch_norm_without(
    call: Call,
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[jax.Array | None, ...]:
    """Normalized by the statistics of the batch."""
    return batch_norm(call, x, weight, bias, None, None, True, momentum, eps)


@computes("_native_batch_norm_legit_no_training")
def batch_norm_evaluated(
    call: Call,
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    running_mean: jax.Array,
    running_var: jax.Array,
    momentum: float,
    eps: float,
) -> tuple[jax.Array | None, ...]:
    """Normalized by running statistics."""
    return batch_norm(call, x, weight, bias, running_mean, running_var, False, momentum, eps)


@computes("_native_batch_norm_legit_functional")
def batch_norm_functional(
    call: Call,
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    running_mean: jax.Array,
    running_var: jax.Array,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[jax.Array | None, ...]:
    """As ``native_batch_norm``, and the running statistics after it; they move to the unbiased variance."""
    del call
    made, variance = _batch_norm(x, weight, bias, (running_mean, running_var), training, eps)
    if not training:
        return made[0], None, None, running_mean, running_var
    count = x.size // x.shape[1]
    moved = (
        (1 - momentum) * old + momentum * new
        for old, new in ((running_mean, made[1]), (running_var, variance * (count / max(count - 1, 1))))
    )
    return (*made, *_kept(*moved))


@computes("native_layer_norm")
def layer_norm(
    call: Call,
    x: jax.Array,
    normalized_shape: Sequence[int],
    weight: jax.Array | None,
    bias: jax.Array | None,
    eps: float,
) -> Statistics:
    """Each sample normalized over its last axes."""
    del call
    rank = len(normalized_shape)
    mean, variance = _moments(x, tuple(range(x.ndim - rank, x.ndim)), keepdims=True)
    inverse = 1 / jnp.sqrt(variance + eps)
    y = (x - mean) * inverse
    lead = (1,) * (x.ndim - rank)
    if weight is not None:
        y = y * weight.reshape(lead + weight.shape)
    if bias is not None:
        y = y + bias.reshape(lead + bias.shape)
    return (y, *_kept(mean, inverse))


@computes("native_group_norm")
def group_norm(
    call: Call,
    x: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> Statistics:
    """Each sample normalized over groups of its channels."""
    del call, N, C, HxW
    mean, variance = _moments(x.reshape(x.shape[0], group, -1), (2,))
    inverse = 1 / jnp.sqrt(variance + eps)
    channels = x.shape[1]
    each_mean, each_inverse = (jnp.repeat(value, channels // group, 1) for value in (mean, inverse))
    factor = each_inverse if weight is None else each_inverse * weight[None]
    summand = -each_mean * factor if bias is None else bias[None] - each_mean * factor
    shape = (x.shape[0], channels, *[1] * (x.ndim - 2))
    return x * factor.reshape(shape) + summand.reshape(shape), mean, inverse


@computes("rms_norm")
def rms_norm(
    call: Call,
    x: jax.Array,
    normalized_shape: Sequence[int],
    weight: jax.Array | None = None,
    eps: Any = None,
) -> jax.Array:
    """Each sample by the root of its mean square over its last axes."""
    del call
    rank = len(normalized_shape)
    square = jnp.square(x).mean(tuple(range(x.ndim - rank, x.ndim)), keepdims=True)
    y = x / jnp.sqrt(square + (jnp.finfo(x.dtype).eps if eps is None else eps))
    return y if weight is None else y * weight.reshape((1,) * (x.ndim - rank) + weight.shape)
