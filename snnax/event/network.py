"""The description of an event-driven network: populations of neurons, and projections between them.

Plain frozen dataclasses. A network is a pytree: weights and delays are its leaves, so that ``jax.grad`` of a function
of a network is a network of gradients; names, sizes, parameters and masks are its structure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import GraphError, ShapeError
from snnax.event.neuron import LIFParameters, LIParameters

__all__ = ["Mask", "Network", "Population", "Projection", "Readout", "frozen"]

Array = jax.Array


@dataclass(frozen=True)
class Population:
    """Neurons with the same parameters.

    Args:
        name: as projections call it.
        size: number of neurons.
        parameters: of each.

    Example:
        >>> from snnax import event
        >>> out = event.Population("out", 3, event.LIFParameters(tau_mem=0.02, tau_syn=0.005))
        >>> out.size, out.parameters.tau_mem
        (3, 0.02)
    """

    name: str
    size: int
    parameters: LIFParameters

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(
            self,
            name=checks.text,
            size=checks.count(),
            parameters=checks.instance(LIFParameters, "snnax.event.LIFParameters()"),
        )


@dataclass(frozen=True)
class Readout:
    """Leaky integrators with the same parameters, whose voltages are read and which send nothing.

    Args:
        name: as projections call it.
        size: number of integrators.
        parameters: of each.

    Example:
        >>> from snnax import event
        >>> label = event.Readout("label", 2, event.LIParameters(tau_mem=0.02, tau_syn=0.005))
        >>> label.name, label.size
        ('label', 2)
    """

    name: str
    size: int
    parameters: LIParameters

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(
            self,
            name=checks.text,
            size=checks.count(),
            parameters=checks.instance(LIParameters, "snnax.event.LIParameters()"),
        )


@dataclass(frozen=True, eq=False)
class Mask:
    """Which connections exist: booleans in NumPy that can be compared and hashed, as the structure of a program."""

    values: np.ndarray[Any, np.dtype[np.bool_]]

    @cached_property
    def _key(self) -> tuple[tuple[int, ...], bytes]:
        return self.values.shape, self.values.tobytes()

    def __eq__(self, other: object) -> bool:
        """Equal shapes and values."""
        return isinstance(other, Mask) and self._key == other._key

    def __hash__(self) -> int:
        """Of shape and values."""
        return hash(self._key)


def frozen(value: Any, what: str) -> Mask:
    """Nonzero where there is a connection, fixed when the program is compiled."""
    if isinstance(value, jax.core.Tracer):
        raise checks.refuse(what, value, "an array that is known when the program is compiled, as of NumPy")
    with jax.ensure_compile_time_eval():
        return Mask(np.asarray(checks.array(value, what)) != 0)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("weights", "delay"),
    meta_fields=("source", "target", "mask"),
)
@dataclass(frozen=True, eq=False)
class Projection:
    """All connections from a population, or from an input, to a population (itself, too).

    Args:
        source: name of a population; any other name is one of the inputs.
        target: name of a population or a readout.
        weights: ``[N_source, N_target]``.
        delay: of the axons, in seconds: one number, or one for each source neuron ``[N_source]``. ``None``: the spike
            acts at once. Less than zero counts as zero.
        mask: ``[N_source, N_target]``, nonzero where there is a connection; ``None`` for all. The others have no
            effect, and weights there no gradient.

    Example:
        >>> import numpy as np
        >>> from snnax import event
        >>> axons = event.Projection("in", "out", np.ones((2, 3)), delay=np.array([0.001, 0.002]), mask=np.eye(2, 3))
        >>> axons.source, axons.target, float(axons.masked().sum())
        ('in', 'out', 2.0)
    """

    source: str
    target: str
    weights: Array
    delay: Array | float | None = None
    mask: Any = None

    def __post_init__(self) -> None:
        """Check the names, and freeze the mask. Weights and delay may be anything that JAX puts into a pytree."""
        checks.fields(self, source=checks.text, target=checks.text)
        if self.mask is not None and not isinstance(self.mask, Mask):
            checks.fields(self, mask=frozen)

    def masked(self) -> Array:
        """The weights of the connections that exist, and 0."""
        weights = jnp.asarray(self.weights)
        return weights if self.mask is None else jnp.where(self.mask.values, weights, 0)

    def delays(self) -> Array:
        """The delay of each source neuron, ``[N_source]``."""
        return jnp.broadcast_to(
            jnp.asarray(0.0 if self.delay is None else self.delay), self.weights.shape[:1]
        )


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("projections",),
    meta_fields=("populations", "readouts"),
)
@dataclass(frozen=True, eq=False)
class Network:
    """Populations and the projections between them, in any topology: chains, skips, recurrence, cycles.

    Args:
        populations: with different names.
        projections: between them, and from inputs; several between the same two populations add up.
        readouts: integrators that spikes are read out by, with :func:`~snnax.event.voltages`.

    Raises:
        GraphError: if two of them have the same name, a target is neither, one has no input, or a readout is a source.

    Arrays are looked at when the network runs (:meth:`check_shapes`): a pytree of them may be stacked, or be gradients.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import LIFParameters, Network, Population, Projection
        >>> network = Network(
        ...     [Population("hidden", 20, LIFParameters()), Population("out", 2, LIFParameters())],
        ...     [
        ...         Projection("in", "hidden", jnp.ones((5, 20))),
        ...         Projection("hidden", "hidden", -jnp.ones((20, 20)), delay=1e-3, mask=1 - jnp.eye(20)),
        ...         Projection("hidden", "out", jnp.ones((20, 2))),
        ...     ],
        ... )
        >>> network.inputs, network.components()
        (('in',), (('hidden',), ('out',)))
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    readouts: tuple[Readout, ...] = ()

    def __post_init__(self) -> None:
        """Make the sequences tuples, and check that the parts fit."""
        checks.fields(self, populations=_populations, projections=_projections, readouts=_readouts)
        if not all(isinstance(p, Projection) for p in self.projections):
            return  # JAX builds a pytree with placeholders too
        _check_names(self)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of neurons of each population."""
        return {population.name: population.size for population in self.populations}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Sources that are no population, in the order of their first projection."""
        return tuple(dict.fromkeys(p.source for p in self.projections if p.source not in self.sizes))

    def check_shapes(self) -> None:
        """Look at weights, masks and delays.

        Raises:
            ArgumentError: for weights or delays that are no arrays of real numbers.
            ShapeError: if those of a projection do not fit its ends.
        """
        sizes = self.sizes | {readout.name: readout.size for readout in self.readouts}
        for projection in self.projections:
            checks.instance(Projection, _EXPECTED)(projection, "Network(projections=...)")
            _check_shapes(projection, sizes)

    def into(self, names: Iterable[str]) -> tuple[Projection, ...]:
        """Projections that end at some populations."""
        wanted = {*names}
        return tuple(p for p in self.projections if p.target in wanted)

    def components(self) -> tuple[tuple[str, ...], ...]:
        """Populations that are in cycles with each other; each after all that it gets spikes from."""
        names = tuple(self.sizes)
        number = {name: n for n, name in enumerate(names)}
        reaches = np.eye(len(names), dtype=bool)
        for projection in self.projections:
            if projection.source in number and projection.target in number:
                reaches[number[projection.source], number[projection.target]] = True
        for middle in range(len(names)):
            reaches |= reaches[:, middle, None] & reaches[middle]
        together = reaches & reaches.T
        # Along every projection out of a cycle the number of ancestors grows.
        groups = {tuple(np.flatnonzero(row)): int(reaches[:, n].sum()) for n, row in enumerate(together)}
        return tuple(tuple(names[n] for n in group) for group in sorted(groups, key=lambda g: (groups[g], g)))


