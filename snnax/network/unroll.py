"""``unroll``: a network over all its time steps, compiled as one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics.sequence import KEPT
from snnax.errors import ArgumentError
from snnax.kernels.pooling import PLACE
from snnax.modules import NET, VARIABLES, explained
from snnax.network.arguments import (
    check_force,
    check_remat,
    chunk_size,
    collections,
    count_steps,
    forced_spikes,
    is_open,
    keeps_bfloat16,
    keys_of,
    open_rest,
    path_of,
    recorded_names,
)
from snnax.network.compiled import Compiled
from snnax.network.kinds import instances, is_layered, keeps_little
from snnax.network.members import check_stepwise
from snnax.network.schedule import Settings, Tree, hoisted, run_chunk, run_container
from snnax.network.sharded import spread
from snnax.network.states import settled, start, step_of

__all__ = ["unroll"]


def unroll(
    net: nn.Module,
    variables: Mapping[str, Any],
    x: ArrayLike,
    *,
    rngs: Mapping[str, jax.Array] | None = None,
    mutable: str | Sequence[str] = (),
    record: bool | Sequence[str] | None = None,
    force: Mapping[str, ArrayLike] | None = None,
    chunk: int | str = "auto",
    num_steps: int | None = None,
    residuals: Any = None,
    remat: bool | str = "auto",
) -> Any:
    """Run a network over time: ``y[t], hidden[t+1] = net(x[t], hidden[t])`` for t = 0 ... T-1.

    Starts from ``variables["hidden"]`` if it is there, else from zeros; a module of your own starts from what the
    ``init_fn`` of ``self.variable("hidden", name, init_fn, ...)`` gives. One compiled program: an outer scan over
    chunks of time, and within a chunk each layer without memory runs once on chunk*B samples.

    Carried from step to step are ``hidden`` and the collections in ``mutable``; a network that keeps a state elsewhere
    is refused. Sown values (``self.sow``) are stacked to ``[T, ...]``.

    The program is compiled once and kept. It is compiled anew under ``flax.linen.intercept_methods``, and if something
    changes that a module of your own, or a function in a field, reads beside its fields: class attributes, global
    variables, and what is in the dictionaries, lists, NumPy arrays and objects that they name, up to 10 000 values.

    Args:
        net: any linen module whose neurons use ``init_hidden=True``.
        variables: its variables, as ``init`` or ``from_snntorch`` return them; with other weights ``{**variables,
            "params": params}``, since ``buffers`` hold what is fixed for each neuron.
        x: input ``[T, B, ...]``; with ``num_steps`` one frame ``[B, ...]`` that is shown at every step.
        rngs: keys by name, for layers that draw random numbers; each step gets its own.
        mutable: further collections to update and carry, as ``"batch_stats"``.
        record: ``True`` for all neurons, or names of some (paths, as ``"layers_1"`` or ``"block/lif"``).
        force: spikes ``[T, B, ...]`` by neuron path that these neurons emit instead of their own (teacher
            forcing; what they would have done is still recorded); of NIR's integrators, membranes.
        chunk: steps per chunk; results do not depend on it. ``"auto"`` takes a size that keeps the merged
            batch within the cache and divides T. Of a T that ``jax.export`` leaves open it takes one step at a time;
            ``chunk=x.shape[0]`` takes all.
        num_steps: T, for an input that is constant in time; layers before the first neuron then run once.
        residuals: dtype of what each neuron keeps of each step for the gradient: None for its own, or
            ``jnp.bfloat16`` for half of the memory; spikes stay the same, slopes of surrogates are rounded.
        remat: what the gradient recomputes. ``"auto"``: all but one array for each neuron and step, where the
            network allows; ``True``: all but the states between chunks; ``False``: nothing.

    Returns:
        ``(outputs, updates)``: what ``net`` returns, each stacked to ``[T, B, ...]``, and the updated
        collections (``hidden`` after the last step). With ``record`` also a third item:
        ``{path: {"input": ..., "spk": ..., "mem": ...}}``, each ``[T, B, ...]``.

    Raises:
        ShapeError: if ``x`` lacks an axis that a layer needs, or spikes in ``force`` do not fit their neuron.
        StateError: if the stored hidden state belongs to another batch size, a state changes its shape, or one is in a
            collection that is not named.
        ArgumentError: for a bad ``chunk``, ``num_steps``, ``mutable`` or ``rngs``, names in ``record`` /
            ``force`` that no neuron has, a neuron that takes whole sequences, or ``params`` without the ``buffers``
            that belong to them.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True, output=True)])
        >>> x = jnp.ones((25, 8, 3))
        >>> variables = net.init(jax.random.key(0), x[0])
        >>> (spk, mem), updates = snn.unroll(net, variables, x)
        >>> spk.shape, updates["hidden"]["layers_1"]["mem"].shape
        ((25, 8, 4), (8, 4))

    Compared with snnTorch: replaces ``for step in range(num_steps)`` with its lists of spikes and
    ``torch.stack``, and ``utils.reset``: pass ``snnax.utils.reset(variables)`` and it starts anew.
    """
    NET(net, "unroll(net=...)")
    VARIABLES(variables, "unroll(variables=...)")
    x = checks.array(x, "unroll(x=...)")
    names, wanted = collections(mutable), recorded_names(record)
    check_stepwise(instances(net))
    constant = num_steps is not None
    steps = count_steps(x, num_steps)
    plain = unfreeze(dict(variables))
    keys = keys_of(rngs)
    chunk_size(net, chunk, steps, x.shape[0] if constant else x.shape[1], constant)
    options = (keeps_bfloat16(residuals), check_remat(remat))
    static = (net, names, bool(record), chunk, steps, constant, options)
    given = forced_spikes(force)
    if given:
        check_force(net, plain, x if constant else x[0], keys, names, steps, given)
    forced = unflatten_dict({(*path_of(name), "spk"): value for name, value in given.items()})
    frame = jax.ShapeDtypeStruct(x.shape if constant else x.shape[1:], x.dtype)
    try:
        hash(net)
    except TypeError:
        with explained(net, (frame,)):
            y, updates, recorded = _run(static, plain, x, keys, forced)
    else:
        with explained(net, (frame,)):
            y, updates, recorded = _compiled(net, static, plain, x, keys, forced)
    if not record:
        return y, updates
    return y, updates, _select(recorded, wanted)


def _run(static: Any, variables: Tree, x: jax.Array, rngs: Any, forced: Tree) -> tuple[Any, Tree, Tree]:
    net, mutable, record, wanted, steps, constant, (short, remat) = static
    frame = x if constant else x[0]
    begin = start(net, variables, frame, rngs, mutable, record)
    done = int(begin.first)
    left = open_rest(steps, done)
    size = 1 if done and is_open(steps) else chunk_size(net, wanted, left or 1, frame.shape[0], constant)
    settings = Settings(tuple(begin.carry), begin.stacked, rngs, short)
    constants = hoisted(net, variables, x, settings) if constant else {}
    fixed = {c: v for c, v in variables.items() if c not in begin.carry}

    def chunk(length: int, first: bool, carry: Tree, entry: tuple[Any, Any, Tree]) -> tuple[Tree, Any]:
        number, x_c, forced_c = entry
        if constant:
            x_c = jnp.broadcast_to(x, (length, *x.shape))
        given = {**fixed, **{c: tree for c, tree in carry.items() if tree}}
        how = replace(settings, first=first)
        if is_layered(net):
            y, new = run_container(net, given, x_c, forced_c, number, how, constants)
        else:
            y, new = run_chunk(net, given, x_c, forced_c, number, how)
        after = {c: _merge(carry[c], new.get(c, {})) for c in carry}
        return after, (y, {c: new[c] for c in begin.stacked if c in new})

    recomputed = remat is True or (remat and keeps_little(net, begin.after))

    def steps_of(length: int, first: bool = False) -> Any:
        if not recomputed:
            return partial(chunk, length, first)
        policy = jax.checkpoint_policies.save_only_these_names(*([] if remat is True else [KEPT, PLACE]))
        # not static_argnums: jax.checkpoint remembers what it made for them, and with it what chunk closes over
        return jax.checkpoint(partial(chunk, length, first), policy=policy, prevent_cse=left == size)

    def advance(carry: Tree) -> Tree:
        first = {"forced": jax.tree.map(lambda v: v[0], forced)} if forced else {}
        new = net.apply({**fixed, **carry, **first}, frame, mutable=list(carry), rngs=dict(rngs))[1]
        return {c: _merge(carry[c], unfreeze(new).get(c, {})) for c in carry}

    carry, pieces, rest = begin.carry, [], (None if constant else x, forced)
    if done:
        carry, out = steps_of(1, True)(carry, (0, *jax.tree.map(lambda v: v[:1], rest)))
        pieces.append(out)
        rest = jax.tree.map(lambda v: v[1:], rest)
        if is_open(steps) or left:
            once = step_of(net, fixed, frame, rngs, [*carry, *begin.stacked])
            carry = settled(once, carry, frame, own=True)
    carry, more = _chunks(steps_of, spread(advance, carry), rest, done, steps, size)
    pieces += more
    y, kept = pieces[0] if len(pieces) == 1 else jax.tree.map(lambda *v: jnp.concatenate(v), *pieces)
    recorded = kept.pop("record", {})
    return y, {**carry, **kept}, recorded


def _chunks(
    steps_of: Any, carry: Tree, given: Any, done: int, steps: int, size: int
) -> tuple[Tree, list[Any]]:
    """All steps from number ``done`` on, in chunks of ``size`` and what is left over."""
    whole, tail = divmod(steps - done, size)
    pieces = []
    if is_open(whole) or whole:
        cut = jax.tree.map(lambda v: v[: whole * size].reshape(whole, size, *v.shape[1:]), given)
        starts = done + size * jnp.arange(whole)
        if whole == 1:
            carry, out = steps_of(size)(carry, jax.tree.map(lambda v: v[0], (starts, *cut)))
            pieces.append(out)
        else:
            carry, out = lax.scan(steps_of(size), carry, (starts, *cut))
            pieces.append(jax.tree.map(lambda v: v.reshape(whole * size, *v.shape[2:]), out))
    if tail:
        rest = jax.tree.map(lambda v: v[whole * size :], given)
        carry, out = steps_of(tail)(carry, (done + whole * size, *rest))
        pieces.append(out)
    return carry, pieces


_compiled = Compiled(_run)


def _merge(old: Any, new: Any) -> Any:
    """``old`` with the branches of ``new`` in place of its own."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{k: _merge(old[k], v) if k in old else v for k, v in new.items()}}


def _select(recorded: Tree, wanted: Sequence[str] | None) -> dict[str, Tree]:
    """Flat ``{path: {name: array}}``, all of it or the paths asked for."""
    flat: dict[str, Tree] = {}
    for path, value in flatten_dict(recorded).items():
        flat.setdefault("/".join(path[:-1]), {})[path[-1]] = value
    if wanted is None:
        return flat
    if missing := [name for name in wanted if name not in flat]:
        raise ArgumentError(f"record={missing} names no neuron; the neurons are {sorted(flat)}.")
    return {name: flat[name] for name in wanted}
