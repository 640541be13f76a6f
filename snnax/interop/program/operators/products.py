"""Products of matrices and vectors, in full precision on every platform."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.activations import safe_softmax
from snnax.interop.program.operators.arithmetic import scaled
from snnax.interop.program.operators.forms import PRODUCT, SUM, Text, Words, forms, infix
from snnax.interop.program.operators.promotion import aligned, operands
from snnax.interop.program.operators.registry import Call, computes
from snnax.kernels.product import dot_general

FULL = lax.Precision.HIGHEST


@computes("mm", "mv", "dot", "vdot", "matmul", "bmm")
def matmul(call: Call, x: jax.Array, other: jax.Array) -> jax.Array:
    """The product of two matrices, a matrix and a vector, two vectors, or of many matrices."""
    del call
    if x.ndim == other.ndim == 2:  # the product of snnax's own dense layers
        return dot_general(x, other, (((1,), (0,)), ((), ())), precision=FULL)
    return jnp.matmul(x, other, precision=FULL)


@computes("addmm", "addmv", "baddbmm")
def addmm(
    call: Call, x: jax.Array, first: jax.Array, second: jax.Array, beta: Any = 1, alpha: Any = 1
) -> jax.Array:
    """``beta x + alpha first second``; with ``beta`` 0 whatever ``x`` is, infinite or no number."""
    product = scaled(matmul(call, first, second), alpha)
    if isinstance(beta, int | float) and beta == 0:
        return product
    product, x = aligned(product, scaled(x, beta))
    return product + x


forms("mm", "mv", "dot", "vdot", "matmul", "bmm")(lambda words, x, other: infix("@", x, other, PRODUCT))


@forms("addmm", "addmv", "baddbmm")
def _product_and_sum(
    words: Words, x: Text, first: Text, second: Text, beta: Any = 1, alpha: Any = 1
) -> Text | None:
    if (beta, alpha) != (1, 1):
        return None
    return infix("+", infix("@", first, second, PRODUCT), words.aligned(x, len(words.shape)), SUM)


@computes("addbmm")
def addbmm(
    call: Call, x: jax.Array, first: jax.Array, second: jax.Array, beta: Any = 1, alpha: Any = 1
) -> jax.Array:
    """``beta x`` and ``alpha`` times the sum of many products."""
    return addmm(call, x, jnp.concatenate(first, -1), jnp.concatenate(second, 0), beta, alpha)


@computes("linear")
def linear(call: Call, x: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """``x W^T + b`` over the last axis."""
    product = dot_general(x, weight.T, (((x.ndim - 1,), (0,)), ((), ())), precision=FULL)
    return product if bias is None else jnp.add(*operands(call, product, bias))


@computes("outer", "ger")
def outer(call: Call, x: jax.Array, other: jax.Array) -> jax.Array:
    """The product of each number of one vector with each of another."""
    x, other = operands(call, x, other)
    return x[:, None] * other[None, :]


@computes("trace")
def trace(call: Call, x: jax.Array) -> jax.Array:
    """The sum of the diagonal."""
    return jnp.trace(x, dtype=call.dtype)


@computes("_scaled_dot_product_flash_attention_for_cpu")
def attention(
    call: Call,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    attn_mask: jax.Array | None = None,
    scale: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    """``softmax(s Q K^T + mask) V`` and the logarithms of the sums of the exponentials."""
    if dropout_p:
        raise call.refused(f"it drops {dropout_p} of the weights at random", "Call eval() on the network.")
    size = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = scaled(matmul(call, query, key.swapaxes(-1, -2)), size)
    if is_causal:
        seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        seen, scores = aligned(seen, scores)
        scores = jnp.where(seen, scores, -jnp.inf)
    if attn_mask is not None:
        scores = jnp.add(*aligned(scores, attn_mask.astype(scores.dtype)))
    sums = lax.stop_gradient(jax.nn.logsumexp(scores, -1))  # torch keeps them, and they are no way for slopes
    return matmul(call, safe_softmax(call, scores, -1), value), sums
