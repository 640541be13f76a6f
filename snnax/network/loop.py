"""The time loop: chunks of steps one after the other."""

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

from snnax.network.chunks import chunk_size, is_open, open_rest
from snnax.network.compiled import Compiled
from snnax.network.keeping import Account, Plan, Saving, chosen, plan_of, recomputed, residuals, size_of
from snnax.network.kinds import keeps_little
from snnax.network.lengths import silenced, within
from snnax.network.noting import noting
from snnax.network.schedule import hoisted, way_of
from snnax.network.settings import Settings, Tree
from snnax.network.sharded import spread
from snnax.network.states import settled, start, step_of


@dataclass(frozen=True)
class Run:
    """What a run is asked for, beside arrays: runs of which it is equal share a compiled program.

    Attributes:
        net: the network.
        mutable: collections to update, besides ``hidden``.
        record: whether to return what each neuron does.
        steps: how many there are.
        constant: the input is one frame that is shown at each step.
        saving: chunks, and what the gradient keeps.
    """

    net: nn.Module
    mutable: tuple[str, ...]
    record: bool
    steps: Any
    constant: bool
    saving: Saving


def _steps_of(
    asked: Run, variables: Tree, x: jax.Array, rngs: Any, forced: Tree, lengths: jax.Array | None
) -> tuple[Any, Tree, Tree]:
    net, steps, constant = asked.net, asked.steps, asked.constant
    frame = x if constant else x[0]
    live = within(lengths, steps)
    begin = start(net, variables, frame, rngs, asked.mutable, asked.record)
    done = int(begin.first)
    left = open_rest(steps, done)
    settings = Settings(tuple(begin.carry), begin.stacked, rngs, asked.saving.short)
    if constant:
        settings = replace(settings, constants=hoisted(net, variables, x, settings))
    fixed = {c: v for c, v in variables.items() if c not in begin.carry}
    chunk = partial(_chunk, net, x if constant else None, settings, begin.stacked)
    little = keeps_little(net, begin.after)

    def advance(carry: Tree) -> Tree:
        first = {"forced": jax.tree.map(lambda v: v[0], forced)} if forced else {}
        new = net.apply({**fixed, **carry, **first}, frame, mutable=list(carry), rngs=dict(rngs))[1]
        return {c: _merge(carry[c], unfreeze(new).get(c, {})) for c in carry}

    carry, pieces, rest = begin.carry, [], (None if constant else x, forced, live)
    if done:
        first = recomputed(
            partial(chunk, 1, True, fixed), plan_of(little, asked.saving.remat, 1).kept, alone=True
        )
        carry, out = first(carry, (0, *jax.tree.map(lambda v: v[:1], rest)))
        pieces.append(out)
        rest = jax.tree.map(lambda v: v[1:], rest)
        if is_open(steps) or left:
            once = step_of(net, fixed, frame, rngs, [*carry, *begin.stacked])
            carry = settled(once, carry, frame, own=True)
    carry = spread(advance, carry)
    plan = _plan(asked, chunk, little, left, done, (fixed, carry, rest), frame)
    for length, times, entry in cut(rest, done, steps, plan.size):
        run_chunk = recomputed(partial(chunk, length, False, fixed), plan.kept, alone=left == plan.size)
        if times is None:
            carry, out = run_chunk(carry, entry)
        else:
            carry, out = lax.scan(run_chunk, carry, entry)
            out = jax.tree.map(partial(joined, times * length), out)
        pieces.append(out)
    y, stacked = pieces[0] if len(pieces) == 1 else jax.tree.map(lambda *v: jnp.concatenate(v), *pieces)
    recorded = stacked.pop("record", {})
    return silenced(y, live), {**carry, **stacked}, silenced(recorded, live)


def _chunk(
    net: nn.Module,
    constant: jax.Array | None,
    settings: Settings,
    stacked: tuple[str, ...],
    length: int,
    first: bool,
    fixed: Tree,
    carry: Tree,
    entry: tuple[Any, Any, Tree, Any],
) -> tuple[Tree, Any]:
    """``length`` steps: the collections after them, and what each of them returns."""
    number, x, forced, live = entry
    if constant is not None:
        x = jnp.broadcast_to(constant, (length, *constant.shape))
    given = {**fixed, **{c: tree for c, tree in carry.items() if tree}}
    how = replace(settings, first=first, live=live)
    y, new = way_of(net, given, x, forced, how)(net, given, x, forced, number, how)
    after = {c: _merge(carry[c], new.get(c, {})) for c in carry}
    return after, (y, {c: new[c] for c in stacked if c in new})


def _plan(
    asked: Run,
    chunk: Any,
    little: bool,
    left: Any,
    done: int,
    arrays: tuple[Tree, Tree, Any],
    frame: jax.Array,
) -> Plan:
    """How many steps run at once, and what their gradient keeps."""
    fixed, carry, rest = arrays
    saving, held = asked.saving, size_of(carry)
    size = 1
    if not (done and is_open(asked.steps)):
        size = chunk_size(asked.net, saving.chunk, left or 1, frame.shape[0], asked.constant, held)
    if is_open(asked.steps) or is_open(frame.shape[0]) or left < 2:
        return plan_of(little, saving.remat, size)

    def of_length(length: int, kept: Any) -> Any:
        def steps(fixed: Tree, carry: Tree, rest: Any) -> Any:
            return recomputed(partial(chunk, length, False, fixed), kept, alone=True)(carry, (0, *rest))

        return residuals(steps, fixed, carry, jax.tree.map(lambda v: v[:length], rest))

    account = Account(of_length, left, held, 0.0 if asked.constant else size_of(frame))
    return chosen(account, little, saving, size)


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
