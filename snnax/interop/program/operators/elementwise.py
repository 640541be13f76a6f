"""Functions of one array, element by element."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from snnax.interop.program.operators.forms import PRODUCT, Text, Words, call, forms, infix
from snnax.interop.program.operators.promotion import elementwise, operands
from snnax.interop.program.operators.registry import Call, computes

for name, function in {
    "neg": jnp.negative, "exp": jnp.exp, "exp2": jnp.exp2, "expm1": jnp.expm1, "log": jnp.log, "log1p": jnp.log1p,
    "log2": jnp.log2, "log10": jnp.log10, "sqrt": jnp.sqrt, "square": jnp.square, "reciprocal": jnp.reciprocal,
    "sin": jnp.sin, "cos": jnp.cos, "tan": jnp.tan, "asin": jnp.arcsin, "acos": jnp.arccos, "atan": jnp.arctan,
    "sinh": jnp.sinh, "cosh": jnp.cosh, "tanh": jnp.tanh, "asinh": jnp.arcsinh, "acosh": jnp.arccosh,
    "atanh": jnp.arctanh, "sinc": jnp.sinc, "deg2rad": jnp.deg2rad, "rad2deg": jnp.rad2deg,
    "erf": lax.erf, "erfc": lax.erfc, "erfinv": lax.erf_inv, "lgamma": lax.lgamma, "digamma": lax.digamma,
    "i0": special.i0, "special_i1": special.i1, "special_i0e": special.i0e, "special_i1e": special.i1e,
    "special_ndtri": special.ndtri, "sigmoid": lax.logistic,
    "floor": jnp.floor, "ceil": jnp.ceil, "round": jnp.round, "trunc": jnp.trunc,
}.items():  # fmt: skip
    elementwise(name)(function)


@elementwise("sign", "sgn")
def sign(x: jax.Array) -> jax.Array:
    """-1, 0 or 1; 0 of what is no number, where JAX hands that on."""
    return x if x.dtype == bool else (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)


@elementwise("abs")
def absolute(x: jax.Array) -> jax.Array:
    """The size; at 0 the slope is 0, where JAX's is 1."""
    return x * lax.stop_gradient(jnp.sign(x)) if jnp.issubdtype(x.dtype, jnp.floating) else jnp.abs(x)


@forms("abs")
def _size(words: Words, x: Any) -> Text:
    (x,) = words.operands(x)
    if words.dtype.kind != "f":
        return call("jnp.abs", x)
    x = words.named(x)  # whose slope at 0 is 0
    return infix("*", x, call("jax.lax.stop_gradient", call("jnp.sign", x)), PRODUCT)


@elementwise("rsqrt")
def rsqrt(x: jax.Array) -> jax.Array:
    """``1 / sqrt(x)`` with torch's two roundings; XLA's own operation may approximate."""
    return 1 / jnp.sqrt(x)


@elementwise("frac")
def frac(x: jax.Array) -> jax.Array:
    """What comes after the point, with the sign of ``x``."""
    return x - jnp.trunc(x)


@computes("round.decimals")
def round_decimals(call: Call, x: Any, decimals: int = 0) -> jax.Array:
    """Rounded half to even after this many decimals."""
    (x,) = operands(call, x)
    factor = jnp.asarray(10.0 ** abs(decimals), x.dtype)
    return jnp.round(x * factor) / factor if decimals > 0 else jnp.round(x / factor) * factor


@computes("logit")
def logit(call: Call, x: Any, eps: float | None = None) -> jax.Array:
    """``log(x / (1 - x))``; beyond ``eps`` from 0 and 1 constant, and without slope."""
    (x,) = operands(call, x)
    if eps is not None:
        low, high = jnp.asarray(eps, x.dtype), jnp.asarray(1 - eps, x.dtype)
        x = jnp.where(x < low, low, jnp.where(x > high, high, x))
    return jnp.log(x / (1 - x))


@computes("nan_to_num")
def nan_to_num(
    call: Call, x: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> jax.Array:
    """Finite numbers; a replaced one has no slope."""
    (x,) = operands(call, x)
    return jnp.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf)
