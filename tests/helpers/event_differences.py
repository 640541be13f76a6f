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


def gradient_error(both, parts, generator, direction=None):
    """The relative error of a gradient; ``None`` where times have no derivative that differences can find.

    That is where a spike is born or dies, or two events change their order: times are continuous there, but with a
    kink. The step is made smaller until no kink is within it.

    Args:
        both: of :func:`with_pull_back`.
        parts: a pytree of arrays, all of which are moved at once.
        generator: draws the loss and the direction.
        direction: where to move; drawn if it is ``None``.
    """
    weights = generator.normal(size=jax.eval_shape(both, parts, 0.0)[0].shape)
    times, _, gradient = both(parts, weights)
    fired = np.asarray(times) < np.inf
    if direction is None:
        direction = jax.tree.map(lambda part: generator.normal(size=part.shape), parts)

    def moved(by):
        there = jax.tree.map(lambda part, way: part + by * way, parts, direction)
        return np.asarray(both(there, weights)[0])

    for step in (1e-6, 1e-7, 1e-8):
        far = moved(step), moved(-step)
        if any(((found < np.inf) != fired).any() for found in far):
            return None
        after, now, before = far[0][fired], np.asarray(times)[fired], far[1][fired]
        bend, slope = (np.abs(d).max(initial=0) for d in (after - 2 * now + before, after - before))
        if bend <= 1e-3 * slope:  # both are zero where no neuron fires
            break
    else:
        return None
    wide = weights[fired] @ (after - before) / (2 * step)
    narrow = weights[fired] @ (moved(step / 2)[fired] - moved(-step / 2)[fired]) / step
    expected = (4 * narrow - wide) / 3
    got = sum(float(np.vdot(g, d)) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    return abs(got - expected) / max(abs(expected), 1e-6)
