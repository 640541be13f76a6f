"""One call for every event-driven network: it picks the engine for each part, and says which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import GraphError
from snnax.event.arguments import seconds
from snnax.event.delays import delayed
from snnax.event.feedforward import lif_spikes
from snnax.event.loop import recurrent_spikes
from snnax.event.network import Network, Projection
from snnax.event.relaxation import relaxed_spikes
from snnax.event.spike_trains import Trains, concatenated, given_inputs
from snnax.event.wiring import Populations, Wiring

__all__ = ["Simulation", "simulate"]

ENGINES = ("auto", "feedforward", "loop", "relaxation")
MOST_DELAYS = 8
"""Relaxation needs about ``t_max / delay`` sweeps. With more than these the loop has always been faster."""


@partial(jax.tree_util.register_dataclass, data_fields=("trains",), meta_fields=("ran",))
@dataclass(frozen=True, eq=False)
class Simulation:
    """What :func:`simulate` returns; a pytree.

    Attributes:
        trains: the spikes of each population; ``simulation["out"]`` are those of one.
        ran: each population with the engine that ran it.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> neurons = event.LIFParameters(tau_mem=2.0, tau_syn=1.0)
        >>> network = event.Network(
        ...     [event.Population("out", 1, neurons)], [event.Projection("in", "out", jnp.full((1, 1), 4.5))]
        ... )
        >>> found = event.simulate(network, {"in": event.trains(jnp.zeros((1, 1)))}, t_max=9.0)
        >>> found.engines, found["out"].times.shape
        ({'out': 'feedforward'}, (1, 1, 1))
    """

    trains: dict[str, Trains]
    ran: tuple[tuple[str, str], ...]

    @property
    def engines(self) -> dict[str, str]:
        """The engine that ran each population, ``"feedforward"``, ``"loop"`` or ``"relaxation"``."""
        return dict(self.ran)

    def __getitem__(self, population: str) -> Trains:
        """The spikes of a population."""
        return self.trains[population]


def simulate(
    network: Network,
    inputs: Mapping[str, Trains],
    *,
    t_max: float,
    max_spikes: int = 1,
    engine: str = "auto",
    max_events: int | None = None,
    max_in_flight: int | None = None,
) -> Simulation:
    """The exact spikes of a network in continuous time, with gradients for weights, delays and input times.

    Args:
        network: populations and projections.
        inputs: spike trains of every input by name.
        t_max: the network runs from 0 to here, in seconds.
        max_spikes: times kept of each neuron; more are flagged in ``overflow``.
        engine: ``"auto"`` takes the network apart: a population outside of all cycles is a *feedforward* layer, after
            those that it gets spikes from; populations in a cycle run in one event *loop*; or by *relaxation* if all
            projections in the cycle have a known delay of at least ``t_max / 8`` and every neuron fires once, which
            is where that has been faster. ``"feedforward"`` refuses cycles. ``"loop"`` runs all populations together
            in one loop. ``"relaxation"`` runs each cycle by relaxation and the rest feedforward.
        max_events: the budget of events of each loop; ``None`` for enough.
        max_in_flight: spikes under way along delayed axons at once in a loop; ``None`` for two of each axon.

    Returns:
        :class:`Simulation`: ``found["out"].times`` are ``[B, N, K]``, ``found.engines["out"]`` says what ran it.

    Raises:
        GraphError: if an input is missing or unknown, or the engine does not take the topology.
        ArgumentError: for an engine that is none.
        ShapeError: if input trains do not fit their projections.

    Compared with
        jaxsnn: cycles between populations need no delay here, delays are of axons and learned, and events that a
        budget cuts are flagged.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> neurons = event.LIFParameters(tau_mem=2.0, tau_syn=1.0)
        >>> network = event.Network(
        ...     [event.Population("a", 2, neurons), event.Population("out", 1, neurons)],
        ...     [
        ...         event.Projection("in", "a", jnp.array([[6.0, 0.0]])),
        ...         event.Projection("a", "a", jnp.array([[0.0, 6.0], [-1.0, 0.0]])),
        ...         event.Projection("a", "out", jnp.full((2, 1), 4.0), delay=0.5),
        ...     ],
        ... )
        >>> found = event.simulate(network, {"in": event.trains(jnp.zeros((1, 1)))}, t_max=9.0)
        >>> found.engines, f"{found['out'].times[0, 0, 0]:.4f}"
        ({'a': 'loop', 'out': 'feedforward'}, '1.5765')
    """
    checks.one_of(*ENGINES)(engine, "simulate(engine=...)")
    checks.instance(Network, "snnax.event.Network(populations, projections)")(
        network, "simulate(network=...)"
    )
    network.check_shapes()
    trains, ran = _checked_inputs(network, inputs), {}
    some = checks.maybe(checks.count())
    budgets: dict[str, Any] = {
        "t_max": seconds(t_max, "simulate(t_max=...)"),
        "max_spikes": checks.count()(max_spikes, "simulate(max_spikes=...)"),
    }
    loop_only: dict[str, Any] = {
        "max_events": some(max_events, "simulate(max_events=...)"),
        "max_in_flight": some(max_in_flight, "simulate(max_in_flight=...)"),
    }
    groups = (tuple(network.sizes),) if engine == "loop" else network.components()
    for names in groups:
        chosen = _engine(network, names, engine, budgets)
        if chosen == "feedforward":
            (name,) = names
            trains[name] = _layer(network, name, trains, budgets)
        else:
            fed, wiring, parameters = _packed(network, names, trains)
            joint = (
                recurrent_spikes(fed, wiring, parameters, **budgets, **loop_only)
                if chosen == "loop"
                else relaxed_spikes(fed, wiring, parameters, **budgets)
            )
            trains.update(_apart(joint, names, network.sizes))
        ran.update(dict.fromkeys(names, chosen))
    return Simulation(
        {name: trains[name] for name in network.sizes}, tuple((n, ran[n]) for n in network.sizes)
    )


# --- which engine ---------------------------------------------------------------------------------


def _engine(network: Network, names: tuple[str, ...], asked: str, budgets: dict[str, Any]) -> str:
    """The engine for populations that run together."""
    inside = [p for p in network.into(names) if p.source in names]
    if asked == "loop":
        return "loop"
    if not inside:
        return "feedforward"
    if asked == "feedforward":
        raise GraphError(
            f"simulate(engine='feedforward'): the populations {list(names)} are in a cycle; write engine='auto'."
        )
    immediate = [(p.source, p.target) for p in inside if p.delay is None]
    if asked == "relaxation" and immediate:
        raise GraphError(
            f"simulate(engine='relaxation'): in the cycle of {list(names)} the projections {immediate} have no delay; "
            "write engine='auto', or give each a delay."
        )
    if asked == "relaxation" or (not immediate and _is_for_relaxation(network, names, inside, budgets)):
        return "relaxation"
    return "loop"


def _is_for_relaxation(
    network: Network, names: tuple[str, ...], inside: list[Projection], budgets: dict[str, Any]
) -> bool:
    if not all(p.parameters.fires_once for p in network.populations if p.name in names):
        return False
    if any(isinstance(p.delay, jax.core.Tracer) for p in inside):
        return False  # what is learned may become anything
    return (
        min(float(np.min(p.delay)) for p in inside if p.delay is not None) * MOST_DELAYS >= budgets["t_max"]
    )


# --- running the parts ----------------------------------------------------------------------------


def _layer(network: Network, name: str, trains: dict[str, Trains], budgets: dict[str, Any]) -> Trains:
    """A population outside of all cycles."""
    projections = network.into([name])
    fed = concatenated(*(delayed(trains[p.source], p.delay) for p in projections))
    weights = jnp.concatenate([p.masked() for p in projections])
    (population,) = [p for p in network.populations if p.name == name]
    return lif_spikes(fed, weights, population.parameters, **budgets)


def _packed(
    network: Network, names: tuple[str, ...], trains: dict[str, Trains]
) -> tuple[Trains, Wiring, Populations]:
    """Populations side by side as the neurons of one loop: its inputs, its wiring, its parameters."""
    members = tuple(p for p in network.populations if p.name in names)
    ends = np.cumsum([p.size for p in members])
    columns = {p.name: slice(int(end) - p.size, int(end)) for p, end in zip(members, ends, strict=True)}
    size = int(ends[-1])

    def block(projection: Projection) -> Any:
        """The weights in their columns of all neurons."""
        weights = projection.masked()
        return (
            jnp.zeros((weights.shape[0], size), weights.dtype).at[:, columns[projection.target]].set(weights)
        )

    projections = network.into(names)
    outside = [p for p in projections if p.source not in columns]
    fed = [delayed(trains[p.source], p.delay) for p in outside]
    tables = [block(p) for p in outside]
    if not outside:
        raise GraphError(
            f"simulate(...): nothing outside projects to the cycle of {list(names)}; add an input."
        )

    recurrent, axons = None, _Axons(size, tables[0].dtype)
    for projection in projections:
        if projection.source in columns:
            rows = columns[projection.source]
            whole = jnp.zeros((size, size), tables[0].dtype).at[rows].set(block(projection))
            if projection.delay is None:
                recurrent = whole if recurrent is None else recurrent + whole
            else:
                axons.add(projection, rows, whole)
    delayed_weights, delays = axons.stacked()
    wiring = Wiring(jnp.concatenate(tables), recurrent, delayed_weights, delays)
    return concatenated(*fed), wiring, tuple((p.size, p.parameters) for p in members)


class _Axons:
    """Delayed projections, as few axons of each neuron as there are projections out of its population."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.none = (jnp.zeros((size, size), dtype), jnp.full(size, jnp.inf, dtype))
        self.filled: list[tuple[jax.Array, jax.Array]] = []
        self.sources: list[str] = []

    def add(self, projection: Projection, rows: slice, weights: jax.Array) -> None:
        """The next axon of these neurons."""
        number = self.sources.count(projection.source)
        self.sources.append(projection.source)
        if number == len(self.filled):
            self.filled.append(self.none)
        table, delays = self.filled[number]
        self.filled[number] = (table + weights, delays.at[rows].set(projection.delays()))

    def stacked(self) -> tuple[jax.Array | None, jax.Array | None]:
        """Weights ``[P, N, N]`` and delays ``[P, N]`` of :class:`Wiring`."""
        if not self.filled:
            return None, None
        tables, delays = zip(*self.filled, strict=True)
        return jnp.stack(tables), jnp.stack(delays)


def _apart(joint: Trains, names: tuple[str, ...], sizes: dict[str, int]) -> dict[str, Trains]:
    """The trains of each population from those of all."""
    parts, first = {}, 0
    for name in (name for name in sizes if name in names):
        own = slice(first, first + sizes[name])
        parts[name] = jax.tree.map(lambda of_all, own=own: of_all[:, own], joint)
        first += sizes[name]
    return parts


def _checked_inputs(network: Network, inputs: Mapping[str, Trains]) -> dict[str, Trains]:
    expected = "spike trains by name, as {'in': snnax.event.trains(times)}"
    checks.mapping(expected)(inputs, "simulate(inputs=...)")
    if {*inputs} != {*network.inputs}:
        raise GraphError(
            f"simulate(inputs named {sorted(inputs)}): expected trains for {sorted(network.inputs)}, the sources that "
            "are no population."
        )
    return {name: given_inputs(trains, f"simulate(inputs[{name!r}]=...)") for name, trains in inputs.items()}
