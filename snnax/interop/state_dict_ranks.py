"""How many axes a sample has at each layer, as far as a network and its variables tell without an input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from snnax.interop.layers.entries import Keys, axes_of, find
from snnax.layers import Flatten
from snnax.layers.norm import BatchNormTT2d
from snnax.network.containers import Container
from snnax.network.kinds import instances, owners
from snnax.network.topology import INPUT, OUTPUT
from snnax.neurons import SLSTM, SConv2dLSTM, SpikingNeuron
from snnax.neurons.sequence import SequenceNeuron


def known_ranks(model: nn.Module, variables: Mapping[str, Any], paths: Mapping[Keys, Any]) -> dict[Keys, int]:
    """Axes of one sample at the layers where they follow from the layers before, the hidden states, or the kind.

    Args:
        model: the network.
        variables: its variables.
        paths: the layers by their path.

    Returns:
        The number by path. Where nothing in a network has axes of space, samples are vectors.
    """
    found: dict[Keys, int] = {}
    if isinstance(model, Container):
        _follow(model, (), None, variables, found)
    for path, module in paths.items():
        states = getattr(module, "state_names", ())
        hidden = [find(variables, ("hidden", *path, name)) for name in states]
        if (own := _own(module)) is not None:
            found[path] = own
        elif state := [h for h in hidden if h is not None]:
            found[path] = state[0].ndim - 1
    if not any(_spreads(module) for module in (*instances(model), *paths.values())):
        found = {**dict.fromkeys(paths, 1), **found}
    return found


def _follow(
    model: Container, path: Keys, rank: int | None, variables: Mapping[str, Any], found: dict[Keys, int]
) -> int | None:
    """Follow samples through a network; returns their axes at its end."""
    members, owner, plan = model.members(), owners(model), model.plan()
    known: dict[str, int | None] = {INPUT: rank}
    for name in plan.order:
        feeds = [known[source] for source, _ in plan.sources[name] if known.get(source) is not None]
        rank = feeds[0] if feeds else None
        here, module = (*path, owner[name]), members[name]
        if isinstance(module, Container):
            known[name] = _follow(module, here, rank, variables, found)
            continue
        if rank is not None:
            found.setdefault(here, rank)
        known[name] = _after(module, rank)
    return known[plan.sources[OUTPUT][0][0]]


def _own(module: Any) -> int | None:
    """Axes of a sample that a layer takes whatever is before it."""
    if isinstance(module, SequenceNeuron):
        return 1
    convolves = isinstance(module, SConv2dLSTM) or getattr(module, "conv2d_channels", None)
    return 3 if convolves or isinstance(module, BatchNormTT2d) else None


def _after(module: Any, rank: int | None) -> int | None:
    """Axes of what leaves a layer, given those of what enters."""
    if (rule := axes_of.of(module)) is not None:
        return rule(module, rank)
    if isinstance(module, SLSTM) and rank is None:
        return 1
    own = _own(module)
    return own if own is not None else rank if isinstance(module, SpikingNeuron) else None


def _spreads(module: Any) -> bool:
    """True for a layer with axes beside that of the channels."""
    return isinstance(module, Flatten) or (_after(module, None) or 0) > 1
