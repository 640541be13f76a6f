"""What stays the same over a run of a network, and what every way to run a layer is given."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import flax.linen as nn
import jax

Tree = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What stays the same over a run.

    Attributes:
        carried: collections that one step hands to the next (``hidden`` and what is mutable and exists).
        stacked: collections of which every step's value is kept (``record``, sown values).
        rngs: named keys, as flax's ``apply`` takes them.
        short: neurons keep bfloat16 for the backward pass.
        first: the run is the first step alone, in which modules declare their states.
        live: ``[C, B]``, whether a step is of the sequence, where these have different lengths.
        constants: what the network's own nodes return that see only a constant input; see :func:`hoisted`.
    """

    carried: tuple[str, ...]
    stacked: tuple[str, ...]
    rngs: Mapping[str, jax.Array] = field(default_factory=dict)
    short: bool = False
    first: bool = False
    live: jax.Array | None = None
    constants: Tree = field(default_factory=dict)

    def within(self, name: str) -> Settings:
        """The same settings for the layer ``name``, with keys of its own."""
        if not self.rngs and not self.constants:
            return self
        tag = zlib.crc32(name.encode())
        keys = {k: jax.random.fold_in(v, tag) for k, v in self.rngs.items()}
        return replace(self, rngs=keys, constants={})


def branch(tree: Mapping[str, Any], name: str) -> Tree:
    """The variables of one layer: ``{collection: tree}`` without the collections it has no part in."""
    return {c: v[name] for c, v in tree.items() if isinstance(v, Mapping) and name in v}


Way = Callable[[nn.Module, Tree, jax.Array, Tree, Any, Settings], tuple[Any, Tree]]
"""How a module runs on the steps ``x[C, B, ...]``: ``way(module, variables, x, forced, start, settings)``.

``module`` is unbound; of its ``variables``, ``hidden`` holds the state before the first of the steps; ``forced`` is
``{"spk": [C, B, ...]}`` at the paths of neurons whose emitted spikes are dictated; ``start`` is the number of the first
step within the run. A way returns what the module returned at each step, stacked, and its updated collections (carried:
after the last step; stacked: ``[C, ...]``).
"""
