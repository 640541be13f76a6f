"""The time loop: chunks of steps one after the other, and how many steps a chunk has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from jax import lax
from jax.export import symbolic_shape

from snnax import checks
from snnax.checks import whole
from snnax.errors import ArgumentError
from snnax.kernels.pooling import PLACE
from snnax.network.compiled import Compiled
from snnax.network.kinds import has_convolution, keeps_little
from snnax.network.lengths import silenced, within
from snnax.network.noting import noting
from snnax.network.schedule import hoisted, way_of
from snnax.network.settings import Settings, Tree
from snnax.network.sharded import spread
from snnax.network.states import settled, start, step_of
from snnax.network.time import KEPT

_ROWS = 400  # samples per chunk that make a matrix product fast, and its sum of weight gradients cheap
_STEPS = 5  # but no fewer steps
_FRAMES = 128  # samples per chunk that stay in the cache where no product of the input needs more

LITTLE = (KEPT, PLACE)
"""What a chunk of neurons and layers without memory keeps for its gradient: everything else follows from it."""

PRODUCTS = frozenset({"conv_general_dilated", "dot_general", "snnax_conv", "snnax_product"})
"""Operations that cost more to do again than their results take memory, where the gradient uses these: what a batch
normalization gets. What a neuron gets it does not use."""


@dataclass(frozen=True)
class Run:
    """What a run is asked for, beside arrays: runs of which it is equal share a compiled program.

    Attributes:
        net: the network.
        mutable: collections to update, besides ``hidden``.
        record: whether to return what each neuron does.
        chunk: steps of a chunk, or ``"auto"``.
        steps: how many there are.
        constant: the input is one frame that is shown at each step.
        short: keep bfloat16 for the backward pass.
        remat: what the gradient recomputes, as :func:`~snnax.unroll` takes it.
    """

    net: nn.Module
    mutable: tuple[str, ...]
    record: bool
    chunk: int | str
    steps: Any
    constant: bool
    short: bool
    remat: bool | str


def _steps_of(
    asked: Run, variables: Tree, x: jax.Array, rngs: Any, forced: Tree, lengths: jax.Array | None
) -> tuple[Any, Tree, Tree]:
    net, steps, constant, remat = asked.net, asked.steps, asked.constant, asked.remat
    frame = x if constant else x[0]
    live = within(lengths, steps)
    begin = start(net, variables, frame, rngs, asked.mutable, asked.record)
    done = int(begin.first)
    left = open_rest(steps, done)
    size = 1 if done and is_open(steps) else chunk_size(net, asked.chunk, left or 1, frame.shape[0], constant)
    settings = Settings(tuple(begin.carry), begin.stacked, rngs, asked.short)
    if constant:
        settings = replace(settings, constants=hoisted(net, variables, x, settings))
    fixed = {c: v for c, v in variables.items() if c not in begin.carry}

    def chunk(length: int, first: bool, carry: Tree, entry: tuple[Any, Any, Tree, Any]) -> tuple[Tree, Any]:
        number, x_c, forced_c, live_c = entry
        if constant:
            x_c = jnp.broadcast_to(x, (length, *x.shape))
        given = {**fixed, **{c: tree for c, tree in carry.items() if tree}}
        how = replace(settings, first=first, live=live_c)
        y, new = way_of(net, given, x_c, forced_c, how)(net, given, x_c, forced_c, number, how)
        after = {c: _merge(carry[c], new.get(c, {})) for c in carry}
        return after, (y, {c: new[c] for c in begin.stacked if c in new})

    kept: tuple[str, ...] | None = None
    if remat is True or (remat and keeps_little(net, begin.after)):
        kept = () if remat is True else LITTLE

    def steps_of(length: int, first: bool = False) -> Any:
        return recomputed(partial(chunk, length, first), kept, alone=left == size)

    def advance(carry: Tree) -> Tree:
        first = {"forced": jax.tree.map(lambda v: v[0], forced)} if forced else {}
        new = net.apply({**fixed, **carry, **first}, frame, mutable=list(carry), rngs=dict(rngs))[1]
        return {c: _merge(carry[c], unfreeze(new).get(c, {})) for c in carry}

    carry, pieces, rest = begin.carry, [], (None if constant else x, forced, live)
    if done:
        carry, out = steps_of(1, True)(carry, (0, *jax.tree.map(lambda v: v[:1], rest)))
        pieces.append(out)
        rest = jax.tree.map(lambda v: v[1:], rest)
        if is_open(steps) or left:
            once = step_of(net, fixed, frame, rngs, [*carry, *begin.stacked])
            carry = settled(once, carry, frame, own=True)
    carry = spread(advance, carry)
    for length, times, entry in cut(rest, done, steps, size):
        if times is None:
            carry, out = steps_of(length)(carry, entry)
        else:
            carry, out = lax.scan(steps_of(length), carry, entry)
            out = jax.tree.map(partial(joined, times * length), out)
        pieces.append(out)
    y, stacked = pieces[0] if len(pieces) == 1 else jax.tree.map(lambda *v: jnp.concatenate(v), *pieces)
    recorded = stacked.pop("record", {})
    return silenced(y, live), {**carry, **stacked}, silenced(recorded, live)


def recomputed(chunk: Any, kept: tuple[str, ...] | None, alone: bool) -> Any:
    """``chunk`` whose gradient computes it again, but for what has one of the names; ``None``: for nothing.

    Args:
        chunk: a function of arrays.
        kept: names given by ``jax.ad_checkpoint.checkpoint_name``. With any of them, results of products are kept too.
        alone: it is not inside of a loop, where XLA does not take both computations for one.
    """
    if kept is None:
        return chunk
    # not static_argnums: jax.checkpoint remembers what it made for them, and with it what chunk closes over
    named = jax.checkpoint_policies.save_only_these_names(*kept)

    def policy(operation: Any, *arrays: Any, **settings: Any) -> Any:
        return bool(kept and operation.name in PRODUCTS) or named(operation, *arrays, **settings)

    return jax.checkpoint(chunk, policy=policy, prevent_cse=alone)


def _run(asked: Run, *arrays: Any) -> tuple[Any, Tree, Tree]:
    with noting(asked.record):
        return _steps_of(asked, *arrays)


run = Compiled(_run)
"""``run(net, asked, variables, x, rngs, forced, lengths)``: outputs, updated collections, and what was recorded."""


def cut(given: Any, done: int, steps: Any, size: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The steps from number ``done`` on: chunks of ``size``, and what is left over.

    Each is ``(length, times, (number of the first step, *given))``, where ``times`` is how many chunks of that length
    follow each other, on the first axis; ``None`` for one without that axis.
    """
    whole, tail = divmod(steps - done, size)
    if is_open(whole) or whole:
        cut = jax.tree.map(lambda v: v[: whole * size].reshape(whole, size, *v.shape[1:]), given)
        entries = (done + size * jnp.arange(whole), *cut)
        single = whole == 1
        yield size, None if single else whole, jax.tree.map(lambda v: v[0], entries) if single else entries
    if tail:
        yield tail, None, (done + whole * size, *jax.tree.map(lambda v: v[whole * size :], given))


