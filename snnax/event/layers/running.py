"""One run of a network inside a module: its spikes, and what the module reports of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from snnax.event.delays import delayed
from snnax.event.network import Network
from snnax.event.silent import silence
from snnax.event.simulation import simulate
from snnax.event.spike_trains import Trains, concatenated

__all__ = ["run"]

_OPTIONS = ("t_max", "max_spikes", "engine", "max_events", "max_in_flight")


def run(module: Any, network: Network, inputs: dict[str, Trains]) -> dict[str, Trains]:
    """The spikes of a network's populations, with what a module reports of them.

    Args:
        module: an :class:`EventModule` with the fields ``silence`` and ``silent_over``, and the arguments of
            ``simulate``.
        network: to simulate.
        inputs: by name.

    Returns:
        By name of the population, with ``overflow`` in all neurons of a sample in which an input or another population
        overflowed.
    """
    options = {name: getattr(module, name) for name in _OPTIONS}
    found = simulate(network, inputs, **options).trains
    own = jnp.concatenate([found[name].overflow for name in network.sizes], 1)
    module._report("overflow", "spikes", own)
    if module.silence:
        module._report("losses", "silence", module.silence * _silence(module, network, {**inputs, **found}))
    given = [*inputs.values()]
    return {
        name: _marked(found[name], [*given, *(found[other] for other in found if other != name)])
        for name in network.sizes
    }


def _silence(module: Any, network: Network, trains: dict[str, Trains]) -> jax.Array:
    """What the neurons of all populations lack, averaged over them."""
    total, count = jnp.zeros(()), sum(network.sizes.values())
    for population in network.populations:
        projections = network.into([population.name])
        inputs = concatenated(*(delayed(trains[p.source], p.delay) for p in projections))
        weights = jnp.concatenate([p.masked() for p in projections])
        lacking = silence(
            inputs,
            weights,
            trains[population.name],
            population.parameters,
            t_max=module.t_max,
            over=module.silent_over,
        )
        total = total + lacking * (population.size / count)
    return total


def _marked(spikes: Trains, others: list[Trains]) -> Trains:
    """Spikes whose ``overflow`` also says that what the neurons were given is not complete."""
    missing = jnp.any(jnp.concatenate([trains.overflow for trains in others], 1), 1)
    return spikes._replace(overflow=spikes.overflow | missing[:, None])
