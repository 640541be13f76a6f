"""What the states of a module are before its first step: the values with which it declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.core import Scope, freeze, unfreeze

__all__ = ["initial"]

Tree = dict[str, Any]


class _First(dict[str, Any]):
    """The variables of a collection at one level; ``first`` holds the value that each got first.

    ``self.variable(collection, name, init_fn)`` writes what ``init_fn`` returns, and a module may then go on and write
    what a step makes of it.
    """

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.first: Tree = {}
        for name, value in (known or {}).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Mapping) and not isinstance(value, _First):
            value = _First(value)
        self.first.setdefault(name, value)
        super().__setitem__(name, value)

    def values_first(self) -> Tree:
        """As a plain tree."""
        return {n: v.values_first() if isinstance(v, _First) else v for n, v in self.first.items()}


def initial(
    net: nn.Module,
    variables: Mapping[str, Any],
    x: jax.Array,
    rngs: Mapping[str, jax.Array] | None = None,
    collections: Sequence[str] = ("hidden",),
) -> Tree:
    """The states of ``net`` before a step on ``x`` ``[B, ...]``: what ``variables`` hold of them, else as declared.

    Runs the module on ``x`` as ``init`` does, with the parameters in ``variables``: a state that starts from a
    parameter or from the input does so.

    Args:
        net: any linen module.
        variables: its variables; what ``collections`` hold in them stays.
        x: input of one step.
        rngs: keys by name, for layers that draw random numbers.
        collections: where states are.

    Returns:
        ``{collection: tree}``.
    """
    given: Tree = {name: freeze(tree) for name, tree in variables.items() if name not in collections}
    states = {name: _First(unfreeze(variables.get(name, {}))) for name in collections}
    scope = Scope(
        {**given, **states}, rngs=dict(rngs or {}), mutable=list(collections), flags={"initializing": True}
    )
    net.clone(parent=scope, _deep_clone=True)(x)
    return {name: tree.values_first() for name, tree in states.items()}
