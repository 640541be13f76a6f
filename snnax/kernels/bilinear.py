"""A product of two arrays as one operation, whose two derivatives are written by hand for CPU.

A ``custom_vjp`` would give up forward mode and second derivatives; an operation that JAX knows to be linear in each
of its arrays has all of them, and ``vmap``, ``checkpoint`` and ``shard_map`` besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

__all__ = ["operation", "transposed", "vary", "varying"]

Product = Callable[..., jax.Array]


def operation(
    name: str, by_lax: Product, on_cpu: Product, left_slope: Product, right_slope: Product
) -> Callable[..., jax.Array]:
    """An operation ``(left, right, **settings)``, linear in each of its arrays.

    The first axis of the left array (samples) and the last of the right (features) are those of the result.

    Args:
        name: of the operation in a program.
        by_lax: its values ``(left, right, **settings)`` on all platforms but CPU.
        on_cpu: its values on CPU.
        left_slope: ``(slope, right, shape, **settings)``, on CPU, to the slope of a left array of ``shape``.
        right_slope: ``(slope, left, shape, **settings)``, on CPU, to the slope of a right array of ``shape``.
    """
    made = Primitive(name)

    def apply(left: jax.Array, right: jax.Array, **settings: Any) -> jax.Array:
        axes = varying(left) | varying(right)
        return made.bind(vary(left, axes), vary(right, axes), **settings)

    def of_left(slope: jax.Array, left: Any, right: jax.Array, **settings: Any) -> jax.Array:
        shape = left.aval.shape

        def default(slope: jax.Array, right: jax.Array) -> jax.Array:
            return transposed(lambda x: by_lax(x, right, **settings), shape, slope)

        cpu = partial(left_slope, shape=shape, **settings)
        return lax.platform_dependent(slope, right, cpu=cpu, default=default)

    def of_right(slope: jax.Array, left: jax.Array, right: Any, **settings: Any) -> jax.Array:
        shape = right.aval.shape

        def default(slope: jax.Array, left: jax.Array) -> jax.Array:
            return transposed(lambda w: by_lax(left, w, **settings), shape, slope)

        cpu = partial(right_slope, shape=shape, **settings)
        return lax.platform_dependent(slope, left, cpu=cpu, default=default)

    def many(
        arrays: Sequence[jax.Array], axes: Sequence[int | None], **settings: Any
    ) -> tuple[jax.Array, int]:
        """More samples, or more features; if both are batched, as ``lax`` does it."""
        (left, right), (left_axis, right_axis) = arrays, axes
        if right_axis is None:
            left = jnp.moveaxis(left, left_axis or 0, 0)
            y = apply(left.reshape(-1, *left.shape[2:]), right, **settings)
            return y.reshape(*left.shape[:2], *y.shape[1:]), 0
        if left_axis is None:
            right = jnp.moveaxis(right, right_axis, -2)
            y = apply(left, right.reshape(*right.shape[:-2], -1), **settings)
            return y.reshape(*y.shape[:-1], *right.shape[-2:]), y.ndim - 1
        return jax.vmap(partial(by_lax, **settings), axes)(*arrays), 0

    @partial(jax.jit, static_argnums=0)
    def alone(settings: tuple[tuple[str, Any], ...], *arrays: jax.Array) -> jax.Array:
        return made.bind(*arrays, **dict(settings))

    def kind(left: Any, right: Any, **settings: Any) -> Any:
        return jax.make_jaxpr(partial(by_lax, **settings))(left, right).out_avals[0]

    def outside(*arrays: jax.Array, **settings: Any) -> jax.Array:
        with jax.disable_jit(False):  # which is there to see the steps of a function, and this is one step
            return alone(tuple(settings.items()), *arrays)

    made.def_impl(outside)
    made.def_abstract_eval(kind)
    ad.defbilinear(made, of_left, of_right)
    batching.primitive_batchers[made] = many
    mlir.register_lowering(made, mlir.lower_fun(by_lax, multiple_results=False))
    mlir.register_lowering(made, mlir.lower_fun(on_cpu, multiple_results=False), platform="cpu")
    return apply


def transposed(linear: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], y: jax.Array) -> jax.Array:
    """The transpose of a function of an array of ``shape``, at ``y``."""
    return jax.vjp(linear, vary(jnp.zeros(shape, y.dtype), varying(y)))[1](y)[0]


def varying(x: jax.Array) -> frozenset[str]:
    """The axes of a ``shard_map`` over which ``x`` varies."""
    kind: Any = jax.typeof(x)
    return frozenset(kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying)


def vary(x: jax.Array, axes: frozenset[str]) -> jax.Array:
    """``x``, varying over ``axes`` too."""
    missing = tuple(sorted(axes - varying(x)))
    return lax.pcast(x, missing, to="varying") if missing else x
