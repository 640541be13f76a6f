"""What a network carries from step to step, and what it starts from.

Of a network of this package that is known: states are in ``hidden`` and start from zero. Of modules of the user's own
it is found by tracing one step: which collections it changes and reads, whether it keeps their shapes, and that the
first step, in which a module declares its states, may be another than those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import DenyList, unfreeze

from snnax.errors import StateError
from snnax.network.containers import Container
from snnax.neurons.initial import initial
from snnax.neurons.own import is_own, is_own_class, starts_elsewhere

__all__ = [
    "Start",
    "check_declared",
    "initial_hidden",
    "initial_states",
    "settled",
    "start",
    "state_collections",
    "step_of",
]

Tree = dict[str, Any]
Step = Callable[[Tree], Tree]
"""From collections before a step to these after it."""

_PLAIN = ("params", "buffers", "record", "forced")
"""Collections that are no states."""


@dataclass(frozen=True)
class Start:
    """How a run begins.

    Attributes:
        carry: the carried collections before the first step.
        stacked: collections of which every step's value is kept.
        first: the first step runs by itself, since modules declare states in it.
        after: shapes of what is carried, after a step.
    """

    carry: Tree
    stacked: tuple[str, ...]
    first: bool
    after: Tree


def step_of(
    net: nn.Module, variables: Tree, x: jax.Array, rngs: Mapping[str, jax.Array], mutable: Any
) -> Step:
    """One step of ``net`` on ``x``, as a function of the collections that change."""

    def once(states: Tree) -> Tree:
        given = {**variables, **{name: tree for name, tree in states.items() if tree}}
        return unfreeze(net.apply(given, x, mutable=mutable, rngs=dict(rngs))[1])

    return once


def start(
    net: nn.Module,
    variables: Tree,
    x: jax.Array,
    rngs: Mapping[str, jax.Array],
    mutable: Sequence[str],
    record: bool = False,
) -> Start:
    """What is carried over the steps on ``x`` ``[B, ...]``, and what is stacked.

    Raises:
        StateError: if a state changes its shape in a step, or the network has a state that ``mutable`` does not name.
    """
    own = is_own(net)
    present = [c for c in mutable if c in variables]
    absent = [c for c in mutable if c not in variables and c != "hidden"]
    if own or absent:
        kept = state_collections(net, variables, x, rngs)
        if left := [c for c in kept if c not in ("hidden", *mutable)]:
            raise StateError(
                f"the network keeps a state in the collection {left[0]!r}, and unroll carries 'hidden' and what is "
                f"named: unroll(net, variables, x, mutable={[*mutable, *left]!r}). Training, SpikingCell and whatever "
                f"else runs a network over time carry a state of your own that is in the collection 'hidden': "
                "self.variable('hidden', name, init_fn, ...)."
            )
        declared = [c for c in absent if c in kept]
        present, own = present + declared, own or bool(declared)
        absent = [c for c in absent if c not in kept]
    names = dict.fromkeys(["hidden", *present])
    given = {name: unfreeze(variables.get(name, {})) for name in names}
    once = step_of(net, variables, x, rngs, ["hidden", *mutable])
    stacked = (*absent, *(["record"] if record else []))
    if not own:
        if starts_elsewhere(net):
            given |= initial(net, variables, x, rngs)
        carry = settled(once, given, x)
        return Start(carry, stacked, False, carry)
    after = jax.eval_shape(once, given)
    shapes = {name: after.get(name, {}) for name in names}
    before, later = _flat(given), _flat(shapes)
    first = any(_is_preliminary(before[p], later[p]) if p in before else _is_declared(net, p) for p in later)
    return Start(given if first else settled(once, given, x), stacked, first, shapes)


def _is_declared(net: nn.Module, path: str) -> bool:
    """Whether the state at ``path``, as ``"hidden/layers_0/mem"``, is of a module of the user's own."""
    collection, *keys = path.split("/")
    while isinstance(net, Container) and not is_own_class(type(net)) and keys:
        inner = net.members().get(keys.pop(0))
        if inner is None:
            return False  # feedback, which starts from zero
        net = inner
    return collection != "hidden" or is_own(net)


def settled(once: Step, given: Tree, x: jax.Array, own: bool = False) -> Tree:
    """``given`` in the dtypes that it has after a step, which are those that it keeps; what is missing is zero.

    Raises:
        StateError: if a state changes its shape in a step, or, of the user's own modules, a state is missing.
    """
    for _ in range(8):
        after = {name: tree for name, tree in jax.eval_shape(once, given).items() if name in given}
        known, flat = _flat(given), _flat(after)
        values = {path: _value(path, known.get(path), shape, x, own) for path, shape in flat.items()}
        same = all(p in known and jnp.asarray(known[p]).dtype == v.dtype for p, v in values.items())
        tree = jax.tree.unflatten(jax.tree.structure(after), list(values.values()))
        given = {**{name: {} for name in given}, **tree}
        if same:
            return given
    raise StateError(
        f"the dtypes of the states {sorted(known)} change with every step; expected states that keep their dtype."
    )


