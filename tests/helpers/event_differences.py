"""Gradients of spike times against central differences, extrapolated after Richardson, in a random direction."""

import jax
import jax.numpy as jnp
import numpy as np


def with_pull_back(spike_times):
    """``(parts, weights) -> (times, overflow, gradient)`` of the weighted sum of all times, in one compiled program.

    Args:
        spike_times: ``parts -> (times, overflow)``; ``inf`` is no spike.
    """

    @jax.jit
    def both(parts, weights):
        times, pull_back, overflow = jax.vjp(lambda p: tuple(spike_times(p)), parts, has_aux=True)
        return times, overflow, pull_back(jnp.where(times < jnp.inf, weights, 0.0))[0]

    return both


def gradient_error(both, parts, generator, step=1e-6, direction=None):
    """The relative error of a gradient; ``None`` if a spike is born or dies within the differences.

    Args:
        both: of :func:`with_pull_back`.
        parts: a pytree of arrays, all of which are moved at once.
        generator: draws the loss and the direction.
        step: of the differences.
        direction: where to move; drawn if it is ``None``.
    """
    shape = jax.eval_shape(both, parts, 0.0)[0].shape
    weights = generator.normal(size=shape)
    times, _, gradient = both(parts, weights)
    fired = np.asarray(times) < np.inf
    if direction is None:
        direction = jax.tree.map(lambda part: generator.normal(size=part.shape), parts)

    losses = {}
    for by in (step, -step, step / 2, -step / 2):
        moved = jax.tree.map(lambda part, way, by=by: part + by * way, parts, direction)
        found = np.asarray(both(moved, weights)[0])
        if ((found < np.inf) != fired).any():
            return None
        losses[by] = np.sum(weights[fired] * found[fired])
    wide, narrow = (losses[step] - losses[-step]) / (2 * step), (losses[step / 2] - losses[-step / 2]) / step
    expected = (4 * narrow - wide) / 3
    got = sum(float(np.vdot(g, d)) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    return abs(got - expected) / max(abs(expected), 1e-6)
