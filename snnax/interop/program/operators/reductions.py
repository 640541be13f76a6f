"""Sums, means, products, deviations and norms along axes, and running ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.forms import Text, Words, axes, call, forms, method
from snnax.interop.program.operators.registry import Call, computes

Axes = int | Sequence[int] | None


def axes_of(dim: Axes) -> int | tuple[int, ...] | None:
    """Axes as JAX takes them; none given means all of them, as in torch."""
    if dim is None or isinstance(dim, int):
        return dim
    return tuple(dim) or None


def count_of(x: jax.Array, dim: Axes) -> int:
    """How many numbers are reduced to one."""
    axes = axes_of(dim)
    if axes is None or not x.ndim:
        return x.size
    return math.prod(x.shape[axis] for axis in ((axes,) if isinstance(axes, int) else axes))


@computes("sum", "sum.dim_IntList")
def total(call: Call, x: jax.Array, dim: Axes = None, keepdim: bool = False, dtype: Any = None) -> jax.Array:
    """The sum; of integers and booleans a 64-bit integer, or 32-bit without double precision."""
    del dtype
    return jnp.sum(x.astype(call.dtype), _at(x, dim), keepdims=keepdim)


@computes("nansum")
def nansum(call: Call, x: jax.Array, dim: Axes = None, keepdim: bool = False, dtype: Any = None) -> jax.Array:
    """The sum of what is a number."""
    del dtype
    x = x.astype(call.dtype)
    return jnp.sum(jnp.where(jnp.isnan(x), jnp.zeros_like(x), x), _at(x, dim), keepdims=keepdim)


@computes("mean", "mean.dim")
def mean(call: Call, x: jax.Array, dim: Axes = None, keepdim: bool = False, dtype: Any = None) -> jax.Array:
    """The mean."""
    del dtype
    summed = total(call, x, dim, keepdim)
    return summed / jnp.asarray(count_of(x, dim), summed.dtype)


def _reduction(name: str) -> Any:
    def form(words: Words, x: Text, dim: Any = None, keepdim: bool = False) -> Text:
        return method(words.cast(x), name, axes(dim, x), keepdims=True if keepdim else None)

    return form


forms("sum", "sum.dim_IntList")(_reduction("sum"))
forms("mean", "mean.dim")(_reduction("mean"))
forms("prod", "prod.dim_int")(_reduction("prod"))


@computes("prod", "prod.dim_int")
def product(
    call: Call, x: jax.Array, dim: Axes = None, keepdim: bool = False, dtype: Any = None
) -> jax.Array:
    """The product."""
    del dtype
    return jnp.prod(x.astype(call.dtype), _at(x, dim), keepdims=keepdim)


def _at(x: jax.Array, dim: Axes) -> int | tuple[int, ...] | None:
    """The axes to reduce; torch lets 0-d arrays have one."""
    return axes_of(dim) if x.ndim else None


def truth(call: Call, x: jax.Array, dim: Axes = None, keepdim: bool = False) -> jax.Array:
    """Whether any is not zero, or all are."""
    reduce = jnp.any if call.name.startswith("any") else jnp.all
    return reduce(x != 0, _at(x, dim), keepdims=keepdim)


computes("any", "any.dim", "any.dims", "all", "all.dim", "all.dims")(truth)


@computes("count_nonzero", "count_nonzero.dim_IntList")
def count_nonzero(call: Call, x: jax.Array, dim: Axes = None) -> jax.Array:
    """How many are not zero."""
    return jnp.sum(x != 0, _at(x, dim), dtype=call.dtype)


def root(x: jax.Array) -> jax.Array:
    """The square root; at 0 its slope is 0, as torch has it for norms and deviations, instead of infinite."""
    zero = x == 0
    return jnp.where(zero, jnp.zeros_like(x), jnp.sqrt(jnp.where(zero, jnp.ones_like(x), x)))


@computes("var.correction", "var.dim", "var")
def variance(
    call: Call, x: jax.Array, dim: Axes = None, *unbiased: Any, correction: Any = 1, keepdim: bool = False
) -> jax.Array:
    """The mean square distance to the mean, with ``correction`` numbers fewer in the denominator."""
    return _deviation(call, x, dim, unbiased, correction, keepdim)[0]


@computes("std.correction", "std.dim", "std")
def deviation(
    call: Call, x: jax.Array, dim: Axes = None, *unbiased: Any, correction: Any = 1, keepdim: bool = False
) -> jax.Array:
    """The root of the variance; without slope where it is 0."""
    return root(_deviation(call, x, dim, unbiased, correction, keepdim)[0])


@computes("var_mean.correction")
def variance_and_mean(
    call: Call, x: jax.Array, dim: Axes = None, *, correction: Any = 1, keepdim: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Both at once."""
    return _deviation(call, x, dim, (), correction, keepdim)


