"""Fixed arrays of a neuron: variables of the collection ``buffers``, which a call may not lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from snnax.errors import ArgumentError
from snnax.neurons.values import FrozenArray

__all__ = ["KEPT", "buffer", "check_kept", "declared", "passed_some"]

KEPT = ("params", "buffers", "batch_stats")
"""What is saved with a model: whoever passes some of it has left out the rest."""


def buffer(
    module: nn.Module, name: str, start: Callable[[], jax.Array], declared: bool = True, drawn: bool = False
) -> jax.Array | None:
    """The array ``name`` of ``module`` in ``buffers``; ``None`` if the value it was built with counts.

    ``init`` puts it there. A call whose variables lack it must not fall back on what the module was built with: the
    array may have been loaded. Only a module without any variables is as it was built.

    Args:
        module: the module, in a call.
        name: the name in ``buffers``.
        start: the value that ``init`` puts there.
        declared: whether the module keeps such an array; if not, one that is there counts all the same.
        drawn: the value is random, so that a call without it makes no sense.

    Raises:
        ArgumentError: it is missing in variables that hold others; says which line to write.
    """
    if module.has_variable("buffers", name):
        return jnp.asarray(module.get_variable("buffers", name))
    if not declared:
        return None
    if module.is_initializing():
        if module.is_mutable_collection("buffers"):
            return jnp.asarray(module.variable("buffers", name, start).value)
        return start() if drawn else None
    if drawn or passed_some(module):
        raise _missing(module, "/".join(module.path), name)
    return None


def check_kept(module: nn.Module, name: str, variables: Mapping[str, Any]) -> None:
    """Refuse variables of one module, as a converter reads them, that lack a fixed array of it.

    Raises:
        ArgumentError: as in a call.
    """
    learned = [k for k, value in variables.get("params", {}).items() if not isinstance(value, Mapping)]
    for array in declared(module):
        if array not in variables.get("buffers", {}) and array not in learned:
            raise _missing(module, name, array)


def declared(module: Any) -> list[str]:
    """Names in ``buffers`` of the arrays that are not learned."""
    held, kind = vars(module), type(module)

    def has(name: str) -> bool:
        # getattr would have flax set the module up first, at each step of a bound one
        return bool(held.get(name, getattr(kind, name, False)))

    kept = getattr(kind, "buffer_names", {})
    learned = held.get("learn", ())
    names = [
        kept.get(name, name)
        for name in (*getattr(kind, "parameter_names", ()), *kept)
        if isinstance(held.get(name), FrozenArray) and name not in learned and not has(f"learn_{name}")
    ]
    if has("all_to_all") and not held.get("learn_recurrent", True):
        names.append("recurrent")
    return list(dict.fromkeys(names))


def _missing(module: nn.Module, path: str, name: str) -> ArgumentError:
    return ArgumentError(
        f"{type(module).__name__}{f' {path!r}' if path else ''}: its fixed array {name!r} is not among the "
        "variables, which hold it in the collection 'buffers'. Pass all that init, training or a conversion "
        "returned: with other weights {**variables, 'params': params} instead of {'params': params}; in nn.RNN "
        "say variable_broadcast=('params', 'buffers'), in nn.vmap and nn.scan name 'buffers' beside 'params'."
    )


def passed_some(module: nn.Module) -> bool:
    """Whether this call got variables to keep; of a lifted part of a network (RNN, vmap, remat) nobody can tell."""
    scope = module.scope
    if scope is None:
        return False
    return bool(scope.root.path) or any(not scope.is_collection_empty(kept) for kept in KEPT)
