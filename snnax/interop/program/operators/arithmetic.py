"""Arithmetic of two and three operands."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.dynamics.arithmetic import quotient
from snnax.interop.program.operators.forms import POWER, PRODUCT, SUM, Text, Words, call, forms, infix
from snnax.interop.program.operators.promotion import elementwise, operands
from snnax.interop.program.operators.registry import Call, computes


def scaled(x: jax.Array, factor: Any) -> jax.Array:
    """``factor * x`` in the type of ``x``; for a factor of 1 ``x`` itself, with no rounding at all."""
    if isinstance(factor, int | float) and factor == 1:
        return x
    return x * jnp.asarray(factor, x.dtype)


@computes("add.Tensor", "add.Scalar")
def add(call: Call, x: Any, other: Any, alpha: Any = 1) -> jax.Array:
    """``x + alpha other``; of booleans the disjunction."""
    x, other = operands(call, x, other)
    return x + scaled(other, alpha)


@computes("sub.Tensor", "sub.Scalar")
def sub(call: Call, x: Any, other: Any, alpha: Any = 1) -> jax.Array:
    """``x - alpha other``."""
    x, other = operands(call, x, other)
    return x - scaled(other, alpha)


def _combined(words: Words, sign: str, x: Any, other: Any, alpha: Any) -> Text:
    x, other = words.operands(x, other)
    other = other if alpha == 1 else infix("*", other, words.number(alpha), PRODUCT)
    return infix(sign, x, other, SUM)


@forms("add.Tensor", "add.Scalar")
def _added(words: Words, x: Any, other: Any, alpha: Any = 1) -> Text:
    return _combined(words, "+", x, other, alpha)


@forms("sub.Tensor", "sub.Scalar")
def _subtracted(words: Words, x: Any, other: Any, alpha: Any = 1) -> Text:
    return _combined(words, "-", x, other, alpha)


@forms("rsub.Tensor", "rsub.Scalar")
def _subtracted_from(words: Words, x: Any, other: Any, alpha: Any = 1) -> Text:
    return _combined(words, "-", other, x, alpha)


@computes("rsub.Tensor", "rsub.Scalar")
def rsub(call: Call, x: Any, other: Any, alpha: Any = 1) -> jax.Array:
    """``other - alpha x``."""
    return sub(call, other, x, alpha)


elementwise("mul.Tensor", "mul.Scalar")(jnp.multiply)


@computes("div.Tensor", "div.Scalar", "div.Tensor_mode", "div.Scalar_mode")
def div(call: Call, x: Any, other: Any, rounding_mode: str | None = None) -> jax.Array:
    """The quotient; with ``rounding_mode`` rounded down or towards zero, and then without derivative."""
    x, other = operands(call, x, other)
    if rounding_mode is None:
        return _divide(x, other)
    if rounding_mode == "floor":
        return _floored(x, other)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return lax.stop_gradient(jnp.trunc(_divide(x, other)))
    return lax.div(*jnp.broadcast_arrays(x, other))


def _divide(x: jax.Array, other: jax.Array) -> jax.Array:
    """Rounded once, as torch does, where one number divides many too: what follows may round to whole numbers."""
    one_for_many = jnp.issubdtype(x.dtype, jnp.floating) and (other.size < x.size or other.size == 1)
    return quotient(x, other) if one_for_many else x / other


@forms("div.Tensor", "div.Scalar")
def _divided(words: Words, x: Any, other: Any) -> Text:
    x, other = words.operands(x, other)
    return infix("/", x, other, PRODUCT)


@elementwise("floor_divide", "floor_divide.Scalar")
def floor_divide(x: jax.Array, other: jax.Array) -> jax.Array:
    """The quotient, rounded down."""
    return _floored(x, other)


def _floored(x: jax.Array, other: jax.Array) -> jax.Array:
    """The quotient rounded down; ``x / 0`` is infinite, as in torch, where NumPy and JAX have no number."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.floor_divide(x, other)
    x, other = jnp.broadcast_arrays(lax.stop_gradient(x), lax.stop_gradient(other))
    return jnp.where(other == 0, x / other, jnp.floor_divide(x, other))


elementwise("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")(jnp.remainder)
elementwise("fmod.Tensor", "fmod.Scalar")(jnp.fmod)


