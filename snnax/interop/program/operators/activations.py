"""Activations, and the softmax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.arithmetic import scaled
from snnax.interop.program.operators.forms import Text, Words, call, forms
from snnax.interop.program.operators.promotion import elementwise, operands
from snnax.interop.program.operators.registry import Call, computes

elementwise("relu")(jax.nn.relu)
elementwise("silu")(jax.nn.silu)


@computes("leaky_relu")
def leaky_relu(call: Call, x: jax.Array, negative_slope: Any = 0.01) -> jax.Array:
    """``x`` above zero, else ``negative_slope x``."""
    del call
    return jnp.where(x > 0, x, scaled(x, negative_slope))


@computes("_prelu_kernel")
def prelu_kernel(call: Call, x: jax.Array, weight: jax.Array) -> jax.Array:
    """``x`` above zero, else ``weight x``."""
    x, weight = operands(call, x, weight)
    return jnp.where(x > 0, x, weight * x)


@computes("prelu")
def prelu(call: Call, x: jax.Array, weight: jax.Array) -> jax.Array:
    """``x`` above zero, else ``weight x`` with one weight, or one for each channel, the second axis."""
    if weight.size > 1 and x.ndim > 1:
        weight = weight.reshape(-1, *[1] * (x.ndim - 2))
    return prelu_kernel(call, x, weight.reshape(()) if weight.size == 1 else weight)


@computes("elu")
def elu(call: Call, x: jax.Array, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> jax.Array:
    """``scale x`` above zero, else ``scale alpha (exp(input_scale x) - 1)``."""
    del call
    below = jnp.where(x > 0, jnp.zeros_like(x), x)  # exp must not overflow where it is not used: 0 * inf
    curve = scaled(jnp.expm1(scaled(below, input_scale)), alpha * scale)
    return jnp.where(x > 0, scaled(x, scale), curve)


@computes("celu")
def celu(call: Call, x: jax.Array, alpha: Any = 1) -> jax.Array:
    """``x`` above zero, else ``alpha (exp(x / alpha) - 1)``."""
    return elu(call, x, alpha, 1, 1 / alpha)


@computes("selu")
def selu(call: Call, x: jax.Array) -> jax.Array:
    """The ELU with the two numbers that keep mean and variance."""
    return elu(call, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@computes("gelu")
def gelu(call: Call, x: jax.Array, approximate: str = "none") -> jax.Array:
    """``x`` times the normal distribution function at ``x``, or the approximation of it by tanh."""
    del call
    return jax.nn.gelu(x, approximate=approximate == "tanh")


@elementwise("mish")
def mish(x: jax.Array) -> jax.Array:
    """``x tanh(log(1 + exp(x)))``."""
    return x * jnp.tanh(jnp.logaddexp(x, jnp.zeros_like(x)))


@computes("hardtanh")
def hardtanh(call: Call, x: jax.Array, min_val: Any = -1, max_val: Any = 1) -> jax.Array:
    """``x`` within bounds; at a bound the slope is 0, though that of ``clamp`` is 1."""
    del call
    low, high = jnp.asarray(min_val, x.dtype), jnp.asarray(max_val, x.dtype)
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x))


@computes("relu6")
def relu6(call: Call, x: jax.Array) -> jax.Array:
    """``x`` from 0 to 6, without slope at either."""
    return hardtanh(call, x, 0, 6)


@elementwise("hardsigmoid")
def hardsigmoid(x: jax.Array) -> jax.Array:
    """``x / 6 + 1/2`` from -3 to 3, then 0 and 1; without slope at the corners."""
    zero, one = jnp.zeros_like(x), jnp.ones_like(x)
    return jnp.where(x <= -3, zero, jnp.where(x >= 3, one, (x + 3) / 6))


@elementwise("hardswish")
def hardswish(x: jax.Array) -> jax.Array:
    """``x (x + 3) / 6`` from -3 to 3, then 0 and ``x``; at the corners the slopes of outside."""
    return jnp.where(x <= -3, jnp.zeros_like(x), jnp.where(x >= 3, x, x * (x + 3) / 6))


@computes("softplus")
def softplus(call: Call, x: jax.Array, beta: Any = 1, threshold: Any = 20) -> jax.Array:
    """``log(1 + exp(beta x)) / beta``, and ``x`` itself from where the two are one."""
    del call
    linear = scaled(x, beta) > threshold
    curved = jnp.where(linear, jnp.zeros_like(x), scaled(x, beta))
    return jnp.where(linear, x, jnp.log1p(jnp.exp(curved)) / jnp.asarray(beta, x.dtype))


@computes("log_sigmoid_forward")
def log_sigmoid(call: Call, x: jax.Array) -> tuple[jax.Array, None]:
    """``log(sigmoid(x))``; what torch keeps for its backward pass is not made."""
    del call
    return jax.nn.log_sigmoid(x), None


@computes("threshold")
def threshold(call: Call, x: jax.Array, threshold: Any, value: Any) -> jax.Array:
    """``x`` above the threshold, else ``value``."""
    return jnp.where(x > threshold, x, jnp.asarray(value, call.dtype))


@computes("softshrink")
def softshrink(call: Call, x: jax.Array, lambd: Any = 0.5) -> jax.Array:
    """``x`` moved towards zero by ``lambd``, and 0 within it."""
    size = jnp.asarray(lambd, call.dtype)
    return jnp.where(x > size, x - size, jnp.where(x < -size, x + size, jnp.zeros_like(x)))


@computes("hardshrink")
def hardshrink(call: Call, x: jax.Array, lambd: Any = 0.5) -> jax.Array:
    """``x``, and 0 within ``lambd`` of it."""
    size = jnp.asarray(lambd, call.dtype)
    return jnp.where((x > size) | (x < -size), x, jnp.zeros_like(x))


@computes("glu")
def glu(call: Call, x: jax.Array, dim: int = -1) -> jax.Array:
    """The first half of an axis times the sigmoid of the second."""
    del call
    first, second = jnp.split(x, 2, dim)
    return first * lax.logistic(second)


@computes("_softmax")
def softmax(call: Call, x: jax.Array, dim: int, half_to_float: bool = False) -> jax.Array:
    """``exp(x)`` by its sum along an axis."""
    del half_to_float
    return jax.nn.softmax(x.astype(call.dtype), dim if x.ndim else None)


for name, written in {"_softmax": "jax.nn.softmax", "_log_softmax": "jax.nn.log_softmax"}.items():
    forms(name)(
        lambda words, x, dim, half=False, written=written: call(
            written, words.cast(x), dim if x.ndim else None
        )
    )


@forms("leaky_relu")
def _leaky(words: Words, x: Text, negative_slope: Any = 0.01) -> Text:
    x = words.named(x)
    return call("jnp.where", f"{x} > 0", x, f"{x} * {words.number(negative_slope)}")


@computes("_log_softmax")
def log_softmax(call: Call, x: jax.Array, dim: int, half_to_float: bool = False) -> jax.Array:
    """The logarithm of the softmax."""
    del half_to_float
    return jax.nn.log_softmax(x.astype(call.dtype), dim if x.ndim else None)


@computes("_safe_softmax")
def safe_softmax(call: Call, x: jax.Array, dim: int, dtype: Any = None) -> jax.Array:
    """The softmax, and 0 along an axis that is masked from end to end with minus infinity."""
    del dtype
    x = x.astype(call.dtype)
    masked = jnp.all(x == -jnp.inf, dim, keepdims=True)
    there = jax.nn.softmax(jnp.where(masked, jnp.zeros_like(x), x), dim)
    return jnp.where(masked, jnp.zeros_like(x), there)
