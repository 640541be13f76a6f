r"""NIR graphs as networks that run from spike to spike, and back.

NIR's equations of a ``CubaLIF`` are those of :class:`snnax.event.LIFParameters` but for two gains,

.. math:: \tau_s \dot I = -I + w_{in} S, \qquad \tau_m \dot V = v_{leak} - V + r I

both of which are linear in the current: they are factors of the weights into the neuron. What is left open is how much
a spike adds to the current. In time steps ``S`` is 1 for a step, which adds :math:`w_{in}\,dt / \tau_s`; hence there is
a ``dt`` in a conversion of networks that have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from snnax.interop.nir.ways import Way, Ways
from snnax.interop.numbers import real

__all__ = ["events_from_nir", "events_to_nir"]

_CHOICE = checks.one_of("ode", "impulse")
_UNIT = checks.one_of("s", "ms")
_STEP = checks.number(above=0, called="a number of seconds")


@checks.takes(
    graph=FILE_OR_GRAPH,
    dt=DT,
    w_in=_CHOICE,
    time_unit=_UNIT,
    synapse=checks.maybe(_STEP),
    preset=checks.maybe(checks.one_of("jaxsnn")),
)
def events_from_nir(
    graph: nir.NIRGraph | str | PathLike[str],
    dt: float | None = None,
    *,
    w_in: Literal["ode", "impulse"] = "ode",
    time_unit: Literal["s", "ms"] = "s",
    synapse: float | None = None,
    preset: Literal["jaxsnn"] | None = None,
) -> event.Network:
    r"""Read a NIR graph of ``CubaLIF`` and ``CubaLI`` neurons as a network in continuous time.

    Every way from an ``Input`` or a population to a population or a readout, over ``Linear``, ``Affine``, ``Scale``,
    ``Flatten`` and ``Delay``, becomes a projection; a ``Delay`` is its axons' and needs no time step. Cycles need no
    delay.

    Args:
        graph: a graph in memory, or the path of a ``.nir`` file.
        dt: how long a spike lasts, with ``w_in="ode"``, in seconds; ``None``: what the graph's metadata says.
        w_in: what a spike of weight :math:`w` adds to the current: ``"ode"``: :math:`w\,w_{in}\,dt/\tau_{syn}`, what an
            Euler step of NIR's equation adds; ``"impulse"``: :math:`w\,w_{in}`, as jaxsnn and Norse mean their weights.
        time_unit: of the time constants and delays in the file; jaxsnn's are in ``"ms"``.
        synapse: a time constant in seconds for ``LIF`` and ``LI``, which have no synapse and whose voltage jumps. The
            charge of each spike stays: a current of :math:`w` for ``dt``, or what lifts the voltage by :math:`r w` with
            ``w_in="impulse"``. It is an approximation, the better the shorter; ``None`` refuses these neurons.
        preset: ``"jaxsnn"`` reads a graph as jaxsnn 0.3.0's ``from_nir`` does, which has milliseconds, weights as
            ``[N_source, N_target]`` (NIR has them the other way round), spikes that add their weight, and does not read
            ``r`` and ``w_in``. The other choices are then not read.

    Returns:
        :class:`snnax.event.Network`: populations and inputs have the names of their nodes, the gains are in the
        weights, ``[N_source, N_target]``. ``CubaLI`` nodes are its readouts. Voltages start at 0, as :func:`from_nir`
        starts them. Run it with :func:`snnax.event.simulate`, and read it out with :func:`snnax.event.voltages`.

    Raises:
        ConversionError: for neurons that are neither, neurons of one node that differ, a bias, layers that have no
            place on the way of a spike, and outputs that are no neurons; names the node and the remedy.
        ArgumentError: if no ``dt`` says what a spike adds.
        NIRFileError: for a file or graph that is damaged.
        GraphError: for edges that lead nowhere.

    Compared with
        * :func:`from_nir`: steps of ``dt``. With ``w_in="impulse"`` its spikes become these for a vanishing step.
        * jaxsnn 0.3.0's ``from_nir``: chains without delay; it reads the first neuron of each node for all. The spikes
          of ``preset="jaxsnn"`` are those of its engine.

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
    if preset == "jaxsnn":
        w_in, time_unit = "impulse", "ms"
        flat = replace(flat, nodes={name: _of_jaxsnn(node) for name, node in flat.nodes.items()})
    check(flat)
    step: Any = flat.content.get("dt") if dt is None else dt
    if w_in == "ode" and step is None:
        raise ArgumentError(
            "events_from_nir(graph): how much a spike adds to a current depends on how long it lasts. Write dt=1e-4, "
            "the step that the network was made for, or w_in='impulse' if a spike adds its weight."
        )
    duration = None if w_in == "impulse" else float(step)
    return _Reader(flat, duration, Reading(time_unit=time_unit).seconds, synapse).network()


