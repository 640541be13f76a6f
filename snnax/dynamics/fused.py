"""Many steps of a neuron without feedback, whose reset waits for the next step, as one kernel for each direction.

What :func:`snnax.dynamics.sequence.run` does, for NVIDIA GPUs: the forward kernel reads the input and writes the
spikes, or for a gradient the membrane; the backward kernel reads the spikes' cotangent and the membrane and writes
the input's cotangent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from snnax.dynamics.elementwise import NotElementwiseError, program
from snnax.dynamics.firing import reset_flag, spikes
from snnax.dynamics.loops import How, Rows, each_step, linear_loop, loop

States = tuple[jax.Array, ...]


class Job(NamedTuple):
    """A neuron and what to do with it, everything that is not an array to differentiate by.

    Attributes:
        rebuild: from the parameters that are JAX arrays to charge, rule and parameters.
        every: return all states after each step.
        learned: there are parameters that are JAX arrays.
        scales_input: one of them is a factor of the input.
        short: keep bfloat16 for the backward pass.
        kept: name of what a checkpoint keeps.
        how: which kernel.
    """

    rebuild: Callable[[list[jax.Array]], tuple[Callable[..., States], Any, tuple[Any, ...]]]
    every: bool
    learned: bool
    scales_input: bool
    short: bool
    kept: str
    how: How


def kernel_here() -> How | None:
    """Which kernel the default device takes: one NVIDIA GPU, of compute capability 8 or more; else none."""
    if jax.default_backend() != "gpu" or jax.device_count() > 1:
        return None
    try:
        from jax.experimental.pallas import triton  # noqa: F401

        major = int(str(jax.devices()[0].compute_capability).partition(".")[0])
    except (ImportError, AttributeError, ValueError):
        return None
    return "cuda" if major >= 8 else None


def run(
    job: Job, given: list[jax.Array], state: States, x: jax.Array
) -> tuple[States, States, jax.Array] | None:
    """The last state, the states after each step (none unless asked for) and the spikes.

    Returns:
        ``None`` if there is no kernel for it: another dtype than float32, or a step that mixes neurons or has
        operations that the kernel does not know.
    """
    if x.size == 0 or any(a.dtype != jnp.float32 for a in (x, *state, *given)):
        return None
    row = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)

    def slope(given: list[jax.Array]) -> None:
        _, rule, _ = job.rebuild(given)
        program(lambda above, d: jax.jvp(partial(spikes, rule=rule), (above,), (d,))[1], row, row)

    try:
        jax.eval_shape(slope, given)
        return _run(job, given, state, x)
    except NotElementwiseError:
        return None


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run(job: Job, given: list[jax.Array], state: States, x: jax.Array) -> tuple[States, States, jax.Array]:
    return _forward(job, given, state, x, keep=False)[0]


def _forward(job: Job, given: list[jax.Array], state: States, x: jax.Array, keep: bool) -> tuple[Any, States]:
    """What :func:`run` returns, and what the derivative needs, from which then the spikes follow."""

    def step(given: list[jax.Array], before: States, current: jax.Array, _: Any) -> tuple[States, Any]:
        charge, rule, parameters = job.rebuild(given)
        after = charge(before, reset_flag(before[-1], rule), current, rule, *parameters)
        above = after[-1] - rule.threshold
        rest = after[:-1] if job.learned else ()
        kept = (*rest, above.astype(jnp.bfloat16) if job.short else after[-1]) if keep else ()
        return after, (after if job.every else (), () if keep else spikes(above, rule), kept)

    last, (states, spk, kept) = loop(step, given, state, Rows(x), job.how)
    return (last, states, spk), kept


@_run.defjvp
def _run_jvp(job: Job, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    given, state, x = primals
    d_given, d_state, d_x = tangents
    (last, states, _), kept = _forward(job, given, state, x, keep=True)
    kept = tuple(checkpoint_name(k, job.kept) for k in kept)
    current = checkpoint_name(x, job.kept) if job.learned and job.scales_input else ()
    _, rule, _ = job.rebuild(given)
    # Not by the kernel: a checkpoint computes the spikes again, and should need nothing else for it.
    spk = spikes(kept[-1].astype(x.dtype) if job.short else kept[-1] - each_step(rule.threshold), rule)
    if job.every and not job.short:
        states = (*states[:-1], kept[-1])
    mem = state[-1] - rule.threshold if job.short else state[-1]
    first = (*(state[:-1] if job.learned else ()), mem)

    def step(given: Any, now: Any, before: Any, d_given: Any, d_before: States, d_x: jax.Array) -> Any:
        _, rule, _ = job.rebuild(given)
        (kept_now, current), zeros = now, jnp.zeros_like(d_x)

        def above(kept: jax.Array) -> jax.Array:
            return kept.astype(d_x.dtype) if job.short else kept - rule.threshold

        flag = lax.stop_gradient(spikes(above(before[-1]), rule))
        mem = above(before[-1]) + rule.threshold if job.short else before[-1]
        states = (*before[:-1], mem) if job.learned else (zeros,) * len(d_before)

        def charged(values: Any, states: States, x: jax.Array) -> tuple[States, jax.Array]:
            charge, rule, parameters = job.rebuild(values)
            after = charge(states, flag, x, rule, *parameters)
            return after, after[-1] - rule.threshold

        point = (given, states, zeros if isinstance(current, tuple) else current)
        d_after, d_above = jax.jvp(charged, point, (d_given, d_before, d_x))[1]
        d_spk = jax.jvp(partial(spikes, rule=rule), (above(kept_now),), (d_above,))[1]
        return d_after, (d_after if job.every else (), d_spk)

    rows = Rows((kept[-1], current), first, kept)
    d_last, (d_states, d_spk) = linear_loop(step, given, rows, d_given, d_state, d_x, job.how)
    return (last, states, spk), (d_last, d_states, d_spk)
