"""The reference simulator: a NIR graph, step by step, in float64 NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from os import PathLike
from typing import Any

import nir
import numpy as np

from snnax.errors import (
    ArgumentError,
    ConversionError,
    GraphError,
    RepairWarning,
    ShapeError,
    SnnaxError,
    warn,
)
from snnax.interop import conventions
from snnax.interop.families.registry import kinds
from snnax.interop.layers.delays import DelayLine
from snnax.interop.layers.registry import UNFIT, Function, applied, evaluates, key_of, word
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.files import read_nir
from snnax.interop.nir.graph import Edge, FlatGraph, check, fires_ahead, flatten, keeps_state, loops
from snnax.interop.nir.readings import Reading
from snnax.interop.nir.readings import reading as read_as
from snnax.interop.simulator.equations import Array
from snnax.interop.simulator.neurons import NIR_NEURONS, NIRNeuron, Unit, described, nir_choices, nir_values
from snnax.interop.trace import NodeTrace, Trace

# --- The traces of a run, while it runs -----------------------------------------------------------


class Recorder:
    """The traces of a run, in arrays of their final size.

    Args:
        steps: T.
        names: the trace's name of each node with a neuron's state, in the order in which they compute.
    """

    def __init__(self, steps: int, names: dict[str, str]) -> None:
        self.steps, self.names = steps, names
        self.rows: dict[str, dict[str, Array]] = {name: {} for name in names}

    def write(self, t: int, name: str, current: Array, emitted: Array, unit: Unit) -> None:
        """One step of one layer."""
        for what, value in {"input": current, "spk": emitted, **unit.states}.items():
            if what not in self.rows[name]:
                self.rows[name][what] = np.zeros((self.steps, *value.shape))
            self.rows[name][what][t] = value

    def traces(self, units: Mapping[str, Unit]) -> dict[str, NodeTrace]:
        """By the trace's names."""
        found = {}
        for name, ours in self.names.items():
            rows = self.rows[name]
            states = {key: rows[key] for key in units[name].states}
            found[ours] = NodeTrace(ours, units[name].kind, rows["input"], rows["spk"], states)
        return found


# --- In which order the nodes of a graph compute within one step, and which edges carry the step before


@dataclass(frozen=True)
class Walk:
    """The order of a step.

    Attributes:
        order: names of the nodes, without Input and Output.
        sources: for each node and each Output its ``(source, late)`` in the order of the graph's edges, which
            is the order in which they are added up; a late source hands over what it computed a step before.
        audible: late sources that may hand over something in the first step too: what becomes of a neuron's
            silence on the way to here, as the bias of recurrent weights. On a way that branches, nothing.
        early: edges over which a neuron that fires by its membrane before the step hands its spikes of this step.
    """

    order: tuple[str, ...]
    sources: dict[str, tuple[tuple[str, bool], ...]]
    audible: frozenset[str]
    early: frozenset[Edge] = frozenset()

    @property
    def late(self) -> frozenset[str]:
        """Nodes whose output is needed a step later."""
        return frozenset(
            source
            for name, pairs in self.sources.items()
            for source, late in pairs
            if late and (source, name) not in self.early
        )

    @property
    def ahead(self) -> frozenset[str]:
        """Neurons whose spikes are needed before they compute."""
        return frozenset(source for source, _ in self.early)