@computes("pow.Tensor_Scalar")
def power(call: Call, x: Any, exponent: Any) -> jax.Array:
    """``x ** exponent``: torch multiplies for small whole exponents and takes the root for 0.5."""
    (x,) = operands(call, x)
    if (
        isinstance(exponent, int | float)
        and exponent in (-2, -1, 0, 1, 2, 3)
        and jnp.issubdtype(x.dtype, jnp.inexact)
    ):
        return lax.integer_pow(x, int(exponent))
    if isinstance(exponent, int | float) and exponent == 0.5:
        return jnp.sqrt(x)
    return jnp.power(x, jnp.asarray(exponent, x.dtype))


@forms("pow.Tensor_Scalar")
def _powered(words: Words, x: Any, exponent: Any) -> Text | None:
    (x,) = words.operands(x)
    if exponent == 0.5:
        return call("jnp.sqrt", x)
    whole = isinstance(exponent, int | float) and exponent in (-2, -1, 0, 1, 2, 3)
    return infix("**", x, words.number(int(exponent)), POWER) if whole else None


@elementwise("pow.Tensor_Tensor", "pow.Scalar")
def power_of(x: jax.Array, exponent: jax.Array) -> jax.Array:
    """``x ** exponent``; where the exponent is 0 so is the slope by ``x``, of 0 too, where JAX has no number."""
    return jnp.power(jnp.where(exponent == 0, lax.stop_gradient(x), x), exponent)


elementwise("atan2")(jnp.arctan2)
elementwise("hypot")(jnp.hypot)
elementwise("logaddexp")(jnp.logaddexp)
elementwise("logaddexp2")(jnp.logaddexp2)
elementwise("bitwise_and.Tensor", "bitwise_and.Scalar", "bitwise_and.Scalar_Tensor")(jnp.bitwise_and)
elementwise("bitwise_or.Tensor", "bitwise_or.Scalar", "bitwise_or.Scalar_Tensor")(jnp.bitwise_or)
elementwise("bitwise_xor.Tensor", "bitwise_xor.Scalar", "bitwise_xor.Scalar_Tensor")(jnp.bitwise_xor)
for name, function in {"left": jnp.left_shift, "right": jnp.right_shift}.items():
    bitwise, written = f"bitwise_{name}_shift", f"__{name[0]}shift__"
    elementwise(f"{bitwise}.Tensor", f"{bitwise}.Tensor_Scalar", f"{written}.Tensor", f"{written}.Scalar")(
        function
    )
elementwise("gcd")(jnp.gcd)
elementwise("lcm")(jnp.lcm)


@elementwise("ldexp.Tensor")
def ldexp(x: jax.Array, other: jax.Array) -> jax.Array:
    """``x 2^other``."""
    return x * jnp.exp2(other)


@elementwise("copysign.Tensor", "copysign.Scalar")
def copysign(x: jax.Array, other: jax.Array) -> jax.Array:
    """The size of ``x`` with the sign of ``other``; at ``x = 0`` torch has no slope."""
    size = x * lax.stop_gradient(jnp.sign(x))
    return jnp.where(jnp.signbit(other), -size, size)


@elementwise("xlogy.Tensor", "xlogy.Scalar_Self", "xlogy.Scalar_Other")
def xlogy(x: jax.Array, other: jax.Array) -> jax.Array:
    """``x log(other)``, and 0 where ``x`` is, though the logarithm is not finite; there without slope."""
    lost = (x == 0) & ((other <= 0) | jnp.isinf(other))
    return x * jnp.log(jnp.where(lost, jnp.ones_like(other), other))


@computes("lerp.Scalar", "lerp.Tensor")
def lerp(call: Call, x: Any, end: Any, weight: Any) -> jax.Array:
    """``x + weight (end - x)``, which torch computes from the nearer end."""
    x, end, weight = operands(call, x, end, weight)
    return jnp.where(jnp.abs(weight) < 0.5, x + weight * (end - x), end - (end - x) * (1 - weight))


@computes("addcmul")
def addcmul(call: Call, x: Any, first: Any, second: Any, value: Any = 1) -> jax.Array:
    """``x + value first second``."""
    x, first, second = operands(call, x, first, second)
    return x + scaled(first, value) * second


@computes("addcdiv")
def addcdiv(call: Call, x: Any, first: Any, second: Any, value: Any = 1) -> jax.Array:
    """``x + value first / second``."""
    x, first, second = operands(call, x, first, second)
    return x + scaled(first, value) / second