def _value(path: str, known: Any, after: Any, x: jax.Array, own: bool) -> jax.Array:
    if known is None and own:
        raise StateError(
            f"the state {path!r} is not there before the first step. Declare it in every call of its module, as "
            "self.variable('hidden', name, init_fn, ...), whose init_fn gives the value that it starts from. Of values "
            "that are sown (self.sow) unroll returns those of each step: leave their collection out of the variables."
        )
    if known is None:
        return jnp.zeros(after.shape, after.dtype)
    if jnp.shape(known) != after.shape:
        raise StateError(
            f"the state {path!r} has shape {jnp.shape(known)} before a step on an input of shape {x.shape}, and "
            f"{after.shape} after it; expected a state that keeps its shape. If it belongs to another batch size start "
            "anew: leave the collection 'hidden' out of the variables, as snnax.utils.reset(variables) does. A module "
            "of your own declares each state in its full shape, as self.variable('hidden', 'mem', jnp.zeros, x.shape)."
        )
    value = jnp.asarray(known)
    return value if value.dtype == after.dtype else value.astype(after.dtype)


def _is_preliminary(before: Any, after: Any) -> bool:
    """Whether a step leaves a dtype that cannot hold what was there before, or further axes, as of one number."""
    old = jnp.asarray(before).dtype
    narrows = old != after.dtype and jnp.promote_types(old, after.dtype) != after.dtype
    return bool(narrows or jnp.ndim(before) < len(after.shape))


def initial_hidden(
    net: nn.Module,
    variables: Mapping[str, Any],
    x: jax.Array,
    rngs: Mapping[str, jax.Array] | None = None,
    mutable: Sequence[str] = (),
) -> Tree:
    """The collection ``hidden`` before the first step on ``x[B, ...]``; see :func:`initial_states`."""
    return dict(initial_states(net, variables, x, rngs, mutable)["hidden"])


def initial_states(
    net: nn.Module,
    variables: Mapping[str, Any],
    x: jax.Array,
    rngs: Mapping[str, jax.Array] | None = None,
    mutable: Sequence[str] = (),
    collections: Sequence[str] = ("hidden",),
) -> Tree:
    """States before the first step on ``x[B, ...]``: what ``variables`` hold of them, else as modules declare them.

    In the dtypes that they have after that step, which are those that they keep.

    Raises:
        StateError: for a state that is declared nowhere, and those of :func:`start`.
    """
    plain, keys, own = unfreeze(dict(variables)), dict(rngs or {}), is_own(net)
    given = {name: plain.get(name, {}) for name in collections}
    if own or starts_elsewhere(net):
        given = initial(net, plain, x, keys, collections)
    names = list(dict.fromkeys([*collections, *mutable]))
    found = settled(step_of(net, plain, x, keys, names), given, x, own)
    return {name: found[name] for name in collections}


def check_declared(
    net: nn.Module, variables: Tree, x: jax.Array, rngs: Mapping[str, jax.Array], states: Tree
) -> None:
    """Refuse ``states`` from which the first step is another than without them; of traced arrays nobody can tell.

    Raises:
        StateError: says how a state is declared.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((variables, x, rngs, states))):
        return
    names = [*states, *(c for c in variables if c == "batch_stats")]
    plain = {c: v for c, v in variables.items() if c not in states}
    runs = [net.apply({**plain, **given}, x, mutable=names, rngs=dict(rngs)) for given in ({}, states)]
    flat = [[_readable(leaf) for leaf in jax.tree.leaves((y, unfreeze(after)))] for y, after in runs]
    same = len(flat[0]) == len(flat[1]) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") for a, b in zip(*flat, strict=True)
    )
    if not same:
        raise StateError(
            f"{type(net).__name__}: its first step is another if no state is stored than with the state from which it "
            "says to start, so its state cannot be kept outside of it. Declare each state in every call of its module, "
            "as self.variable('hidden', name, init_fn, ...), write its value only after that, and keep its dtype."
        )


def _readable(leaf: Any) -> np.ndarray:
    array = jnp.asarray(leaf)
    keys = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if keys else array)


def state_collections(
    net: nn.Module, variables: Tree, x: jax.Array, rngs: Mapping[str, jax.Array]
) -> tuple[str, ...]:
    """The collections that a step changes depending on what they were, and whose structure it keeps."""
    once = step_of(net, variables, x, rngs, DenyList(_PLAIN))
    shapes: Tree = {name: tree for name, tree in jax.eval_shape(once, {}).items() if name not in _PLAIN}
    shapes = {name: variables.get(name, tree) for name, tree in shapes.items()}
    leaves, structure = jax.tree.flatten(shapes)
    traced, after = jax.make_jaxpr(lambda *v: once(jax.tree.unflatten(structure, v)), return_shape=True)(
        *leaves
    )
    read = {id(v) for equation in traced.jaxpr.eqns for v in equation.invars}
    before = dict(zip(_flat(shapes), traced.jaxpr.invars, strict=True))
    made = dict(zip(_flat(after), traced.jaxpr.outvars, strict=True))
    found = []
    for name, tree in shapes.items():
        paths = [path for path in before if path.split("/")[0] == name]
        kept: Any = jax.tree.structure(tree)
        stable = bool(kept == jax.tree.structure(after.get(name)))
        changed = any(id(before[p]) in read and made.get(p) is not before[p] for p in paths)
        if stable and changed:
            found.append(name)
    return tuple(found)


def _flat(tree: Tree) -> dict[str, Any]:
    """Leaves by path, as ``"hidden/layers_0/mem"``."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in pairs}
