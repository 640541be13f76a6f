"""What this machine's arithmetic allows to be compared."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@functools.cache
def fuses() -> bool:
    """Whether XLA multiplies and adds with one rounding, where torch and NumPy round twice."""
    value = jnp.full(64, 1 + 2.0**-12, jnp.float32)
    rest = jax.jit(lambda a, b, c: a * b + c)(value, value, -(value * value))
    return bool(np.any(np.asarray(rest)))


@functools.cache
def has_float16() -> bool:
    """Whether XLA computes in float16 here: for instruction sets without its conversions it makes no program."""
    try:
        return bool(jax.jit(lambda a: jnp.sqrt(a.astype(jnp.float16)))(jnp.ones(3))[0] == 1)
    except jax.errors.JaxRuntimeError:
        return False


last_bit = pytest.mark.skipif(
    fuses(), reason="XLA fuses multiplications and additions here, so that last bits differ from torch's"
)
"""For tests that compare last bits. ``--xla_cpu_max_isa=AVX``, the tests' default, keeps XLA from it on x86."""
