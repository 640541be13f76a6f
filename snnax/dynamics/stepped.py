"""Many steps of any elementwise step function as one kernel for each direction.

What ``lax.scan`` does, for NVIDIA GPUs, of neurons that :mod:`snnax.dynamics.fused` does not know: those that reset
at once, that are quantized, that drive themselves. The backward kernel reads the state before each step and the
input, and takes the derivative of the step there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax.dynamics.elementwise import NotElementwiseError
from snnax.dynamics.loops import How, Rows, linear_loop, loop

Step = Callable[[Any, Any, jax.Array], tuple[Any, Any]]


class _Job(NamedTuple):
    step: Step
    how: How


def run(step: Step, constants: Any, state: Any, x: jax.Array, how: How) -> tuple[Any, Any] | None:
    """The state after all steps, and what each gave, ``[T, ...]``.

    Args:
        step: ``(constants, state, x)`` of one step to the state after it and what it gives.
        constants: a tree of arrays: scalars, or aligned to the neurons.
        state: a tree of arrays of one shape, before the first step.
        x: input of that shape, ``[T, ...]``.
        how: which kernel.

    Returns:
        ``None`` if there is no kernel for it: another dtype than float32, no state, or a step that mixes
        neurons or has operations that the kernel does not know.
    """
    leaves = jax.tree.leaves((constants, state, x))
    if x.size == 0 or not jax.tree.leaves(state) or any(v.dtype != jnp.float32 for v in leaves):
        return None
    try:
        return _run(_Job(step, how), constants, state, x)
    except NotElementwiseError:
        return None


def _forward(job: _Job, constants: Any, state: Any, x: jax.Array, keep: bool) -> tuple[Any, Any, Any]:
    """The last state, what the steps gave and, if they are to be kept, the states after each."""

    def step(constants: Any, before: Any, now: jax.Array, _: Any) -> tuple[Any, Any]:
        after, given = job.step(constants, before, now)
        return after, (given, after if keep else ())

    last, (given, states) = loop(step, constants, state, Rows(x), job.how)
    return last, given, states


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run(job: _Job, constants: Any, state: Any, x: jax.Array) -> tuple[Any, Any]:
    return _forward(job, constants, state, x, keep=False)[:2]


@_run.defjvp
def _run_jvp(job: _Job, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    constants, state, x = primals
    last, given, states = _forward(job, constants, state, x, keep=True)

    def step(constants: Any, now: jax.Array, before: Any, *directions: Any) -> tuple[Any, Any]:
        return jax.jvp(job.step, (constants, before, now), directions)[1]

    d_constants, d_state, d_x = tangents
    rows = Rows(x, state, states)
    return (last, given), linear_loop(step, constants, rows, d_constants, d_state, d_x, job.how)
