r"""NIR graphs as networks that run from spike to spike, and back.

NIR's equations of a ``CubaLIF`` are those of :class:`snnax.event.LIFParameters` but for two gains,

.. math:: \tau_s \dot I = -I + w_{in} S, \qquad \tau_m \dot V = v_{leak} - V + r I

both of which are linear in the current: they are factors of the weights into the neuron. What is left open is how much
a spike adds to the current. In time steps ``S`` is 1 for a step, which adds :math:`w_{in}\,dt / \tau_s`; hence there is
a ``dt`` in a conversion of networks that have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, Literal

import jax.numpy as jnp
import nir
import numpy as np

from snnax import checks, event
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop import conventions
from snnax.interop.nir import metadata
from snnax.interop.nir.entries import DT, FILE_OR_GRAPH
from snnax.interop.nir.files import read_nir
from snnax.interop.nir.graph import FlatGraph, check, flatten, free
from snnax.interop.nir.readings import Reading
from snnax.interop.numbers import real

__all__ = ["events_from_nir", "events_to_nir"]

_NUMBERS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset")
_CHOICE = checks.one_of("ode", "impulse")
_UNIT = checks.one_of("s", "ms")
_STEP = checks.number(above=0, called="a number of seconds")


@checks.takes(graph=FILE_OR_GRAPH, dt=DT, w_in=_CHOICE, time_unit=_UNIT)
def events_from_nir(
    graph: nir.NIRGraph | str | PathLike[str],
    dt: float | None = None,
    *,
    w_in: Literal["ode", "impulse"] = "ode",
    time_unit: Literal["s", "ms"] = "s",
) -> event.Network:
    r"""Read a NIR graph of ``CubaLIF`` neurons as a network in continuous time.

    Every way from an ``Input`` or a population to a population, over ``Linear``, ``Affine``, ``Scale``, ``Flatten`` and
    ``Delay``, becomes a projection; a ``Delay`` is its axons' and needs no time step. Cycles need no delay.

    Args:
        graph: a graph in memory, or the path of a ``.nir`` file.
        dt: how long a spike lasts, with ``w_in="ode"``, in seconds; ``None``: what the graph's metadata says.
        w_in: what a spike of weight :math:`w` adds to the current: ``"ode"``: :math:`w\,w_{in}\,dt/\tau_{syn}`, what an
            Euler step of NIR's equation adds; ``"impulse"``: :math:`w\,w_{in}`, as jaxsnn and Norse mean their weights.
        time_unit: of the time constants and delays in the file; jaxsnn's are in ``"ms"``.

    Returns:
        :class:`snnax.event.Network`: populations and inputs have the names of their nodes, the gains are in the
        weights, ``[N_source, N_target]``. Voltages start at 0, as :func:`from_nir` starts them. Run it with
        :func:`snnax.event.simulate`.

    Raises:
        ConversionError: for neurons that are no ``CubaLIF``, neurons of one node that differ, a bias, layers that have
            no place on the way of a spike, and outputs that are no spikes; names the node and the remedy.
        ArgumentError: if no ``dt`` says what a spike adds.
        NIRFileError: for a file or graph that is damaged.
        GraphError: for edges that lead nowhere.

    Compared with
        * :func:`from_nir`: steps of ``dt``. With ``w_in="impulse"`` its spikes become these for a vanishing step.
        * jaxsnn 0.3.0's ``from_nir``: chains without delay; it reads the first neuron of each node for all, takes
          milliseconds, and ignores ``r`` and ``w_in``. ``w_in="impulse", time_unit="ms"`` reads its files.

    Example:
        >>> import nir, numpy as np, jax.numpy as jnp
        >>> from snnax import event, interop
        >>> one = np.ones(2)
        >>> graph = nir.NIRGraph.from_list(
        ...     nir.Delay(np.full(3, 2e-3)),
        ...     nir.Linear(2 * np.ones((2, 3))),
        ...     nir.CubaLIF(tau_syn=one * 5e-3, tau_mem=one * 1e-2, r=one, v_leak=one * 0, v_threshold=one))
        >>> network = interop.events_from_nir(graph, w_in="impulse")
        >>> found = event.simulate(network, {"input": event.trains(jnp.zeros((1, 3)))}, t_max=0.05)
        >>> f"{found['cubalif'].times[0, 0, 0]:.4f}"
        '0.0044'
    """
    flat = flatten(read_nir(graph) if not isinstance(graph, nir.NIRGraph) else graph)
    check(flat)
    step: Any = flat.content.get("dt") if dt is None else dt
    if w_in == "ode" and step is None:
        raise ArgumentError(
            "events_from_nir(graph): how much a spike adds to a current depends on how long it lasts. Write dt=1e-4, "
            "the step that the network was made for, or w_in='impulse' if a spike adds its weight."
        )
    reader = _Reader(
        flat, 1.0 if w_in == "impulse" else float(step), w_in, Reading(time_unit=time_unit).seconds
    )
    return reader.network()


@dataclass(frozen=True)
class _Way:
    """From a source to a population: of each source neuron its delay, and the weights."""

    source: str
    delay: np.ndarray | None
    matrix: np.ndarray | None
    """``None`` until there is a layer with weights: each neuron to the one of its number."""


@dataclass(frozen=True)
class _Reader:
    flat: FlatGraph
    dt: float
    w_in: str
    seconds: float
    known: dict[str, list[_Way]] = field(default_factory=dict)

    def network(self) -> event.Network:
        neurons = {n: node for n, node in self.flat.nodes.items() if isinstance(node, nir.CubaLIF)}
        if not neurons:
            raise ConversionError(
                "graph", "has no CubaLIF", "Networks of events are made of these; use interop.from_nir."
            )
        self._check_ends(set(neurons))
        populations, projections = [], []
        for name, node in neurons.items():
            parameters, gains = self._population(name, node)
            ways = _merged(w for source in self.flat.sources(name) for w in self._ways(source, (name,)))
            widths = [way.matrix.shape[1] for way in ways if way.matrix is not None]
            if gains.size == 1 and widths:
                gains = np.broadcast_to(gains, widths[0])
            populations.append(event.Population(name, gains.size, parameters))
            projections += [self._projection(name, way, gains) for way in ways]
        return event.Network(tuple(populations), tuple(projections))

    def _check_ends(self, neurons: set[str]) -> None:
        for end in self.flat.outputs:
            for source in self.flat.sources(end):
                if source not in neurons:
                    raise ConversionError(
                        source,
                        "goes to an Output and is no CubaLIF: what it returns are no spikes",
                        "Let the neurons before it be the output; snnax.event.li_voltage integrates their spikes.",
                    )

    def _population(self, name: str, node: nir.CubaLIF) -> tuple[event.LIFParameters, np.ndarray]:
        """The numbers of all neurons, and what a spike of weight 1 adds to the current of each."""
        found = {what: _shared(name, what, getattr(node, what)) for what in _NUMBERS}
        try:
            parameters = event.LIFParameters(
                tau_mem=found["tau_mem"] * self.seconds,
                tau_syn=found["tau_syn"] * self.seconds,
                threshold=found["v_threshold"],
                v_leak=found["v_leak"],
                v_reset=found["v_reset"],
                v_initial=0.0 if found["v_leak"] else None,
            )
        except ArgumentError as error:
            raise ConversionError(name, "no event-driven neuron has its numbers", str(error)) from error
        w_in = np.asarray(node.w_in, np.float64)
        added = (
            w_in
            if self.w_in == "impulse"
            else conventions.gain(w_in, np.asarray(parameters.tau_syn), self.dt)
        )
        every = np.broadcast_shapes(*(np.shape(getattr(node, what)) for what in ("r", "w_in", *_NUMBERS)))
        return parameters, np.broadcast_to(added * np.asarray(node.r, np.float64), every).reshape(-1)

    def _projection(self, target: str, way: _Way, gains: np.ndarray) -> event.Projection:
        matrix = np.eye(gains.size) if way.matrix is None else way.matrix
        if matrix.shape[1] != gains.size:
            raise ShapeError(f"{target!r} has {gains.size} neurons, and gets {matrix.shape[1]} values.")
        weights = jnp.asarray(real(target, f"the weights from {way.source!r}", matrix * gains, weights=True))
        if way.delay is None:
            return event.Projection(way.source, target, weights)
        if way.delay.size not in (1, len(matrix)):
            raise ShapeError(
                f"{way.source!r} has {len(matrix)} values, of which {way.delay.size} are delayed before {target!r}."
            )
        late = np.array(np.broadcast_to(way.delay * self.seconds, len(matrix)))
        delay = jnp.asarray(real(target, f"the delays from {way.source!r}", late))
        return event.Projection(way.source, target, weights, delay)

    def _ways(self, name: str, later: tuple[str, ...]) -> list[_Way]:
        """All ways that end at the exit of a node."""
        node = self.flat.nodes.get(name)
        if node is None or isinstance(node, nir.CubaLIF):
            return [_Way(name, None, None)]
        if name in later:
            raise ConversionError(name, "is on a cycle without neurons", "Remove an edge of it.")
        if name not in self.known:
            before = (way for s in self.flat.sources(name) for way in self._ways(s, (*later, name)))
            self.known[name] = _merged(_after(name, node, way) for way in before)
        return self.known[name]


def _shared(name: str, what: str, given: Any) -> float:
    """The one value of all neurons of a node."""
    values = np.unique(np.asarray(given, np.float64))
    if len(values) > 1:
        raise ConversionError(
            name,
            f"its neurons have {what} from {values[0]:g} to {values[-1]:g}",
            "The neurons of an event-driven population share their numbers: give each value a node of its own.",
        )
    return float(values[0])


def _merged(ways: Iterable[_Way]) -> list[_Way]:
    """Ways that differ in nothing but their weights as one, so that many parallel layers are no more than one."""
    found: dict[tuple[Any, ...], _Way] = {}
    for way in ways:
        key = (way.source, way.matrix is None, None if way.delay is None else way.delay.tobytes())
        known = found[key].matrix if key in found else None
        if known is None or way.matrix is None:
            found.setdefault(key, way)
        elif known.shape != way.matrix.shape:
            raise ShapeError(f"{known.shape[1]} and {way.matrix.shape[1]} values from {way.source!r} meet.")
        else:
            found[key] = replace(way, matrix=known + way.matrix)
    return list(found.values())


def _after(name: str, node: nir.NIRNode, way: _Way) -> _Way:
    """A way, with one more layer at its end."""
    width = None if way.matrix is None else way.matrix.shape[1]
    if isinstance(node, nir.Affine) and np.any(node.bias):
        raise ConversionError(
            name,
            "has a bias, which is no spike",
            "Set it to 0, and drive the neurons by v_leak or a spike at time 0.",
        )
    if isinstance(node, nir.Linear | nir.Affine) and np.ndim(node.weight) == 2:
        weight = conventions.kernel_from_torch(np.asarray(node.weight, np.float64))
        if width not in (None, len(weight)):
            raise ShapeError(f"{name!r} takes {len(weight)} values, and gets {width}.")
        return replace(way, matrix=weight if way.matrix is None else way.matrix @ weight)
    if isinstance(node, nir.Scale) and np.ndim(node.scale) == 1:
        scale = np.asarray(node.scale, np.float64)
        if width not in (None, len(scale)):
            raise ShapeError(f"{name!r} takes {len(scale)} values, and gets {width}.")
        return replace(way, matrix=np.diag(scale) if way.matrix is None else way.matrix * scale)
    if isinstance(node, nir.Delay) and np.ndim(node.delay) <= 1:
        return _late(name, np.atleast_1d(np.asarray(node.delay, np.float64)), way)
    if isinstance(node, nir.Flatten):
        return way
    raise ConversionError(
        name,
        f"a {type(node).__name__} of this shape has no form in a network of events",
        "Linear, Affine without a bias, Scale and Delay of vectors have, between CubaLIF neurons; write other layers "
        "as the Linear that they are, or use interop.from_nir.",
    )


def _late(name: str, delay: np.ndarray, way: _Way) -> _Way:
    """A delay in front of the weights is of each neuron; behind them all sums need the same."""
    if way.matrix is not None and np.any(delay != delay[0]):
        raise ConversionError(
            name,
            "delays each of the sums behind the weights by a time of its own",
            "An axon has the delay of the neuron before the weights: put the Delay in front of them, or use one delay.",
        )
    if way.matrix is not None:
        delay = delay[:1]
    if way.delay is not None and 1 not in (delay.size, way.delay.size) and delay.size != way.delay.size:
        raise ShapeError(f"{name!r} delays {delay.size} values, and gets {way.delay.size}.")
    return replace(way, delay=delay if way.delay is None else way.delay + delay)


# --- back -----------------------------------------------------------------------------------------


@checks.takes(
    network=checks.instance(event.Network, "snnax.event.Network(populations, projections)"),
    outputs=checks.maybe(checks.instance((list, tuple), "names of populations, as ['out']")),
    dt=_STEP,
)
def events_to_nir(
    network: event.Network, outputs: Sequence[str] | None = None, *, dt: float = conventions.DT
) -> nir.NIRGraph:
    r"""Write a network in continuous time as a NIR graph of ``CubaLIF``, ``Linear`` and ``Delay``.

    Args:
        network: the network.
        outputs: names of the populations that are returned; ``None`` for those that project to no other, or for all if
            there are none.
        dt: how long a spike lasts for a reader that takes steps, in seconds: ``w_in`` is :math:`\tau_{syn}/dt`, with
            which a spike adds its weight to the current. It is noted in the graph's metadata.

    Returns:
        The graph: populations and inputs under their names, weights in torch's layout, delays in front of them.
        :func:`events_from_nir` reads it as the same network; :func:`from_nir` as one in steps of ``dt``.

    Raises:
        ConversionError: for a refractory time, and a voltage at the start that is not 0, which NIR cannot say.
        ArgumentError: for ``outputs`` that are no populations.
        ShapeError: for weights that do not fit their populations.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event, interop
        >>> network = event.Network(
        ...     [event.Population("out", 2, event.LIFParameters())],
        ...     [event.Projection("in", "out", jnp.ones((3, 2)), delay=1e-3)])
        >>> graph = interop.events_to_nir(network)
        >>> sorted(graph.nodes)
        ['in', 'in_to_out', 'in_to_out_delay', 'out', 'output']
    """
    network.check_shapes()
    names = tuple(network.sizes)
    if unknown := [name for name in outputs or () if name not in names]:
        raise ArgumentError(
            f"events_to_nir(outputs={list(outputs or ())}): {unknown[0]!r} is none of {list(names)}."
        )
    inner = {p.source for p in network.projections if p.source != p.target}
    ends = list(outputs) if outputs else [name for name in names if name not in inner] or list(names)
    nodes: dict[str, nir.NIRNode] = {p.name: _neurons(p, dt) for p in network.populations}
    edges: list[tuple[str, str]] = []
    for p in network.projections:
        weights = np.asarray(p.masked())
        if p.source not in network.sizes:
            nodes[p.source] = nir.Input({"input": np.array([weights.shape[0]])})
    for p in network.projections:
        weights, before = np.asarray(p.masked()), p.source
        name = free(f"{p.source}_to_{p.target}", nodes)
        nodes[name] = nir.Linear(conventions.kernel_to_torch(weights))
        if p.delay is not None:
            late = free(f"{name}_delay", nodes)
            nodes[late] = nir.Delay(np.maximum(np.asarray(p.delays()), 0))
            edges.append((before, late))
            before = late
        edges += [(before, name), (name, p.target)]
    for end in ends:
        name = free("output" if len(ends) == 1 else f"{end}_output", nodes)
        nodes[name] = nir.Output({"output": np.array([network.sizes[end]])})
        edges.append((end, name))
    return metadata.in_text(metadata.write(nir.NIRGraph(nodes, edges, type_check=False), {"dt": dt}))


def _neurons(population: event.Population, dt: float) -> nir.CubaLIF:
    parameters, every = population.parameters, np.ones(population.size)
    if parameters.refractory:
        raise ConversionError(
            population.name,
            f"has a refractory time of {parameters.refractory:g} s, which NIR cannot say",
            "Write dataclasses.replace(parameters, refractory=0.0); it then fires as often as it is driven to.",
        )
    start = parameters.v_leak + parameters.u_initial
    if start:
        raise ConversionError(
            population.name,
            f"starts at {start:g}, which NIR cannot say: its readers start at 0",
            "Write dataclasses.replace(parameters, v_initial=0.0).",
        )
    return nir.CubaLIF(
        tau_mem=every * parameters.tau_mem,
        tau_syn=every * parameters.tau_syn,
        r=every,
        v_leak=every * parameters.v_leak,
        v_threshold=every * parameters.threshold,
        v_reset=every * parameters.v_reset,
        w_in=every * parameters.tau_syn / dt,
    )