def walk(graph: FlatGraph, pairs: Mapping[str, str] | None = None, same_step: bool = False) -> Walk:
    """Every node after all that feed it; an edge that closes a cycle is late by one step.

    The rule is that of :func:`snnax.network.topology.plan`. The graph is walked depth first from its Inputs,
    along the edges of each node, from the last to the first; an edge that leads back to a node on the path to
    here closes a cycle. So of ``input -> lif -> w_rec -> lif`` the edge ``w_rec -> lif`` is late, and the order
    of the nodes in a file does not matter. Where our metadata of the graph lists the late edges, those are late.

    Args:
        graph: the graph.
        pairs: weights of each recurrent neuron, which our metadata counts as a part of it.
        same_step: neurons are tested before they are charged, and their spikes go round cycles in that step.

    Raises:
        GraphError: for an Output that nothing feeds, nodes that no Input reaches, and cycles that are listed
            without a late edge.
    """
    edges, everywhere = set(graph.edges), [*sorted(graph.inputs), *graph.nodes]
    listed, early = graph.listed("late"), frozenset(graph.listed("early") or ())
    inside = {(w, n) for n, w in (pairs or {}).items() if (n, w) not in {*(listed or ()), *early}}
    if gone := [edge for edge in (*(listed or ()), *early) if edge not in edges]:
        raise GraphError(f"the graph's metadata lists the edge {gone[0]}, which it has not.")
    targets: dict[str, list[str]] = {name: [] for name in everywhere}
    for source, target in graph.edges:
        if target in graph.nodes and source in targets:
            targets[source].append(target)
    reached: dict[str, None] = {}
    closing: set[Edge] = set()
    for name in sorted(graph.inputs, reverse=True):
        _visit(name, targets, reached, closing)
    if missing := [name for name in graph.nodes if name not in reached]:
        raise GraphError(f"the input does not reach {missing}; connect them or take them out.")
    if same_step and listed is None and closing:
        early = _early(graph)
    done, audible = reached, frozenset(s for s, t in closing if _comes_from_a_neuron(s, t, graph))
    if listed is not None or early:
        cut = {*early, *(() if listed is None else {*listed, *inside})}
        left = {s: [t for t in to if (s, t) not in cut] for s, to in targets.items()}
        done, closing = {}, set()
        for name in (*sorted(graph.inputs, reverse=True), *graph.nodes):
            if name not in done:
                _visit(name, left, done, closing)
        if listed is not None and closing:
            raise GraphError(
                f"the graph's metadata leaves a cycle without delay; it closes with {min(closing)}."
            )
        if listed is not None:
            closing, audible = cut - early, frozenset(w for w, _ in inside)
    late = {*closing, *early}
    feeding: dict[str, list[tuple[str, bool]]] = {name: [] for name in (*graph.nodes, *graph.outputs)}
    for source, target in graph.edges:
        feeding[target].append((source, (source, target) in late))
    if silent := [name for name in graph.outputs if not feeding[name]]:
        raise GraphError(f"nothing feeds {silent}; give each of them an edge or take it out.")
    order = tuple(name for name in reversed(done) if name in graph.nodes)
    return Walk(order, {name: tuple(pairs) for name, pairs in feeding.items()}, audible, early)


def _early(graph: FlatGraph) -> frozenset[Edge]:
    """The edges over which spikes of a neuron set out on a way that leads back to it."""
    found: set[Edge] = set()
    for name, node in graph.nodes.items():
        if not fires_ahead(name, node):
            continue
        to: dict[str, None] = dict.fromkeys([name])
        waiting = [name]
        while waiting:  # backwards: all that leads here
            for before in graph.sources(waiting.pop()):
                if before in graph.nodes and before not in to:
                    to[before] = None
                    waiting.append(before)
        found.update((name, target) for target in graph.targets(name) if target in to)
    return frozenset(found)


def layer_names(graph: FlatGraph, pairs: Mapping[str, str]) -> dict[str, str]:
    """Name of each node in a trace: ``x`` for ``x.lif`` of a pair, its own where another node has that one."""
    names = {name: name for name in graph.nodes}
    for name in pairs:
        short = name.removesuffix(".lif")
        if short and short not in names.values():
            names[name] = short
    return names


def _comes_from_a_neuron(source: str, target: str, graph: FlatGraph) -> bool:
    """Whether one path alone leads from a node with a state to the edge that closes a cycle, and nowhere else."""
    while not keeps_state(graph.nodes[source]):
        feeding = graph.sources(source)
        if len(feeding) != 1 or graph.targets(source) != [target] or feeding[0] not in graph.nodes:
            return False
        source, target = feeding[0], source
    return True