def _populations(value: Any, what: str) -> tuple[Population, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(p, Population) for p in value):
        raise checks.refuse(what, value, "populations, as [Population('out', 3, LIFParameters())]")
    return tuple(value)


def _readouts(value: Any, what: str) -> tuple[Readout, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(r, Readout) for r in value):
        raise checks.refuse(what, value, "readouts, as [Readout('voltage', 3, LIParameters())]")
    return tuple(value)


_EXPECTED = "projections, as [Projection('in', 'out', weights)]"


def _projections(value: Any, what: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise checks.refuse(what, value, _EXPECTED)
    return tuple(value)


def _check_names(network: Network) -> None:
    readouts = {readout.name for readout in network.readouts}
    names = [*(population.name for population in network.populations), *(r.name for r in network.readouts)]
    for name in names:
        what = "readout" if name in readouts else "population"
        if names.count(name) > 1:
            raise GraphError(
                f"Network(...): two populations are called {name!r}; name one of them otherwise."
            )
        if name not in {projection.target for projection in network.projections}:
            raise GraphError(
                f"Network(...): nothing projects to the {what} {name!r}; add Projection('in', {name!r}, weights)."
            )
    for projection in network.projections:
        if projection.target not in names:
            raise GraphError(
                f"Network(...): a projection from {projection.source!r} ends at {projection.target!r}, which is none "
                f"of {names}."
            )
        if projection.source in readouts:
            raise GraphError(
                f"Network(...): a projection to {projection.target!r} begins at {projection.source!r}, a readout, "
                "which sends no spikes; begin it at a population."
            )


def _check_shapes(projection: Projection, sizes: dict[str, int]) -> None:
    named = f"Projection({projection.source!r}, {projection.target!r}"
    shape = checks.array(projection.weights, f"{named}, weights=...)").shape
    source = sizes.get(projection.source, shape[0] if shape else 0)
    expected = (source, sizes[projection.target])
    if shape != expected:
        raise ShapeError(
            f"{named}, weights of shape {shape}): expected [N_source, N_target], here {expected}."
        )
    if projection.mask is not None and projection.mask.values.shape != expected:
        raise ShapeError(f"{named}, mask of shape {projection.mask.values.shape}): expected {expected}.")
    if projection.delay is None:
        return
    delay = checks.array(projection.delay, f"{named}, delay=...)")
    if delay.shape not in ((), (source,)):
        raise ShapeError(
            f"{named}, delay of shape {delay.shape}): expected one number or {(source,)}, one for each source neuron."
        )
