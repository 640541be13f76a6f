"""How a chunk of time steps is run: layer by layer where a layer has no memory, step by step where it has.

All functions here are pure: unbound modules and their variables in, results and new variables out.
Inside a chunk of C steps a layer without memory runs once on C*B samples; everything else is scanned.
Random keys are folded with the number of the step and the name of the layer, so that results do not
depend on the chunk size.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from snnax import layers
from snnax.network.containers import Container
from snnax.network.topology import INPUT

Tree = dict[str, Any]

_MERGEABLE: tuple[type[nn.Module], ...] = (
    nn.Dense,
    nn.Conv,
    nn.LayerNorm,
    layers.AvgPool2d,
    layers.Flatten,
    layers.MaxPool2d,
    layers.Reshape,
    layers.Scale,
    layers.SumPool2d,
)


@dataclass(frozen=True)
class Settings:
    """What stays the same over a run.

    Attributes:
        carried: collections that one step hands to the next (``hidden`` and what is mutable and exists).
        stacked: collections of which every step's value is kept (``record``, sown values).
        rngs: named keys, as flax's ``apply`` takes them.
    """

    carried: tuple[str, ...]
    stacked: tuple[str, ...]
    rngs: Mapping[str, jax.Array] = field(default_factory=dict)

    def within(self, name: str) -> Settings:
        """The same settings for the layer ``name``, with keys of its own."""
        if not self.rngs:
            return self
        tag = zlib.crc32(name.encode())
        return Settings(self.carried, self.stacked, {k: jax.random.fold_in(v, tag) for k, v in self.rngs.items()})


def is_stateless(module: nn.Module) -> bool:
    """True if a step's result depends on that step's input alone, so that steps can be merged into one batch."""
    if isinstance(module, Container):
        return not module.plan().delayed and all(is_stateless(m) for m in module.members().values())
    if isinstance(module, nn.BatchNorm):
        return module.use_running_average is True
    if isinstance(module, nn.Dropout):
        return module.deterministic is True or module.rate == 0.0
    return isinstance(module, _MERGEABLE + (layers.State,)) or getattr(module, "time_independent", False) is True


def has_convolution(module: nn.Module) -> bool:
    """True if any layer is a convolution."""
    if isinstance(module, Container):
        return any(has_convolution(m) for m in module.members().values())
    return isinstance(module, nn.Conv)


def branch(tree: Mapping[str, Any], name: str) -> Tree:
    """The variables of one layer: ``{collection: tree}`` without the collections it has no part in."""
    return {c: v[name] for c, v in tree.items() if isinstance(v, Mapping) and name in v}


def graft(tree: Tree, name: str, updates: Mapping[str, Any]) -> None:
    """Put one layer's updated collections into ``tree``."""
    for collection, value in updates.items():
        tree.setdefault(collection, {})[name] = value


def run_chunk(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """Run ``module`` on the steps ``x[C, B, ...]``.

    Args:
        module: an unbound linen module.
        variables: its variables; ``hidden`` holds the state before the first of the steps.
        x: input of the steps.
        forced: ``{"spk": [C, B, ...]}`` at the paths of neurons whose emitted spikes are dictated.
        start: number of the first step within the run.
        settings: see :class:`Settings`.

    Returns:
        What the module returned at each step, stacked, and its updated collections (carried: after the
        last step; stacked: ``[C, ...]``).
    """
    if is_stateless(module):
        return merged(module, variables, x), {}
    if isinstance(module, Container) and not module.plan().delayed:
        return run_container(module, variables, x, forced, start, settings, {})
    return scan_steps(module, variables, x, forced, start, settings)


def merged(module: nn.Module, variables: Tree, x: jax.Array) -> Any:
    """A layer without memory on ``[C, B, ...]``, as one batch of C*B."""
    steps, batch = x.shape[:2]
    y = module.apply(variables, x.reshape(steps * batch, *x.shape[2:]))
    return jax.tree.map(lambda v: v.reshape(steps, batch, *v.shape[1:]), y)


def run_container(
    module: Container, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings, constants: Tree
) -> tuple[Any, Tree]:
    """A chunk of a chain or graph without feedback, node by node; ``constants`` are nodes already known."""
    updates: Tree = {}
    steps = x.shape[0]

    def call(name: str, node: nn.Module, value: jax.Array) -> Any:
        if name in constants:
            return jax.tree.map(lambda v: _repeat(v, steps), constants[name])
        key = owner[name]
        result, new = run_chunk(
            node, branch(variables, key), value, forced.get(name, {}), start, settings.within(name)
        )
        for collection in new:
            updates.setdefault(collection, {})[name] = new[collection]
        return result

    owner = owners(module)
    values = module.evaluate(jax.vmap(module.enter)(x), call, {})
    return jax.vmap(module.leave)({k: v for k, v in values.items() if k != INPUT}), updates


def owners(module: Container) -> dict[str, str]:
    """For each node the name under which its variables are kept: that of the first node with the same module."""
    first: dict[int, str] = {}
    return {name: first.setdefault(node._id, name) for name, node in module.members().items()}


def hoisted(module: nn.Module, variables: Tree, x: jax.Array) -> Tree:
    """Results of the layers that see only a constant input ``x[B, ...]``: they need one run, not T."""
    known: Tree = {}
    if not isinstance(module, Container) or module.plan().delayed:
        return known
    members, owner = module.members(), owners(module)
    entered = module.enter(x)
    for name, sources in module.plan().sources.items():
        fed = all(s == INPUT or s in known for s, _ in sources)
        if name not in members or not fed or not is_stateless(members[name]):
            continue
        if isinstance(members[name], layers.State):
            continue
        value = sum((entered if s == INPUT else known[s] for s, _ in sources[1:]), start=_first(sources, entered, known))
        known[name] = members[name].apply(branch(variables, owner[name]), value)
    return known


def _first(sources: Any, entered: jax.Array, known: Tree) -> jax.Array:
    name = sources[0][0]
    return entered if name == INPUT else known[name]


def _repeat(value: jax.Array, steps: int) -> jax.Array:
    return jnp.broadcast_to(value, (steps, *value.shape))


def scan_steps(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """Any module, one step after the other; arguments as :func:`run_chunk`."""
    carried = {c: variables.get(c, {}) for c in settings.carried}
    fixed = {c: v for c, v in variables.items() if c not in carried}
    mutable = [*settings.carried, *settings.stacked]

    def step(carry: Tree, entry: tuple[Any, jax.Array, Tree]) -> tuple[Tree, tuple[Any, Tree]]:
        number, x_t, forced_t = entry
        given = {**fixed, **carry, **({"forced": forced_t} if forced_t else {})}
        keys = {k: jax.random.fold_in(v, number) for k, v in settings.rngs.items()}
        y, new = module.apply(given, x_t, mutable=mutable, rngs=keys)
        after = {c: new.get(c, carry[c]) for c in carry}
        return after, (y, {c: new[c] for c in settings.stacked if c in new})

    numbers = start + jnp.arange(x.shape[0])
    carry, (y, stacked) = lax.scan(step, carried, (numbers, x, forced))
    return y, {**{c: v for c, v in carry.items() if v}, **stacked}