def _visit(
    start: str, targets: dict[str, list[str]], done: dict[str, None], closing: set[tuple[str, str]]
) -> None:
    """Everything that is reached from ``start``, finished nodes going to ``done``; without recursion."""
    path = {start: reversed(targets[start])}
    while path:
        name = next(reversed(path))
        for target in path[name]:
            if target in path:
                closing.add((name, target))
            elif target not in done:
                path[target] = reversed(targets[target])
                break
        else:
            del path[name]
            done[name] = None


Forced = Mapping[str, Array]


def simulate(
    graph: nir.NIRGraph | str | PathLike[str],
    x: Any,
    *,
    reading: Reading | None = None,
    dt: float | None = None,
    preset: str | None = None,
    **choices: Any,
) -> Trace:
    """Run a NIR graph by its equations, in float64 NumPy, without JAX and without any neuron of snnax.

    This is the neutral referee: the code follows the specification of NIR and shares nothing with the
    simulation that it judges. Each node computes once in each step, after all that feed it; an edge that
    closes a cycle carries the step before (see ``walk`` in this file); what meets at a
    node is added up in the order of the edges. All states start from 0. Nodes with our metadata compute what
    it says.

    Args:
        graph: a graph in memory, nested or not, or the path of a ``.nir`` file.
        x: input ``[T, B, ...]``, channels first; for several Input nodes a dict of such arrays by their names.
        reading: what NIR leaves open; see :class:`~snnax.interop.nir.readings.Reading`.
        dt: time step in seconds. ``None``: what the graph's metadata says, else 1e-4.
        preset: name of a framework whose reading to take, as ``"norse"``.
        **choices: single choices of the reading, as ``reset="subtract"``.

    Returns:
        A :class:`~snnax.interop.Trace`: for each layer of neurons, by name and in the order in which they
        compute, its input, what it emitted, and its states ``syn`` and ``mem`` after each step; and one array
        for each Output in the graph's order. A neuron and its recurrent weights, ``x.lif`` and ``x.w_rec``,
        are called ``x``, and its input leaves its own spikes out. Of neurons that do not fire ``spk`` is the
        membrane.

    Raises:
        NIRFileError: for a file or graph that is damaged or holds numbers that are not finite.
        GraphError: for edges that lead nowhere and nodes that no input reaches.
        ConversionError: for an extension node that NumPy code is lacking for; names it.
        ShapeError: where shapes do not meet, or ``x`` does not fit.
        ArgumentError: for an unknown choice.

    Example:
        >>> import nir, numpy as np
        >>> from snnax.interop import simulator
        >>> one = np.ones(1)
        >>> graph = nir.NIRGraph.from_list(
        ...     nir.LIF(tau=one * 2e-4, r=one, v_leak=one * 0, v_threshold=one * 0.7, v_reset=one * -0.5))
        >>> trace = simulator.simulate(graph, np.ones((4, 1, 1)))
        >>> trace.nodes["lif"].spk.ravel().tolist(), trace.nodes["lif"].states["mem"].ravel().tolist()
        ([0.0, 1.0, 0.0, 0.0], [0.5, -0.5, 0.25, 0.625])
    """
    if reading is not None and preset is not None:
        raise ArgumentError(f"reading={reading!r} and preset={preset!r}; expected one of them.")
    simulation = Simulation(graph, read_as(preset if reading is None else reading, dt=dt, **choices))
    for note in simulation.flat.notes:
        warn(RepairWarning(note))
    return simulation.run(x)


