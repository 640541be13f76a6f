"""``Graph``: populations and the connections between them, in any topology, as one module with its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from snnax import checks
from snnax.errors import GraphError
from snnax.event.arguments import seconds
from snnax.event.layers.base import (
    AxonDelay,
    EventModule,
    Initializer,
    axon_delay,
    initializer,
    spike_trains,
)
from snnax.event.layers.initial import firing_normal
from snnax.event.layers.running import run
from snnax.event.network import Mask, Network, Population, Projection, frozen
from snnax.event.silent import OVER
from snnax.event.simulation import ENGINES
from snnax.event.spike_trains import Trains

__all__ = ["Connection", "Graph"]


@dataclass(frozen=True)
class Connection:
    """A projection of a :class:`Graph`, which has its weights: how they are drawn, and what is fixed.

    Args:
        source: name of a population; any other name is one of the inputs.
        target: name of a population.
        weight_init: of the weights ``[N_source, N_target]``; ``None``: :class:`firing_normal` of the target, with
            ``gain=0`` and ``spread=0.1`` from a population to itself.
        delay: of the axons: ``None``, fixed seconds (a number or one for each source), or an initializer of delays that
            are learned.
        mask: ``[N_source, N_target]``, nonzero where there is a connection; ``None`` for all.

    Raises:
        ArgumentError: for arguments that cannot be.

    Example:
        >>> import jax
        >>> from snnax.event import Connection
        >>> Connection("in", "hidden", delay=jax.nn.initializers.uniform(5e-3)).target
        'hidden'
    """

    source: str
    target: str
    weight_init: Initializer | None = None
    delay: AxonDelay = None
    mask: Any = None

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(
            self,
            source=checks.text,
            target=checks.text,
            weight_init=checks.maybe(initializer),
            delay=axon_delay,
            mask=_mask,
        )


class Graph(EventModule):
    """Populations and the connections between them: chains, branches, skips, recurrence, cycles, delays.

    Each part runs by the engine that suits it, as :func:`~snnax.event.simulate` picks it.

    Args:
        populations: :class:`Population`, with different names.
        connections: :class:`Connection`, or pairs of names.
        t_max: when the simulation ends, in seconds.
        outputs: the population whose spikes are returned, or several; ``None`` for all.
        max_spikes: the budget ``K`` of each neuron.
        silence: how much of :func:`~snnax.event.silence` of all populations is added to the loss, as of :class:`LIF`.
        silent_over: ``"batch"`` or ``"sample"``, as there.
        engine: as of :func:`~snnax.event.simulate`.
        max_events: budget of each event loop, as there.
        max_in_flight: budget of spikes under way in it, as there.

    Parameters: the weights of a connection under ``<source>_to_<target>``, delays that are learned under
    ``<source>_to_<target>_delay``; of several between the same two the second has ``_2`` at the end.

    Returns:
        Called with :class:`Trains` or times if there is one input, else with a dictionary of them by name:
        :class:`Trains` of the one output, else a dictionary by name. Spikes are flagged in ``overflow`` in each sample
        in which an input or another population overflowed.

    Raises:
        ArgumentError: for arguments that cannot be.
        GraphError: if populations and connections do not fit, or an input is missing or unknown.
        ShapeError: for masks or delays of another size than their populations.

    Compared with
        jaxsnn's ``Topology`` is built by ``add``, ``connect`` and ``done``; this is an immutable module.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> neurons = event.LIFParameters()
        >>> net = event.Graph(
        ...     [event.Population("hidden", 20, neurons), event.Population("out", 3, neurons)],
        ...     [("in", "hidden"), event.Connection("hidden", "hidden", delay=2e-3), ("in", "out"), ("hidden", "out")],
        ...     t_max=0.05, outputs="out", max_spikes=4)
        >>> times = jnp.array([[1e-3, 2e-3, 4e-3, 5e-3]])
        >>> spikes, variables = net.init_with_output(jax.random.key(0), times)
        >>> spikes.times.shape, sorted(variables["params"])
        ((1, 3, 4), ['hidden_to_hidden', 'hidden_to_out', 'in_to_hidden', 'in_to_out'])
    """

    populations: Sequence[Population]
    connections: Sequence[Any]
    t_max: float
    outputs: str | Sequence[str] | None = None
    max_spikes: int = 1
    silence: float = 0.0
    silent_over: str = "batch"
    engine: str = "auto"
    max_events: int | None = None
    max_in_flight: int | None = None

    def __post_init__(self) -> None:
        """Check the fields, and that the parts fit."""
        checks.fields(
            self,
            populations=_populations,
            connections=_connections,
            t_max=seconds,
            outputs=checks.maybe(_outputs),
            max_spikes=checks.count(),
            silence=checks.number(0.0),
            silent_over=checks.one_of(*OVER),
            engine=checks.one_of(*ENGINES),
            max_events=checks.maybe(checks.count()),
            max_in_flight=checks.maybe(checks.count()),
        )
        network = self._network(
            lambda connection, _: Projection(connection.source, connection.target, jnp.zeros(()))
        )
        asked = (self.outputs,) if isinstance(self.outputs, str) else self.outputs or ()
        if missing := [name for name in asked if name not in network.sizes]:
            raise GraphError(
                f"Graph(outputs={self.outputs!r}): {missing} are none of the populations {[*network.sizes]}."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Any) -> Any:
        """The spikes of the outputs."""
        given = self._inputs(inputs)
        sizes = {name: trains.times.shape[1] for name, trains in given.items()}
        sizes |= {population.name: population.size for population in self.populations}
        network = self._network(lambda connection, name: self._projection(connection, name, sizes))
        found = run(self, network, given)
        if isinstance(self.outputs, str):
            return found[self.outputs]
        return found if self.outputs is None else {name: found[name] for name in self.outputs}

    def _network(self, projection: Any) -> Network:
        """Populations, and what a function makes of each connection and the name of its weights."""
        number: Counter[tuple[str, str]] = Counter()
        found = []
        for connection in self.connections:
            ends = connection.source, connection.target
            number[ends] += 1
            again = f"_{number[ends]}" if number[ends] > 1 else ""
            found.append(projection(connection, "_to_".join(ends) + again))
        return Network(tuple(self.populations), tuple(found))

    def _projection(self, connection: Connection, name: str, sizes: dict[str, int]) -> Projection:
        source, target = connection.source, connection.target
        (parameters,) = [p.parameters for p in self.populations if p.name == target]
        own = {"gain": 0.0, "spread": 0.1} if source == target else {}
        draw = connection.weight_init or firing_normal(parameters, **own)
        weights = self.param(name, draw, (sizes[source], sizes[target]), jnp.result_type(float))
        delay = self._delays(f"{name}_delay", connection.delay, sizes[source])
        return Projection(source, target, weights, delay, connection.mask)

    def _inputs(self, inputs: Any) -> dict[str, Trains]:
        """Trains by the names of the inputs."""
        populations = {population.name for population in self.populations}
        names = [*dict.fromkeys(c.source for c in self.connections if c.source not in populations)]
        what = f"{self._label()}(inputs=...)"
        if len(names) == 1 and not isinstance(inputs, Mapping):
            return {names[0]: spike_trains(inputs, what)}
        expected = f"a dictionary of spike trains for the inputs {names}"
        given = checks.mapping(expected)(inputs, what)
        if {*given} != {*names}:
            raise GraphError(f"{self._label()}(inputs named {sorted(given)}): expected {expected}.")
        return {name: spike_trains(given[name], f"{self._label()}(inputs[{name!r}]=...)") for name in names}


def _populations(value: Any, what: str) -> tuple[Population, ...]:
    if isinstance(value, list | tuple) and value and all(isinstance(one, Population) for one in value):
        return tuple(value)
    raise checks.refuse(what, value, "populations, as [event.Population('out', 3, event.LIFParameters())]")


def _connections(value: Any, what: str) -> tuple[Connection, ...]:
    found = [_connection(one) for one in value] if isinstance(value, list | tuple) else []
    made = tuple(one for one in found if one is not None)
    if not found or len(made) < len(found):
        raise checks.refuse(
            what, value, "connections, as [('in', 'out'), event.Connection('out', 'out', delay=1e-3)]"
        )
    return made


def _connection(value: Any) -> Connection | None:
    """One of them, of a pair of names too."""
    if isinstance(value, Connection):
        return value
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(end, str) for end in value):
        return Connection(*value)
    return None


def _outputs(value: Any, what: str) -> Any:
    """A name, or several."""
    if isinstance(value, str):
        return value
    if names := checks.texts(value, what):
        return names
    raise checks.refuse(what, value, "the name of a population, or several")


def _mask(value: Any, what: str) -> Any:
    """Which connections exist, in a form that can be hashed."""
    return value if value is None or isinstance(value, Mask) else frozen(value, what)
