"""Random numbers, from a key: torch's distributions, not its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from snnax.interop.program.operators.registry import Call, draws


def _uniform(call: Call, shape: Sequence[int], low: Any = 0.0, high: Any = 1.0) -> jax.Array:
    dtype = call.dtype if jnp.issubdtype(call.dtype, jnp.floating) else jnp.float32
    return jax.random.uniform(call.key, tuple(shape), dtype, low, high)


@draws("rand", "rand_like")
def rand(call: Call, like: Any, **ignored: Any) -> jax.Array:
    """Uniform from 0 to 1, in a shape or in that of an array."""
    del ignored
    return _uniform(call, _shape(like))


@draws("randn", "randn_like")
def randn(call: Call, like: Any, **ignored: Any) -> jax.Array:
    """Normal, in a shape or in that of an array."""
    del ignored
    return jax.random.normal(call.key, _shape(like), call.dtype)


def _shape(like: Any) -> tuple[int, ...]:
    return tuple(like) if isinstance(like, list | tuple) else like.shape


@draws("uniform")
def uniform(call: Call, x: jax.Array, low: float = 0.0, high: float = 1.0) -> jax.Array:
    """Uniform between two numbers, in the shape of ``x``."""
    return _uniform(call, x.shape, low, high)


@draws("normal_functional")
def normal_functional(call: Call, x: jax.Array, mean: float = 0.0, std: float = 1.0) -> jax.Array:
    """Normal, in the shape of ``x``."""
    return mean + std * jax.random.normal(call.key, x.shape, call.dtype)


@draws("normal.Tensor_float", "normal.float_Tensor", "normal.Tensor_Tensor")
def normal(call: Call, mean: Any = 0.0, std: Any = 1.0) -> jax.Array:
    """Normal, around each of the means, with each of the deviations; neither gets a slope, as in torch."""
    shape = jnp.broadcast_shapes(jnp.shape(mean), jnp.shape(std))
    mean, std = (
        jax.lax.stop_gradient(jnp.broadcast_to(jnp.asarray(v, call.dtype), shape)) for v in (mean, std)
    )
    return mean + std * jax.random.normal(call.key, shape, call.dtype)


@draws("normal.float_float")
def normal_of_size(call: Call, mean: float, std: float, size: Sequence[int], **ignored: Any) -> jax.Array:
    """Normal, in a shape."""
    del ignored
    return mean + std * jax.random.normal(call.key, tuple(size), call.dtype)


@draws("exponential")
def exponential(call: Call, x: jax.Array, lambd: float = 1.0) -> jax.Array:
    """Exponential with a rate, in the shape of ``x``."""
    return jax.random.exponential(call.key, x.shape, call.dtype) / jnp.asarray(lambd, call.dtype)


@draws("log_normal")
def log_normal(call: Call, x: jax.Array, mean: float = 1.0, std: float = 2.0) -> jax.Array:
    """Exponentials of normal numbers, in the shape of ``x``."""
    return jnp.exp(normal_functional(call, x, mean, std))


@draws("cauchy")
def cauchy(call: Call, x: jax.Array, median: float = 0.0, sigma: float = 1.0) -> jax.Array:
    """Cauchy, in the shape of ``x``."""
    return median + sigma * jax.random.cauchy(call.key, x.shape, call.dtype)


@draws("geometric")
def geometric(call: Call, x: jax.Array, p: float) -> jax.Array:
    """How many tries the first success takes, in the shape of ``x``."""
    return jax.random.geometric(call.key, p, x.shape).astype(call.dtype)


@draws("random", "random.from", "random.to")
def whole_numbers(call: Call, x: jax.Array, *bounds: int | None) -> jax.Array:
    """Whole numbers below one, or between two, in the shape of ``x``; without bounds all that the type tells apart."""
    low, high = (0, *bounds)[-2:] if bounds else (0, _distinct(call.dtype))
    return _whole(call, x.shape, low or 0, _distinct(call.dtype) if high is None else high)


def _distinct(dtype: Any) -> int:
    """The end of the whole numbers that torch draws for a type; no more than JAX's 32 bits hold."""
    digits = jnp.finfo(dtype).nmant + 1 if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).bits - 1
    return 2 ** min(int(digits), 31) - int(digits >= 31)


