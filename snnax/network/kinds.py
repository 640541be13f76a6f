"""What a network is made of, as far as its schedule is concerned: which layers have memory, which are shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import flax.linen as nn

from snnax.network.containers import Container
from snnax.neurons import SpikingNeuron
from snnax.neurons.buffers import check_kept
from snnax.neurons.own import instances as instances
from snnax.neurons.own import is_known

_MERGED = frozenset({nn.Dense, nn.Conv})
"""Flax's layers without memory that treat each sample alike; ours say so themselves (``time_independent``)."""


def is_stateless(module: nn.Module) -> bool:
    """True if a step's result depends on that step's input alone: steps can be merged into one batch."""
    if isinstance(module, Container):
        return is_layered(module) and all(is_stateless(m) for m in module.members().values())
    kind = type(module)
    if kind is nn.BatchNorm:
        return module.use_running_average is True
    if kind is nn.Dropout:
        return module.deterministic is True or module.rate == 0.0
    if kind is nn.LayerNorm:
        return module.reduction_axes in (-1, (-1,))
    return kind in _MERGED or _says_independent(module)


def _says_independent(module: nn.Module) -> bool:
    """Whether the class says ``time_independent``: of a call of the user's making the user has to say so."""
    if getattr(module, "time_independent", False) is not True:
        return False
    said, called = (
        next((kind for kind in type(module).__mro__ if name in vars(kind)), type(module))
        for name in ("time_independent", "__call__")
    )
    return is_known(called.__module__) or not is_known(said.__module__)


def is_layered(module: nn.Module) -> TypeGuard[Container]:
    """True for a chain or graph whose nodes can each run over all steps before the next one does.

    Feedback forbids that, and so does a layer with memory that is used at two places, which takes turns. A
    module that is shared across the borders of containers has its variables in another branch.
    """
    if not isinstance(module, Container) or type(module).__call__ is not Container.__call__:
        return False
    plan = module.plan()
    if plan.delayed or plan.early:
        return False
    seen: set[Any] = set()
    owner = owners(module)
    for name, member in module.members().items():
        parts = {part._id for part in instances(member)}
        if not is_stateless(member) if owner[name] != name else parts & seen:
            return False
        seen |= parts
    return True


def keeps_little(module: nn.Module, held: Mapping[str, Any]) -> bool:
    """True if all memory is in neurons of layered chains and graphs: what they keep tells everything else.

    ``held`` are the collections that are carried from step to step.
    """
    if is_layered(module):
        owner = owners(module)
        return all(
            keeps_little(member, {c: tree.get(owner[name], {}) for c, tree in held.items()})
            for name, member in module.members().items()
        )
    return isinstance(module, SpikingNeuron | nn.Dropout) or is_stateless(module) or not any(held.values())


def check_buffers(net: nn.Module, variables: Mapping[str, Any]) -> None:
    """Refuse variables that lack a fixed array of a neuron, before a converter takes what the neuron was built with.

    A network without any variables is as it was built.

    Raises:
        ArgumentError: names the neuron and the line to write.
    """
    if not any(variables.get(collection) for collection in ("params", "buffers", "batch_stats")):
        return
    places = homes(net) if isinstance(net, Container) else {net._id: ()}
    for module in instances(net):
        if module._id in places and not isinstance(module, Container):
            path = places[module._id]
            held = {c: variables.get(c, {}) for c in ("params", "buffers")}
            for key in path:
                held = {c: tree.get(key, {}) for c, tree in held.items()}
            check_kept(module, "/".join(path), held)


def has_convolution(module: nn.Module) -> bool:
    """True if any layer is a convolution."""
    if isinstance(module, Container):
        return any(has_convolution(m) for m in module.members().values())
    return isinstance(module, nn.Conv)


def owners(module: Container) -> dict[str, str]:
    """For each node the name under which its variables are: that of the first node with the same module."""
    first: dict[int, str] = {}
    return {name: first.setdefault(node._id, name) for name, node in module.members().items()}


def homes(net: Container) -> dict[Any, tuple[str, ...]]:
    """For each module in nested containers where its variables are: what is at several places has them at the first.

    A container's own nodes come before those of the containers among them, as flax names them.
    """
    found: dict[Any, tuple[str, ...]] = {}

    def enter(container: Container, path: tuple[str, ...]) -> None:
        new = []
        for name, member in container.members().items():
            if member._id not in found:
                found[member._id] = (*path, name)
                new.append((name, member))
        for name, member in new:
            if isinstance(member, Container):
                enter(member, (*path, name))

    enter(net, ())
    return found
