"""What the tests of kernels share: inputs, a kernel without Pallas, comparisons."""

import jax
import jax.numpy as jnp
import numpy as np

T, B, N = 3, 2, 37  # two blocks, the second one not full
TRITON = "__gpu$xla.gpu.triton"
QUICK = {"xla_backend_optimization_level": 0}


def noise(key, *shape):
    return jnp.asarray(np.random.default_rng(key).normal(0, 1.5, shape), jnp.float32)


def with_gradient(function):
    """What ``function`` returns, and the gradient of a sum of it with different weights."""

    def call(*args):
        out, pull = jax.vjp(function, *args)
        weights = [
            jnp.asarray(np.cos(np.arange(o.size)).reshape(o.shape), o.dtype) for o in jax.tree.leaves(out)
        ]
        return out, pull(jax.tree.unflatten(jax.tree.structure(out), weights))

    return call


def by_rows(loop, steps, shape, _):
    """What the kernel does, without Pallas: nothing to compile."""
    carry, rows, count = loop.states, {}, len(loop.states)
    for t in reversed(range(steps)) if loop.reverse else range(steps):
        before = [v[t - 1] for v in loop.before] if t else loop.first
        found = loop.program(loop.program.fixed, [*carry, *(v[t] for v in loop.now), *before], shape)
        carry, rows[t] = found[:count], found[count:]
    return [*carry, *(jnp.stack(r) for r in zip(*(rows[t] for t in range(steps)), strict=True))]


def agree(first, second, tolerance=1e-6):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * max(1, np.abs(a).max()))


def close(ours, theirs, tolerance):
    """Equal up to ``tolerance`` of the largest, and of one type."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = (np.asarray(v, np.float64) for v in (a, b))
        assert np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=0)