def joined(steps: Any, v: jax.Array) -> jax.Array:
    """Of chunks ``[times, length, ...]`` all steps."""
    return v.reshape(steps, *v.shape[2:])


def _merge(old: Any, new: Any) -> Any:
    """``old`` with the branches of ``new`` in place of its own."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{k: _merge(old[k], v) if k in old else v for k, v in new.items()}}


def whole_steps(what: str, value: Any, other: str = "") -> int:
    """A number of steps; ``what`` and ``other`` are for the error: what it is, and what else it may be."""
    number = whole(value)
    if number is None or number >= 2**31:
        raise ArgumentError(f"{what}={checks.shown(value)}; expected {other}a whole number of steps >= 1.")
    return number


def is_open(size: Any) -> bool:
    """Whether a length is one that ``jax.export`` leaves open (``jax.export.symbolic_shape``)."""
    return not isinstance(size, int) and isinstance(size, type(symbolic_shape("n")[0]))


def open_rest(steps: Any, done: int) -> Any:
    """Steps after those that are done. Of an open number of steps there is no program for none of them.

    Raises:
        ArgumentError: says how the shape is made of which JAX knows that steps are left.
    """
    left = steps - done
    if done and is_open(steps):
        try:
            known = left >= 1
        except Exception:  # JAX's class for what it cannot compare is private
            known = False
        if not known:
            raise ArgumentError(
                f"the number of time steps is {steps}, which jax.export leaves open, and a module of your own declares "
                "a state in the first step, so that steps must be left after it. Say so where the shape is made: "
                f"jax.export.symbolic_shape(..., constraints=['{steps} >= {done + 1}'])."
            )
    return left


def chunk_size(net: nn.Module, chunk: int | str, steps: int, batch: int, constant: bool) -> int:
    """How many steps run at once: what was asked for, or what is fast on a CPU."""
    if isinstance(chunk, str) and chunk == "auto":
        if is_open(steps):
            return 1
        return fast_size(steps, batch, constant or has_convolution(net))
    if is_open(steps):
        return _of_open(steps, chunk)
    return min(whole_steps("chunk", chunk, "'auto' or "), steps)


def fast_size(steps: int, batch: int, light: bool) -> int:
    """How many steps at once are fast on a CPU; ``light``: without products of the input that are large matrices'."""
    if is_open(batch):
        return _divisor(steps, _STEPS)
    wanted = _FRAMES / max(batch, 1) if light else max(_STEPS, _ROWS / max(batch, 1))
    return _divisor(steps, wanted)


def _of_open(steps: Any, chunk: Any) -> Any:
    """The size of a chunk if ``jax.export`` leaves T open: there is no program for a rest that may be empty."""
    size = chunk if is_open(chunk) else whole_steps("chunk", chunk, "'auto' or ")
    if steps % size != 0:
        raise ArgumentError(
            f"chunk={chunk!r}, but the number of time steps is {steps}, which jax.export leaves open and which may "
            "be no multiple of it. Pass chunk='auto' for one step at a time, or chunk=x.shape[0] for all at once."
        )
    return size


def _divisor(steps: int, wanted: float) -> int:
    """About ``wanted``; if there is one near, a divisor of ``steps``: what is left over is a program of its own."""
    wanted = min(max(wanted, 1), steps)
    near = [
        d for d in range(max(1, int(wanted / 4)), int(4 * wanted) + 1) if steps % d == 0 and wanted / 4 <= d
    ]
    if near:
        return min(near, key=lambda d: max(d / wanted, wanted / d))
    return -(-steps // round(steps / wanted))