class Simulation:
    """A graph ready to run.

    Args:
        graph: as for :func:`simulate`.
        reading: how to read it.
        pairs: weights of each neuron that makes one layer with them, by the neuron's name; ``None``: all pairs of
            a spiking neuron and weights that join nothing but that neuron with itself.
        names: names in a trace that differ from the nodes' own; ``None``: ``x`` for ``x.lif`` of a pair, where no
            other node is called so.
        factors: what to multiply the resistance of a node with, by its name.

    Attributes:
        flat: the graph without nesting.
        dt: time step in seconds.
        pairs: see above.
        names: name of each node in a trace.
    """

    def __init__(
        self,
        graph: nir.NIRGraph | str | PathLike[str],
        reading: Reading,
        pairs: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
        factors: Mapping[str, Array] | None = None,
    ) -> None:
        given = graph if isinstance(graph, nir.NIRGraph) else read_nir(graph)
        self.graph, self.reading = given, reading
        self.flat: FlatGraph = flatten(given)
        check(self.flat)
        self.dt = float(reading.dt or self.flat.content.get("dt", conventions.DT))
        if not self.dt > 0:
            raise ConversionError(
                "graph", f"its dt is {self.dt!r}", "Pass the time step in seconds, as dt=1e-4."
            )
        self.pairs = loops(self.flat) if pairs is None else dict(pairs)
        self.walk = walk(self.flat, loops(self.flat), reading.feedback == "same_step")
        self.names = (
            layer_names(self.flat, self.pairs)
            if names is None
            else {n: names.get(n, n) for n in self.flat.nodes}
        )
        self.factors = dict(factors or {})
        self._parts()

    def run(self, x: Any, forced: Forced | None = None) -> Trace:
        """All steps of ``x`` from zero.

        Args:
            x: as for :func:`simulate`.
            forced: what a layer emits instead of its own spikes ``[T, B, ...]``, by its name in the trace; a layer that
                does not fire hands it over instead of its membrane.
        """
        inputs = self._inputs(x)
        steps = len(next(iter(inputs.values())))
        units, layers = self._parts()
        recorder = Recorder(steps, {name: self.names[name] for name in self.walk.order if name in units})
        silent = self._silence(inputs, units, layers)
        late = {name: silent[name] for name in self._audible(units)}
        outputs: list[list[Array]] = []
        for t in range(steps):
            ahead = {n: self._pending(n, t, units[n], silent[n], forced) for n in self.walk.ahead}
            values = {name: given[t] for name, given in inputs.items()}
            for name in self.walk.order:
                current = self._sum(name, values, late, ahead)
                if name in units:
                    feedback = self._feedback(name, values, late, ahead)
                    emitted = units[name].step(current, feedback)
                    recorder.write(t, name, current, emitted, units[name])
                    dictated = (forced or {}).get(self.names[name])
                    values[name] = emitted if dictated is None else np.asarray(dictated[t], np.float64)
                elif self._is_state(name):
                    values[name] = self._state(name, units)
                else:
                    values[name] = applied(name, layers[name], current)
            outputs.append(self._results(values, late, units))
            late = {name: values[name] for name in self.walk.late}
        return Trace(recorder.traces(units), tuple(np.stack(column) for column in zip(*outputs, strict=True)))

    @property
    def layers(self) -> list[str]:
        """Names in a trace of the layers of neurons, in the order in which they compute."""
        units = self._parts()[0]
        return [self.names[name] for name in self.walk.order if name in units]

    def _parts(self) -> tuple[dict[str, Unit], dict[str, Function]]:
        """Each node ready to compute: those with a neuron's state, and the others."""
        units: dict[str, Unit] = {}
        layers: dict[str, Function] = {}
        for name, node in self.flat.nodes.items():
            try:
                if (unit := self._unit(name, node)) is not None:
                    units[name] = unit
                elif not self._is_state(name):
                    layers[name] = self._layer(name, node)
            except UNFIT as error:
                if isinstance(error, SnnaxError):
                    raise
                raise ConversionError(
                    name,
                    f"its parameters do not make a {type(node).__name__} ({error})",
                    "Correct the graph.",
                ) from error
        return units, layers

    def _layer(self, name: str, node: nir.NIRNode) -> Function:
        """The function of a node without a neuron, from one step's input to its output."""
        if isinstance(node, nir.Delay):
            return DelayLine(name, node, self.reading, self.dt)
        maker = evaluates.of(node)
        if maker is None:
            raise ConversionError(
                name, f"the reference simulator has no {word(key_of(node))}",
                f"Beside neurons and Delay it computes {', '.join(evaluates.words())}.",
            )  # fmt: skip
        return maker(name, node, np.float64)

    def _unit(self, name: str, node: nir.NIRNode) -> Unit | None:
        known = described(name, node, self.dt)
        if known is not None or not isinstance(node, NIR_NEURONS):
            return known
        values = nir_values(name, node, self.reading)
        values["r"] = values["r"] * self.factors.get(name, 1.0)
        return NIRNeuron(name, type(node).__name__, values, nir_choices(self.reading, self.dt))

    def _inputs(self, x: Any) -> dict[str, Array]:
        """``x`` by the names of the Inputs, checked, and late by the reading's delay."""
        given = x if isinstance(x, Mapping) else self._parted(x)
        if set(given) != set(self.flat.inputs):
            raise ArgumentError(
                f"x has input for {sorted(given)}, the graph's Inputs are {sorted(self.flat.inputs)}; expected a dict "
                "with one array [T, B, ...] for each of them."
            )
        arrays = {name: np.asarray(given[name], np.float64) for name in self.flat.inputs}
        for name, array in arrays.items():
            shape = self.flat.inputs[name]
            if array.ndim < 2 or array.shape[2:] != shape or not len(array):
                sizes = ", ".join(map(str, shape))
                raise ShapeError(
                    f"x has shape {array.shape} for the Input {name!r}; expected [T, B, {sizes}], T >= 1."
                )
        if len({array.shape[:2] for array in arrays.values()}) > 1:
            sizes = ", ".join(f"{name!r} {array.shape[:2]}" for name, array in arrays.items())
            raise ShapeError(f"the inputs have other numbers of steps and samples: {sizes}.")
        late = self.reading.input_delay
        return {n: np.concatenate([np.zeros_like(a[:late]), a])[: len(a)] for n, a in arrays.items()}

    def _parted(self, x: Any) -> dict[str, Array]:
        """One array for several Inputs: side by side, flattened, in the order of their names."""
        shapes, x = self.flat.inputs, np.asarray(x)
        if len(shapes) == 1:
            return dict.fromkeys(shapes, x)
        sizes = [prod(shapes[name]) for name in sorted(shapes)]
        if x.ndim != 3 or x.shape[2] != sum(sizes):
            raise ShapeError(
                f"x has shape {x.shape}; expected a dict with one array for each of {sorted(shapes)}, or all of them "
                f"flattened side by side, [T, B, {sum(sizes)}]."
            )
        parts = np.split(x, np.cumsum(sizes)[:-1], axis=2)
        return {
            n: part.reshape(*x.shape[:2], *shapes[n]) for n, part in zip(sorted(shapes), parts, strict=True)
        }

    def _audible(self, units: dict[str, Unit]) -> set[str]:
        """Late sources that hand something over in the first step: what becomes of silence, as a bias."""
        joined = kinds(is_joined=True)
        wanted = {self.pairs[n] for n, unit in units.items() if unit.kind in joined}
        always = self.flat.content.get("delay_spikes", self.reading.recurrent_bias == "always")
        if self.flat.listed("late") is not None or always:
            wanted |= self.walk.audible
        return wanted & self.walk.late

    def _silence(
        self, inputs: dict[str, Array], units: dict[str, Unit], layers: dict[str, Function]
    ) -> dict[str, Array]:
        """What each node makes of silence, if that is needed."""
        if not self._audible(units) and not self.walk.ahead:
            return {}
        values = {name: np.zeros(given.shape[1:]) for name, given in inputs.items()}
        waiting = list(self.walk.order)
        while waiting:  # a node behind a delay may come first, and its shape last
            later = []
            for name in waiting:
                if not any(source in values for source, _ in self.walk.sources[name]):
                    later.append(name)
                    continue
                current = self._sum(name, values, values, values)
                silent = name in units or self._is_state(name) or isinstance(layers[name], DelayLine)
                values[name] = np.zeros_like(current) if silent else applied(name, layers[name], current)
            if len(later) == len(waiting):
                raise ShapeError(
                    f"the shape of {later[0]!r} cannot be told: all that feeds it comes from a cycle."
                )
            waiting = later
        return values

    def _pending(self, name: str, t: int, unit: Unit, silent: Array, forced: Forced | None) -> Array:
        """The spikes of the step to come, of a neuron that is tested before it is charged."""
        dictated = (forced or {}).get(self.names[name])
        if not isinstance(unit, NIRNeuron):
            raise ConversionError(
                name, "its spikes are to go round a cycle in the step that fires them, but follow from its input",
                "Remove the key 'snnax' from the graph's metadata, or read it with feedback='next_step'.",
            )  # fmt: skip
        return unit.pending(silent) if dictated is None else np.asarray(dictated[t], np.float64)

    def _sum(
        self,
        name: str,
        values: Mapping[str, Array],
        late: Mapping[str, Array],
        ahead: Mapping[str, Array] | None = None,
    ) -> Array:
        """What enters a node, in the order of the edges; of a recurrent neuron without its own spikes."""
        total: Array | None = None
        for source, delayed in self.walk.sources[name]:
            known = self._carried(source, name, delayed, values, late, ahead)
            if known is None or self.pairs.get(name) == source:
                continue
            if total is not None and total.shape != known.shape:
                raise ShapeError(
                    f"{name!r} adds up signals of shapes {total.shape[1:]} and {known.shape[1:]}, the latter "
                    f"from {source!r}; what meets at a node must have one shape."
                )
            total = known if total is None else total + known
        if total is None:  # a cycle alone feeds it, and has carried nothing yet
            raise ShapeError(f"the shape of {name!r} cannot be told: all that feeds it comes from a cycle.")
        return total

    def _carried(
        self,
        source: str,
        name: str,
        delayed: bool,
        values: Mapping[str, Array],
        late: Mapping[str, Array],
        ahead: Mapping[str, Array] | None,
    ) -> Array | None:
        """What comes along one edge in this step; ``None`` for nothing."""
        if (source, name) in self.walk.early:
            return (ahead or {}).get(source)
        return (late if delayed else values).get(source)

    def _feedback(
        self,
        name: str,
        values: Mapping[str, Array],
        late: Mapping[str, Array],
        ahead: Mapping[str, Array] | None = None,
    ) -> Array | None:
        for source, delayed in self.walk.sources[name]:
            if self.pairs.get(name) == source:
                return self._carried(source, name, delayed, values, late, ahead)
        return None

    def _is_state(self, name: str) -> bool:
        node = self.flat.nodes[name]
        return isinstance(node, Extension) and node.op == "State"

    def _state(self, name: str, units: Mapping[str, Unit]) -> Array:
        """A state of the neuron in front, which the network uses as a signal."""
        node: Any = self.flat.nodes[name]
        (source,) = self.flat.sources(name)
        return _port(source, units, str(node.options["state"]))

    def _results(
        self, values: dict[str, Array], late: Mapping[str, Array], units: dict[str, Unit]
    ) -> list[Array]:
        """What a step returns: what enters each Output, or what our metadata of the graph lists."""
        listed = self.flat.content.get("outputs")
        if listed is None:
            return [array for name in self.flat.outputs for array in self._result(name, values, late, units)]
        given = {ours: theirs for theirs, ours in self.names.items()}
        if unknown := [name for name, _ in listed if name not in given]:
            raise ConversionError(
                str(unknown[0]),
                "the graph's metadata returns it, but there is no such node",
                "Export it again.",
            )
        return [
            values[given[name]] if port == "out" else _port(given[name], units, str(port))
            for name, port in listed
        ]

    def _result(
        self, name: str, values: Mapping[str, Array], late: Mapping[str, Array], units: Mapping[str, Unit]
    ) -> list[Array]:
        """What enters an Output; of the one neuron in front of it its states too, if our metadata says so."""
        emitted = self._sum(name, values, late)
        sources = self.flat.sources(name)
        unit = units.get(sources[0]) if len(sources) == 1 else None
        return [emitted, *unit.states.values()] if unit is not None and unit.output else [emitted]


def _port(name: str, units: Mapping[str, Unit], state: str) -> Array:
    if name not in units or state not in units[name].states:
        raise ConversionError(name, f"it has no state {state!r}", "Read a state of a neuron, as 'mem'.")
    return units[name].states[state]