def _of_jaxsnn(node: nir.NIRNode) -> nir.NIRNode:
    """A node with the numbers that jaxsnn 0.3.0 reads in it, in NIR's words."""
    if isinstance(node, nir.Linear | nir.Affine) and np.ndim(node.weight) == 2:
        weight = conventions.kernel_to_torch(node.weight)
        return nir.Linear(weight) if isinstance(node, nir.Linear) else nir.Affine(weight, node.bias)
    if isinstance(node, nir.CubaLIF):
        one = np.ones(np.shape(node.tau_mem))
        numbers = ("tau_mem", "tau_syn", "v_leak", "v_threshold", "v_reset")
        return nir.CubaLIF(r=one, w_in=one, **{name: getattr(node, name) for name in numbers})
    return node


_SPIKING, _READING = (nir.CubaLIF, nir.LIF), (nir.CubaLI, nir.LI)


def _begins(node: nir.NIRNode) -> bool:
    """Whether the ways of spikes begin and end at a node."""
    return isinstance(node, (*_SPIKING, *_READING))


@dataclass(frozen=True)
class _Reader:
    flat: FlatGraph
    dt: float | None
    """How long a spike lasts; ``None`` if it adds its weight at once."""
    seconds: float
    synapse: float | None

    def network(self) -> event.Network:
        neurons = {n: node for n, node in self.flat.nodes.items() if _begins(node)}
        if not any(isinstance(node, _SPIKING) for node in neurons.values()):
            raise ConversionError(
                "graph", "has no CubaLIF", "Networks of events are made of these; use interop.from_nir."
            )
        self._check_ends(set(neurons))
        ways = Ways(self.flat, _begins)
        populations: list[event.Population] = []
        readouts: list[event.Readout] = []
        projections: list[event.Projection] = []
        for name, node in neurons.items():
            found = ways.into(name)
            self._check_sources(name, found, neurons)
            gains = self._gains(name, node)
            widths = [way.matrix.shape[1] for way in found if way.matrix is not None]
            if gains.size == 1 and widths:
                gains = np.broadcast_to(gains, widths[0])
            if isinstance(node, _SPIKING):
                populations.append(event.Population(name, gains.size, self._spiking(name, node)))
            else:
                readouts.append(event.Readout(name, gains.size, self._reading(name, node)))
            projections += [self._projection(name, way, gains) for way in found]
        return event.Network(tuple(populations), tuple(projections), tuple(readouts))

    def _check_ends(self, neurons: set[str]) -> None:
        for end in self.flat.outputs:
            for source in self.flat.sources(end):
                if source not in neurons:
                    raise ConversionError(
                        source,
                        "goes to an Output and is no neuron: what it returns are neither spikes nor voltages",
                        "Let the neurons before it be the output.",
                    )

    def _check_sources(self, name: str, ways: list[Way], neurons: dict[str, nir.NIRNode]) -> None:
        for way in ways:
            if isinstance(neurons.get(way.source), _READING):
                raise ConversionError(
                    way.source,
                    f"is an integrator whose voltage drives {name!r}: what it returns are no spikes",
                    "Let it be an output, or use interop.from_nir, which takes steps.",
                )

    def _constants(self, name: str, node: Any) -> dict[str, float]:
        """The numbers that all neurons of a node share, in seconds and volts."""
        cuba = isinstance(node, nir.CubaLIF | nir.CubaLI)
        what = ["tau_mem", "tau_syn"] if cuba else ["tau"]
        what += ["v_leak"] + ["v_threshold", "v_reset"] * isinstance(node, _SPIKING)
        found = {key: _shared(name, key, getattr(node, key)) for key in what}
        if cuba:
            return found | {key: found[key] * self.seconds for key in ("tau_mem", "tau_syn")}
        if self.synapse is None:
            kind = type(node).__name__
            raise ConversionError(
                name,
                f"a {kind} has no synapse: its voltage jumps, so that it fires at the times of its inputs",
                f"Make it a Cuba{kind}, or write events_from_nir(graph, synapse=1e-4): each then has a synapse of this "
                "time constant, through which the same charge flows.",
            )
        return found | {"tau_mem": found.pop("tau") * self.seconds, "tau_syn": self.synapse}

    def _spiking(self, name: str, node: Any) -> event.LIFParameters:
        found = self._constants(name, node)
        threshold, reset = found.pop("v_threshold"), found.pop("v_reset")
        start = 0.0 if found["v_leak"] else None
        try:
            return event.LIFParameters(**found, threshold=threshold, v_reset=reset, v_initial=start)
        except ArgumentError as error:
            raise ConversionError(name, "no event-driven neuron has its numbers", str(error)) from error

    def _reading(self, name: str, node: Any) -> event.LIParameters:
        found = self._constants(name, node)
        if found["v_leak"]:
            raise ConversionError(
                name,
                f"rises from 0 to its v_leak of {found['v_leak']:g}, and a readout of events starts at v_leak",
                "Set v_leak to 0, and add what it adds to the voltages that are read.",
            )
        try:
            return event.LIParameters(**found)
        except ArgumentError as error:
            raise ConversionError(name, "no event-driven readout has its numbers", str(error)) from error

    def _gains(self, name: str, node: Any) -> np.ndarray:
        """What a spike of weight 1 adds to the current of each neuron, ``[N]``, or of all, ``[1]``."""
        shapes = [np.shape(value) for value in vars(node).values() if isinstance(value, np.ndarray | float)]
        r = np.asarray(node.r, np.float64)
        if isinstance(node, nir.CubaLIF | nir.CubaLI):
            w_in = np.asarray(node.w_in, np.float64)
            tau = np.asarray(node.tau_syn, np.float64) * self.seconds
            found = r * (w_in if self.dt is None else conventions.gain(w_in, tau, self.dt))
        else:
            # The charge of a spike flows through the synapse: that of a current of 1 for dt, or of a jump by r.
            charge = np.asarray(node.tau, np.float64) * self.seconds if self.dt is None else self.dt
            found = r * charge / self._constants(name, node)["tau_syn"]
        return np.broadcast_to(found, np.broadcast_shapes(np.shape(found), *shapes)).reshape(-1)

    def _projection(self, target: str, way: Way, gains: np.ndarray) -> event.Projection:
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