@computes("std_mean.correction")
def deviation_and_mean(
    call: Call, x: jax.Array, dim: Axes = None, *, correction: Any = 1, keepdim: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Both at once."""
    squared, middle = _deviation(call, x, dim, (), correction, keepdim)
    return root(squared), middle


def _deviation(
    call: Call, x: jax.Array, dim: Axes, unbiased: tuple[Any, ...], correction: Any, keepdim: bool
) -> tuple[jax.Array, jax.Array]:
    """Variance and mean.

    Torch's older overloads say ``unbiased, keepdim`` by place, or ``unbiased`` in place of the axes.
    """
    if isinstance(dim, bool):
        dim, unbiased = None, (dim,)
    if unbiased:
        correction, keepdim = int(unbiased[0]), bool((*unbiased, keepdim)[1])
    correction = 1 if correction is None else correction
    middle = mean(call, x, dim, True)
    count = count_of(x, dim) - correction
    squares = jnp.sum(jnp.square(x - middle), _at(x, dim), keepdims=keepdim)
    shown = middle if keepdim else middle.reshape(squares.shape)
    return squares / jnp.asarray(max(count, 0), squares.dtype), shown


@computes("logsumexp")
def logsumexp(call: Call, x: jax.Array, dim: Axes, keepdim: bool = False) -> jax.Array:
    """The logarithm of the sum of exponentials."""
    return jax.nn.logsumexp(x.astype(call.dtype), _at(x, dim), keepdims=keepdim)


@computes("linalg_vector_norm")
def vector_norm(
    call: Call, x: jax.Array, ord: Any = 2, dim: Axes = None, keepdim: bool = False, dtype: Any = None
) -> jax.Array:
    """``sum(|x|^p)^(1/p)``; at 0 without slope, for every p."""
    del dtype
    x, axes = x.astype(call.dtype), _at(x, dim)
    size = x * lax.stop_gradient(jnp.sign(x))
    if ord == 0:
        return jnp.sum(x != 0, axes, keepdims=keepdim, dtype=x.dtype)
    if ord == 1:
        return jnp.sum(size, axes, keepdims=keepdim)
    if ord == 2:
        return root(jnp.sum(jnp.square(x), axes, keepdims=keepdim))
    if math.isinf(ord):
        return (jnp.max if ord > 0 else jnp.min)(size, axes, keepdims=keepdim)
    return _powered(jnp.sum(_powered(size, ord), axes, keepdims=keepdim), 1 / ord)


@computes("norm.ScalarOpt_dim", "norm.Scalar", "norm.ScalarOpt_dim_dtype")
def norm(
    call: Call, x: jax.Array, p: Any = 2, dim: Axes = None, keepdim: bool = False, dtype: Any = None
) -> jax.Array:
    """The vector norm; p is 2 where it is not given."""
    return vector_norm(call, x, 2 if p is None else p, dim, keepdim, dtype)


def _powered(x: jax.Array, exponent: Any) -> jax.Array:
    """A power of sizes, 0 of 0, where it has no slope."""
    zero = x == 0
    made = jnp.power(jnp.where(zero, jnp.ones_like(x), x), jnp.asarray(exponent, x.dtype))
    return jnp.where(zero, jnp.zeros_like(x), made)


@computes("cumsum")
def cumsum(call: Call, x: jax.Array, dim: int, dtype: Any = None) -> jax.Array:
    """The sums up to each position."""
    del dtype
    x = x.astype(call.dtype)
    return jnp.cumsum(x, dim) if x.ndim else x


@forms("cumsum")
def _running_sum(words: Words, x: Text, dim: int) -> Text | None:
    return call("jnp.cumsum", words.cast(x), dim) if x.ndim else None


@computes("cumprod")
def cumprod(call: Call, x: jax.Array, dim: int, dtype: Any = None) -> jax.Array:
    """The products up to each position."""
    del dtype
    x = x.astype(call.dtype)
    return jnp.cumprod(x, dim) if x.ndim else x


@computes("logcumsumexp")
def logcumsumexp(call: Call, x: jax.Array, dim: int) -> jax.Array:
    """The logarithms of the sums of exponentials up to each position."""
    del call
    return lax.cumlogsumexp(x, dim % x.ndim) if x.ndim else x
