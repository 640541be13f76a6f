"""An elementwise loop over time as one Pallas kernel: blocks of neurons, their state in registers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.dynamics.elementwise import Program

AHEAD = 8
"""Steps whose inputs are requested together: a step takes far less time than its input takes to arrive."""

PROGRAMS = 528
"""Programs that keep a GPU of 132 processors busy, four on each; below, blocks are made smaller."""

BLOCK, SMALLEST = 512, 64
"""Most and fewest neurons of a program: four of them, or one, for each thread."""


class Loop(NamedTuple):
    """What :func:`run_blocks` loops over.

    Attributes:
        program: of the states, then a row of each of ``now``, then a row of each of ``before``; gives the new
            states, then a row of each output.
        states: before the first step.
        now: ``[T, ...]``, row t in step t.
        first: before the first step, for each of ``before``.
        before: ``[T, ...]``, row t - 1 in step t, in the dtype of ``first``.
        reverse: from the last step to the first.
    """

    program: Program
    states: list[jax.Array]
    now: list[jax.Array]
    first: list[jax.Array]
    before: list[jax.Array]
    reverse: bool


def run_blocks(loop: Loop, steps: int, shape: tuple[int, ...], interpret: bool) -> list[jax.Array]:
    """The states at the end and the outputs ``[T, ...]`` of ``steps`` steps of neurons of ``shape``."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    size = math.prod(shape)
    block = block_size(size)
    program, count = loop.program, len(loop.states)
    used_now = [i for i in range(len(loop.now)) if program.used[count + i]]
    used_before = [i for i in range(len(loop.before)) if program.used[count + len(loop.now) + i]]
    scalar = pl.BlockSpec((1,), lambda i: (0,))
    row = pl.BlockSpec((block,), lambda i: (i,))
    rows = pl.BlockSpec((steps, block), lambda i: (0, i))

    fixed = [(v.reshape(1), scalar) if v.ndim == 0 and shape else (v.reshape(-1), row) for v in program.fixed]
    given = [
        *fixed,
        *((v.reshape(-1), row) for v in loop.states),
        *((loop.now[i].reshape(steps, -1), rows) for i in used_now),
        *((loop.first[i].reshape(-1), row) for i in used_before),
        *((loop.before[i].reshape(steps, -1), rows) for i in used_before),
    ]
    returned = [
        (jax.ShapeDtypeStruct((size,), dtype), row)
        if i < count
        else (jax.ShapeDtypeStruct((steps, size), dtype), rows)
        for i, dtype in enumerate(program.dtypes)
    ]

    def kernel(*refs: Any) -> None:
        rest = iter(refs)

        def take(number: int) -> list[Any]:
            return [next(rest) for _ in range(number)]

        constants, states, now = take(len(fixed)), take(count), take(len(used_now))
        first, before, ends = take(len(used_before)), take(len(used_before)), take(count)
        outputs = list(rest)
        mask, zero = None, np.int32(0)
        if size % block:
            mask = pl.program_id(0) * block + jnp.arange(block, dtype=jnp.int32) < size

        def load(ref: Any) -> jax.Array:
            return triton.load(ref, mask=mask, other=None if mask is None else jnp.zeros((), ref.dtype))

        known = [
            ref[0] if ref.shape == (1,) and spec is scalar else load(ref)
            for ref, (_, spec) in zip(constants, fixed, strict=True)
        ]

        def earlier(t: Any, rest: Any, start: Any) -> jax.Array:
            return load(rest.at[t - np.int32(1), :]).astype(start.dtype)

        def advance(
            carry: list[jax.Array], current: list[Any], previous: list[Any], t: Any
        ) -> list[jax.Array]:
            inputs = [*carry, *[None] * (len(loop.now) + len(loop.before))]
            for i, value in zip(used_now, current, strict=True):
                inputs[count + i] = value
            for i, value in zip(used_before, previous, strict=True):
                inputs[count + len(loop.now) + i] = value
            found = program(known, inputs, (block,))
            for ref, value in zip(outputs, found[count:], strict=True):
                triton.store(ref.at[t, :], value, mask=mask)
            return found[:count]

        def several(start: Any, number: int, carry: list[jax.Array]) -> list[jax.Array]:
            """Steps ``start`` and the following, in the loop's direction; none of them is step 0."""
            times = [start + np.int32(-k if loop.reverse else k) for k in range(number)]
            loaded = [
                (
                    [load(r.at[t, :]) for r in now],
                    [earlier(t, *pair) for pair in zip(before, first, strict=True)],
                )
                for t in times
            ]
            for t, (current, previous) in zip(times, loaded, strict=True):
                carry = advance(carry, current, previous, t)
            return carry

        def at_zero(carry: list[jax.Array]) -> list[jax.Array]:
            return advance(carry, [load(ref.at[zero, :]) for ref in now], [load(ref) for ref in first], zero)

        carry = [load(ref) for ref in states]
        carry = carry if loop.reverse else at_zero(carry)
        carry = _chunks(several, steps - 1, carry, loop.reverse)
        carry = at_zero(carry) if loop.reverse else carry
        for ref, value in zip(ends, carry, strict=True):
            triton.store(ref, value, mask=mask)

    found = pl.pallas_call(
        kernel,
        grid=(pl.cdiv(size, block),),
        in_specs=[spec for _, spec in given],
        out_specs=[spec for _, spec in returned],
        out_shape=[value for value, _ in returned],
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=max(1, block // 128), num_stages=1),
        name="snnax_neuron",
    )(*(value for value, _ in given))
    return [v.reshape(*v.shape[:-1], *shape) for v in found]


def block_size(neurons: int) -> int:
    """Neurons of one program, a power of 2."""
    block = BLOCK
    while block > SMALLEST and neurons < block * PROGRAMS:
        block //= 2
    return block


def _chunks(
    several: Callable[..., list[jax.Array]], steps: int, carry: list[jax.Array], reverse: bool
) -> list[jax.Array]:
    """Steps 1 to ``steps``, :data:`AHEAD` at a time and the rest at once."""
    whole, rest = divmod(steps, AHEAD)
    start, sign = np.int32(steps if reverse else 1), np.int32(-AHEAD if reverse else AHEAD)
    if whole > 1:
        carry = lax.fori_loop(
            np.int32(0),
            np.int32(whole),
            lambda i, c: several(start + sign * i, AHEAD, c),
            carry,
        )
    elif whole:
        carry = several(start, AHEAD, carry)
    return several(start + sign * np.int32(whole), rest, carry) if rest else carry
