"""An elementwise loop over time as one Pallas kernel: blocks of neurons, their state in registers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.dynamics.elementwise import Program, Slot

AHEAD = 8
"""Steps whose inputs are requested together: a step takes far less time than its input takes to arrive."""

PROGRAMS = 528
"""Programs that keep a GPU of 132 processors busy, four on each; below, blocks are made smaller."""

BLOCK, SMALLEST = 512, 64
"""Most and fewest neurons of a program: four for each thread, or two."""


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


class _Sizes(NamedTuple):
    """Neurons, neurons of a program, and which rows the loop reads and writes (each written row once)."""

    neurons: int
    block: int
    now: list[int]
    before: list[int]
    written: list[int]


def run_blocks(loop: Loop, steps: int, shape: tuple[int, ...], interpret: bool) -> list[jax.Array]:
    """The states at the end and the outputs ``[T, ...]`` of ``steps`` steps of neurons of ``shape``."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    program, count = loop.program, len(loop.states)
    size, current = math.prod(shape), count + len(loop.now)
    outputs = [out if isinstance(out, Slot) else id(out) for out in program.outputs[count:]]
    sizes = _Sizes(
        size,
        block_size(size),
        [i for i in range(len(loop.now)) if program.used[count + i]],
        [i for i in range(len(loop.before)) if program.used[current + i]],
        [i for i, out in enumerate(outputs) if outputs.index(out) == i],
    )
    scalar = pl.BlockSpec((1,), lambda i: (0,))
    row = pl.BlockSpec((sizes.block,), lambda i: (i,))
    rows = pl.BlockSpec((steps, sizes.block), lambda i: (0, i))
    given = [
        *((v.reshape(-1), row if v.ndim or not shape else scalar) for v in program.fixed),
        *((v.reshape(-1), row) for v in loop.states),
        *((loop.now[i].reshape(steps, -1), rows) for i in sizes.now),
        *((loop.first[i].reshape(-1), row) for i in sizes.before),
        *((loop.before[i].reshape(steps, -1), rows) for i in sizes.before),
    ]
    returned = [
        *((jax.ShapeDtypeStruct((size,), dtype), row) for dtype in program.dtypes[:count]),
        *((jax.ShapeDtypeStruct((steps, size), program.dtypes[count + i]), rows) for i in sizes.written),
    ]
    found = pl.pallas_call(
        partial(_block, loop, sizes, steps),
        grid=(pl.cdiv(size, sizes.block),),
        in_specs=[spec for _, spec in given],
        out_specs=[spec for _, spec in returned],
        out_shape=[value for value, _ in returned],
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=max(1, sizes.block // 128), num_stages=1),
        name="snnax_neuron",
    )(*(value for value, _ in given))
    whole = [v.reshape(*v.shape[:-1], *shape) for v in found]
    each = dict(zip(sizes.written, whole[count:], strict=True))
    return [*whole[:count], *(each[outputs.index(out)] for out in outputs)]


def _block(loop: Loop, sizes: _Sizes, steps: int, *refs: Any) -> None:
    """All steps of one block of neurons."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    rest, count, zero = iter(refs), len(loop.states), np.int32(0)

    def take(number: int) -> list[Any]:
        return list(islice(rest, number))

    fixed, states, now = take(len(loop.program.fixed)), take(count), take(len(sizes.now))
    first, before, ends = take(len(sizes.before)), take(len(sizes.before)), take(count)
    outputs = list(rest)
    mask = None
    if sizes.neurons % sizes.block:
        mask = pl.program_id(0) * sizes.block + jnp.arange(sizes.block, dtype=jnp.int32) < sizes.neurons

    def load(ref: Any) -> jax.Array:
        return triton.load(ref, mask=mask, other=None if mask is None else jnp.zeros((), ref.dtype))

    def earlier(t: Any, rows: Any, start: Any) -> jax.Array:
        return load(rows.at[t - np.int32(1), :]).astype(start.dtype)

    known = [ref[0] if ref.shape == (1,) else load(ref) for ref in fixed]

    def advance(carry: list[jax.Array], current: list[Any], previous: list[Any], t: Any) -> list[jax.Array]:
        inputs = [*carry, *[None] * (len(loop.now) + len(loop.before))]
        for i, value in zip(sizes.now, current, strict=True):
            inputs[count + i] = value
        for i, value in zip(sizes.before, previous, strict=True):
            inputs[count + len(loop.now) + i] = value
        found = loop.program(known, inputs, (sizes.block,))
        for ref, i in zip(outputs, sizes.written, strict=True):
            triton.store(ref.at[t, :], found[count + i], mask=mask)
        return found[:count]

    def several(start: Any, number: int, carry: list[jax.Array]) -> list[jax.Array]:
        """Steps ``start`` and the following, in the loop's direction; none of them is step 0."""
        times = [start + np.int32(-k if loop.reverse else k) for k in range(number)]
        loaded = [
            (
                [load(ref.at[t, :]) for ref in now],
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
