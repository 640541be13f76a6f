"""What a network is made of, as far as its schedule is concerned: which layers have memory, which are shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import flax.linen as nn

from snnax import layers
from snnax.network.containers import Container
from snnax.neurons import SpikingNeuron

# By exact type: a subclass may do anything.
_MERGEABLE: frozenset[type[nn.Module]] = frozenset(
    {
        nn.Dense,
        nn.Conv,
        layers.AvgPool1d,
        layers.AvgPool2d,
        layers.Flatten,
        layers.MaxPool1d,
        layers.MaxPool2d,
        layers.Reshape,
        layers.Scale,
        layers.State,
        layers.SumPool1d,
        layers.SumPool2d,
    }
)


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
    return kind in _MERGEABLE or getattr(module, "time_independent", False) is True


def is_layered(module: nn.Module) -> TypeGuard[Container]:
    """True for a chain or graph whose nodes can each run over all steps before the next one does.

    Feedback forbids that, and so does a layer with memory that is used at two places, which takes turns. A
    module that is shared across the borders of containers has its variables in another branch.
    """
    if not isinstance(module, Container) or type(module).__call__ is not Container.__call__:
        return False
    if module.plan().delayed or module.plan().early:
        return False
    seen: set[Any] = set()
    owner = owners(module)
    for name, member in module.members().items():
        parts = {part._id for part in instances(member)}
        if not is_stateless(member) if owner[name] != name else parts & seen:
            return False
        seen |= parts
    return True


def keeps_little(module: nn.Module) -> bool:
    """True if all memory is in neurons of layered chains and graphs: what they keep tells everything else."""
    if is_layered(module):
        return all(keeps_little(member) for member in module.members().values())
    return is_stateless(module) or isinstance(module, SpikingNeuron | nn.Dropout)


def instances(value: Any) -> Iterator[nn.Module]:
    """Every module in the fields of ``value``, itself first, each as often as it is there."""
    if isinstance(value, nn.Module):
        yield value
        for name in value.__dataclass_fields__:
            if name not in ("parent", "name"):
                yield from instances(getattr(value, name, None))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from instances(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from instances(item)


def sharing(net: nn.Module) -> tuple[int, ...]:
    """Which modules of ``net`` are one and the same; ``==`` between modules does not see that."""
    numbers: dict[Any, int] = {}
    return tuple(numbers.setdefault(module._id, len(numbers)) for module in instances(net))


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