@draws("rrelu_with_noise_functional")
def rrelu(
    call: Call, x: jax.Array, noise: jax.Array, lower: Any = 0.125, upper: Any = 1 / 3, training: bool = False
) -> tuple[jax.Array, jax.Array]:
    """``x`` above zero, else times a random slope, in training; else times the middle one."""
    if not training:
        return jnp.where(x > 0, x, x * jnp.asarray((lower + upper) / 2, x.dtype)), noise
    slope = jnp.where(x > 0, jnp.ones_like(x), _uniform(call, x.shape, lower, upper))
    return x * slope, slope


@draws("bernoulli", "bernoulli.p", "bernoulli.Tensor")
def bernoulli(call: Call, x: jax.Array, p: Any = None) -> jax.Array:
    """1 with a probability, else 0: that of each number of ``x``, or ``p`` in its shape."""
    wide = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32
    chance = x if p is None else jnp.broadcast_to(jnp.asarray(p, wide), x.shape)
    return jax.random.bernoulli(call.key, jax.lax.stop_gradient(chance)).astype(call.dtype)


@draws("poisson")
def poisson(call: Call, x: jax.Array) -> jax.Array:
    """Poisson with the rate of each number of ``x``."""
    return jax.random.poisson(call.key, jax.lax.stop_gradient(x)).astype(call.dtype)


@draws("native_dropout")
def native_dropout(call: Call, x: jax.Array, p: float, train: bool | None) -> tuple[jax.Array, jax.Array]:
    """``x / (1 - p)`` with a share ``p`` of it zero, and what was kept; ``x`` itself but in training."""
    if train is False:
        return x, jnp.ones(x.shape, bool)
    return _dropped(x, p, jax.random.bernoulli(call.key, 1 - p, x.shape))


def replayed(op: str, args: Sequence[Any], drawn: jax.Array, dtypes: Sequence[Any]) -> tuple[jax.Array, ...]:
    """What a random operator gives that has drawn ``drawn`` elsewhere: of ``native_dropout`` that is the mask.

    Args:
        op: its name.
        args: its arguments.
        drawn: the numbers.
        dtypes: of its results.
    """
    if op != "native_dropout":
        return (jnp.asarray(drawn, dtypes[0]),)
    return _dropped(args[0], float(args[1]), jnp.asarray(drawn, bool))


def _dropped(x: jax.Array, p: float, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return jnp.where(kept, x * jnp.asarray(scale, x.dtype), jnp.zeros_like(x)), kept


@draws("dropout", "feature_dropout")
def dropout(call: Call, x: jax.Array, p: float, train: bool) -> jax.Array:
    """As ``native_dropout``; of ``feature_dropout`` whole channels, the second axis."""
    if not train:
        return x
    shape = x.shape[:2] + (1,) * (x.ndim - 2) if call.name == "feature_dropout" else x.shape
    kept = native_dropout(call, jnp.ones(shape, x.dtype), p, True)[0]
    return x * kept


@draws("randint", "randint.low")
def randint(call: Call, *given: Any, **ignored: Any) -> jax.Array:
    """Whole numbers below one, or between two, in a shape."""
    del ignored
    low, high, size = (0, *given) if len(given) == 2 else given
    return _whole(call, tuple(size), low, high)


@draws("randint_like", "randint_like.low_dtype")
def randint_like(call: Call, x: jax.Array, *bounds: int, **ignored: Any) -> jax.Array:
    """Whole numbers below one, or between two, in the shape of ``x``."""
    del ignored
    low, high = (0, *bounds)[-2:]
    return _whole(call, x.shape, low, high)


def _whole(call: Call, shape: tuple[int, ...], low: int, high: int) -> jax.Array:
    return jax.random.randint(call.key, shape, low, high).astype(call.dtype)


@draws("randperm")
def randperm(call: Call, n: int, **ignored: Any) -> jax.Array:
    """The numbers below ``n`` in a random order."""
    del ignored
    return jax.random.permutation(call.key, n).astype(call.dtype)


@draws("multinomial")
def multinomial(call: Call, x: jax.Array, num_samples: int, replacement: bool = False) -> jax.Array:
    """Positions drawn in proportion to the numbers of the last axis."""
    weights = jnp.log(jax.lax.stop_gradient(x))
    if replacement:
        drawn = jax.random.categorical(call.key, weights, -1, (num_samples, *x.shape[:-1]))
        return jnp.moveaxis(drawn, 0, -1)
    # the order of weights with Gumbel noise is that of drawing one after the other
    noisy = weights + jax.random.gumbel(call.key, x.shape, x.dtype)
    return jnp.argsort(noisy, -1, descending=True)[..., :num_samples]