# --- back -----------------------------------------------------------------------------------------


@checks.takes(
    network=checks.instance(event.Network, "snnax.event.Network(populations, projections)"),
    outputs=checks.maybe(checks.instance((list, tuple), "names of populations, as ['out']")),
    dt=_STEP,
)
def events_to_nir(
    network: event.Network, outputs: Sequence[str] | None = None, *, dt: float = conventions.DT
) -> nir.NIRGraph:
    r"""Write a network in continuous time as a NIR graph of ``CubaLIF``, ``CubaLI``, ``Linear`` and ``Delay``.

    Args:
        network: the network.
        outputs: names of the populations and readouts that are returned; ``None`` for the readouts and the populations
            that project to no other, or for all if there are none.
        dt: how long a spike lasts for a reader that takes steps, in seconds: ``w_in`` is :math:`\tau_{syn}/dt`, with
            which a spike adds its weight to the current. It is noted in the graph's metadata.

    Returns:
        The graph, with populations and inputs under their names, weights in torch's layout, delays in front of them.
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
    readouts = {readout.name: readout.size for readout in network.readouts}
    sizes = network.sizes | readouts
    names = tuple(sizes)
    if unknown := [name for name in outputs or () if name not in names]:
        raise ArgumentError(
            f"events_to_nir(outputs={list(outputs or ())}): {unknown[0]!r} is none of {list(names)}."
        )
    inner = {p.source for p in network.projections if p.source != p.target}
    ends = list(outputs) if outputs else [name for name in names if name not in inner] or list(names)
    nodes: dict[str, nir.NIRNode] = {p.name: _neurons(p, dt) for p in network.populations}
    nodes |= {readout.name: _integrators(readout, dt) for readout in network.readouts}
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
        nodes[name] = nir.Output({"output": np.array([sizes[end]])})
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


def _integrators(readout: event.Readout, dt: float) -> nir.CubaLI:
    parameters, every = readout.parameters, np.ones(readout.size)
    if parameters.v_leak:
        raise ConversionError(
            readout.name,
            f"starts at {parameters.v_leak:g}, which NIR cannot say: its readers start at 0",
            "Write dataclasses.replace(parameters, v_leak=0.0), and add it to what is read.",
        )
    return nir.CubaLI(
        tau_mem=every * parameters.tau_mem,
        tau_syn=every * parameters.tau_syn,
        r=every,
        v_leak=every * 0,
        w_in=every * parameters.tau_syn / dt,
    )
