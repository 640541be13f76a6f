"""``crossvalidate_events``: a network of events beside the same network in ever shorter time steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np

from snnax import checks, event
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.event.arguments import seconds
from snnax.event.layers.base import EventModule
from snnax.event.spike_trains import given_inputs
from snnax.interop import conventions
from snnax.interop.crossvalidation import FlaxSide
from snnax.interop.event_bounds import step_bounds
from snnax.interop.event_voltages import Voltages, compared, exact_voltages
from snnax.interop.nir.assembling import node_name
from snnax.interop.nir.entries import FILE_OR_GRAPH
from snnax.interop.nir.events import events_to_nir
from snnax.interop.nir.files import read_nir
from snnax.interop.nir.graph import flatten
from snnax.interop.nir.importing import from_nir
from snnax.interop.nir.readings import Reading
from snnax.interop.simulator import ReferenceSide
from snnax.interop.trace import NodeTrace, Side

__all__ = ["EventReport", "Steps", "Voltages", "crossvalidate_events"]

SECOND_ORDER = 2.0
"""A spike may be off by so many times its bound, which is of first order in the step."""


_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Steps:
    """One population of one engine in steps of one length, beside the exact spikes.

    Attributes:
        engine: ``"dense"`` (snnax's, in time steps) or ``"referee"`` (NIR's equations in float64 NumPy).
        dt: length of a step, in seconds.
        population: its name.
        spikes: how many the engine found.
        differ: neurons, over all samples, whose number of spikes is not that of the exact run.
        mean_error: of the times of spikes of the other neurons, in seconds.
        max_error: the largest of these.
        unexplained: spikes that the step does not explain: given the very spikes that the engine sent to this
            population, the exact spike is further away than the step may move it, or is not there.
    """

    engine: str
    dt: float
    population: str
    spikes: int
    differ: int
    mean_error: float
    max_error: float
    unexplained: int


@dataclass(frozen=True)
class EventReport:
    """What :func:`crossvalidate_events` returns.

    Attributes:
        rows: :class:`Steps` of each engine, step and population.
        order: by engine, the order of convergence: the slope of the logarithm of the mean error over that of the step.
        voltages: :class:`Voltages` of each engine, step and readout.
    """

    rows: tuple[Steps, ...]
    order: dict[str, float]
    voltages: tuple[Voltages, ...] = ()

    @property
    def finest(self) -> tuple[Steps, ...]:
        """Rows of the shortest step."""
        dt = min(row.dt for row in self.rows)
        return tuple(row for row in self.rows if row.dt == dt)

    @property
    def unexplained(self) -> int:
        """Spikes, and voltages of readouts, of the shortest step that it does not explain."""
        finest = self.finest
        of_voltages = sum(row.unexplained for row in self.voltages if row.dt == finest[0].dt)
        return sum(row.unexplained for row in finest) + of_voltages

    @property
    def agree(self) -> bool:
        """Whether with the shortest step every engine has as many spikes, and explains these and what is read."""
        return not self.unexplained and not any(row.differ for row in self.finest)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        rows, voltages = ([asdict(row) for row in part] for part in (self.rows, self.voltages))
        return {"agree": self.agree, "order": self.order, "rows": rows, "voltages": voltages}

    def __str__(self) -> str:
        """A table, and the verdict."""
        head = f"{'engine':8} {'dt (s)':>9} {'population':14} {'spikes':>7} {'differ':>7} {'mean (s)':>9}"
        lines = [f"{head} {'max (s)':>9} unexplained"]
        lines += [
            f"{r.engine:8} {r.dt:9.2e} {r.population:14} {r.spikes:7} {r.differ:7} {r.mean_error:9.2e} "
            f"{r.max_error:9.2e} {r.unexplained:11}"
            for r in self.rows
        ]
        if self.voltages:
            lines.append(f"{'engine':8} {'dt (s)':>9} {'readout':14} {'mean':>9} {'max':>9} unexplained")
        lines += [
            f"{r.engine:8} {r.dt:9.2e} {r.readout:14} {r.mean_error:9.2e} {r.max_error:9.2e} {r.unexplained:11}"
            for r in self.voltages
        ]
        lines += [f"order of convergence, {engine}: {order:.2f}" for engine, order in self.order.items()]
        verdict = "agree" if self.agree else "do NOT agree"
        return "\n".join([*lines, f"With the shortest step events and steps {verdict}."])


def crossvalidate_events(
    a: Any,
    inputs: event.Trains | Mapping[str, event.Trains],
    b: Any = None,
    *,
    t_max: float,
    steps: Sequence[float] | None = None,
    max_spikes: int = 16,
    dt: float | None = None,
) -> EventReport:
    """Run a network of events, and the same network in ever shorter time steps; say whether they compute the same.

    Both sides run in float64. Spikes are compared end to end, which shows the order of convergence, and layer by
    layer: the exact engine gets the very spikes that the steps sent to a population, and each spike must lie where
    the step may move it (``snnax.interop.event_bounds``, of first order, twice of it is allowed). Voltages of
    readouts are compared at the ends of steps, and must be exactly what the spikes make that were sent to them.

    In steps, neurons that fire once (``refractory=math.inf``) are reset so far down that they do not come back.

    Args:
        a: :class:`snnax.event.Network`, or ``(model, variables)`` of :class:`snnax.event.Sequential` or ``Graph``.
        inputs: :class:`snnax.event.Trains` of its one input, ``times[B, N, K]``; of several, by name. In steps several
            are one, side by side in the order of ``a.inputs``: so has ``b`` to take them.
        b: what runs in steps: a NIR graph or the path of a file, or ``(model, variables)`` of a dense model that is
            one; ``None`` for the graph of ``a``. Its neurons are found by the names of the populations of ``a``, or, if
            these are others, by their order.
        t_max: how long, in seconds.
        steps: lengths of the time step, in seconds, each a part of ``t_max``; ``None``: 200, 400 and 800 steps.
        max_spikes: budget of each neuron; more are an error.
        dt: how long a spike lasts in the graph ``b``, if that does not say it.

    Returns:
        :class:`EventReport`: ``report.agree``, ``report.order``, ``print(report)``.

    Raises:
        ArgumentError: for other inputs than those of ``a``, steps that are no parts of ``t_max``, a budget that is
            spent.
        ConversionError: for what NIR cannot say, as a refractory time that ends.
        ShapeError: if the neurons, or the readouts, of both sides do not pair up.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event, interop
        >>> network = event.Network(
        ...     [event.Population("out", 2, event.LIFParameters())],
        ...     [event.Projection("in", "out", jnp.array([[6.0, 7.0]]))])
        >>> report = interop.crossvalidate_events(network, event.from_lists([[[1e-3, 6e-3]]]), t_max=0.03)
        >>> report.agree, 0.7 < report.order["dense"] < 1.3
        (True, True)
    """
    with jax.enable_x64(True):
        network, trains = _side_by_side(_network(a), inputs)
    horizon = seconds(t_max, "crossvalidate_events(t_max=...)")
    budget = int(checks.count()(max_spikes, "crossvalidate_events(max_spikes=...)"))
    lengths = _steps(steps, horizon)
    graph = _graph(network, b, dt, horizon)
    rows: list[Steps] = []
    voltages: list[Voltages] = []
    with jax.enable_x64(True):
        both = _Compared(_wide(network), graph, _wide(trains), horizon, budget)
        for length in lengths:
            for engine in ("dense", "referee"):
                of_spikes, of_voltages = both.rows(engine, _side(engine, graph, length), length)
                rows, voltages = rows + of_spikes, voltages + of_voltages
    order = {name: _order(rows, name) for name in ("dense", "referee")}
    return EventReport(tuple(rows), order, tuple(voltages))


# --- arguments ------------------------------------------------------------------------------------


def _network(a: Any) -> event.Network:
    if isinstance(a, tuple) and len(a) == 2 and isinstance(a[0], EventModule):
        a = event.as_network(*a)
    network: event.Network = checks.instance(
        event.Network, "an event.Network, or (model, variables) of an event.Sequential or event.Graph"
    )(a, "crossvalidate_events(a=...)")
    network.check_shapes()
    return network


def _side_by_side(network: event.Network, inputs: Any) -> tuple[event.Network, event.Trains]:
    """The network with all its inputs as one, and the trains of that."""
    what, names = "crossvalidate_events(inputs=...)", network.inputs
    if isinstance(inputs, event.Trains) and len(names) == 1:
        return network, given_inputs(inputs, what)
    if not isinstance(inputs, Mapping) or {*inputs} != {*names}:
        raise checks.refuse(
            what, inputs, f"spike trains of each of {list(names)}, as {{{names[0]!r}: trains}}"
        )
    parts = [given_inputs(inputs[name], f"crossvalidate_events(inputs[{name!r}]=...)") for name in names]
    for name, part in zip(names, parts, strict=True):
        if any(p.weights.shape[0] != part.times.shape[1] for p in network.projections if p.source == name):
            raise ShapeError(
                f"crossvalidate_events(inputs[{name!r}] of {part.times.shape[1]} neurons): expected as many as its "
                "projections have rows."
            )
    ends = np.cumsum([part.times.shape[1] for part in parts])
    rows = {
        name: slice(end - part.times.shape[1], end)
        for name, part, end in zip(names, parts, ends, strict=True)
    }
    joint = "+".join(names)
    projections = [
        _among(p, joint, rows[p.source], int(ends[-1])) if p.source in rows else p
        for p in network.projections
    ]
    return replace(network, projections=tuple(projections)), event.concatenated(*parts)


def _among(projection: event.Projection, source: str, rows: slice, size: int) -> event.Projection:
    """The same projection from some neurons of a larger source."""
    given, delay = np.asarray(projection.masked()), projection.delay
    weights = np.zeros((size, given.shape[1]), given.dtype)
    weights[rows] = given
    if delay is not None and np.ndim(delay):
        delays = np.zeros(size)
        delays[rows] = delay
        delay = jnp.asarray(delays)
    return event.Projection(source, projection.target, jnp.asarray(weights), delay)


def _steps(given: Any, t_max: float) -> tuple[float, ...]:
    if given is None:
        return tuple(t_max / number for number in (200, 400, 800))
    what = "crossvalidate_events(steps=...)"
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str) or not len(given):
        raise checks.refuse(what, given, "lengths of the time step in seconds, as (2e-4, 1e-4, 5e-5)")
    lengths = sorted((seconds(step, what) for step in given), reverse=True)
    for step in lengths:
        if t_max / step > _MOST_STEPS:
            raise checks.refuse(what, given, f"at most {_MOST_STEPS} steps up to t_max={t_max:g}")
        if step > t_max or abs(t_max / step - round(t_max / step)) > 1e-6:
            raise checks.refuse(what, given, f"parts of t_max={t_max:g}, as {t_max / 200:g}")
    return tuple(lengths)


def _graph(network: event.Network, b: Any, dt: float | None, t_max: float) -> nir.NIRGraph:
    """What runs in steps, with gains of 1: a spike adds its weight at the start of its step."""
    if b is None:
        again = replace(network, populations=tuple(_coming_back(p, t_max) for p in network.populations))
        ends = [*network.sizes, *(readout.name for readout in network.readouts)]
        return _impulses(events_to_nir(again, ends), conventions.DT)
    if isinstance(b, tuple) and len(b) == 2 and isinstance(b[0], nn.Module):
        from snnax.interop.nir.exporting import exported

        b = exported(*b)
    FILE_OR_GRAPH(b, "crossvalidate_events(b=...)")
    given = b if isinstance(b, nir.NIRGraph) else read_nir(b)
    step = flatten(given).content.get("dt") if dt is None else seconds(dt, "crossvalidate_events(dt=...)")
    if step is None:
        raise ArgumentError(
            "crossvalidate_events(b=...): the graph does not say how long a spike lasts; write dt=1e-4, the step that "
            "it was made for."
        )
    return _impulses(given, float(step))


_FAR = 1e6
"""A reset to so many thresholds below, at the end of the simulation, is one from which no neuron comes back."""


def _coming_back(population: event.Population, t_max: float) -> event.Population:
    """Neurons that fire once, as ones without a refractory time that do not come back before the end."""
    parameters = population.parameters
    if not parameters.fires_once:
        return population
    with np.errstate(over="ignore"):
        low = -_FAR * max(1.0, abs(parameters.u_threshold)) * float(np.exp(t_max / parameters.tau_mem))
    if not np.isfinite(low):
        raise ConversionError(
            population.name,
            f"fires once in t_max={t_max:g}, so long for tau_mem={parameters.tau_mem:g} that no reset keeps it silent",
            "Pass a shorter t_max.",
        )
    return replace(population, parameters=replace(parameters, refractory=0.0, v_reset=low))


def _impulses(graph: nir.NIRGraph, dt: float) -> nir.NIRGraph:
    flat = flatten(graph)
    nodes = dict(flat.nodes)
    for name, node in nodes.items():
        if isinstance(node, nir.CubaLIF | nir.CubaLI):
            spiking = ("v_threshold", "v_reset") if isinstance(node, nir.CubaLIF) else ()
            numbers = {key: getattr(node, key) for key in ("tau_mem", "tau_syn", "r", "v_leak", *spiking)}
            nodes[name] = type(node)(**numbers, w_in=conventions.gain(node.w_in, node.tau_syn, dt))
    for end in (*flat.inputs, *flat.outputs):
        nodes.setdefault(end, graph.nodes[end])
    return nir.NIRGraph(nodes, list(flat.edges), type_check=False)


def _side(engine: str, graph: nir.NIRGraph, dt: float) -> Side:
    reading = Reading(dt=dt, discretization="exact", w_in="decayed_impulse")
    if engine == "referee":
        return ReferenceSide(graph, reading)
    return FlaxSide(*from_nir(graph, preset=reading))


def _wide(tree: Any) -> Any:
    """Numbers in double precision."""
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, bool if np.asarray(leaf).dtype == bool else np.float64), tree
    )


def _order(rows: Sequence[Steps], engine: str) -> float:
    """The slope of a line through the logarithms; NaN without errors."""
    steps = sorted({row.dt for row in rows})
    mean = [
        float(np.mean([row.mean_error for row in rows if (row.engine, row.dt) == (engine, dt)]))
        for dt in steps
    ]
    if len(steps) < 2 or min(mean) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(steps), np.log(mean), 1)[0])


# --- comparing ------------------------------------------------------------------------------------


class _Compared:
    """The exact run of a network, and what lies beside it."""

    def __init__(
        self, network: event.Network, graph: nir.NIRGraph, inputs: event.Trains, t_max: float, budget: int
    ) -> None:
        (self.input,) = network.inputs
        self.read = {readout.name: readout.size for readout in network.readouts}
        self.called = {node_name(name): name for name in (*network.sizes, *self.read)}
        self.silent = {
            called
            for name, node in graph.nodes.items()
            if isinstance(node, nir.CubaLI | nir.LI)
            for called in (name, node_name(name))
        }
        self.network, self.inputs, self.t_max, self.budget = network, inputs, t_max, budget
        self.exact = event.simulate(network, {self.input: inputs}, t_max=t_max, max_spikes=budget).trains
        for name, trains in self.exact.items():
            self._check_budget(name, trains)
        self.together = {name: group for group in network.components() for name in group}

    def _check_budget(self, name: str, trains: event.Trains) -> None:
        if bool(jnp.any(trains.overflow)):
            raise ArgumentError(
                f"crossvalidate_events(max_spikes={self.budget}): neurons of {name!r} fire more often; pass "
                f"max_spikes={2 * self.budget}."
            )

    def rows(self, engine: str, side: Side, dt: float) -> tuple[list[Steps], list[Voltages]]:
        """All populations and readouts, run in steps."""
        raster = event.to_raster(self.inputs, dt, round(self.t_max / dt))
        ran = side.run(np.asarray(raster)).nodes
        spikes = self._named(
            {name: node.spk for name, node in ran.items() if name not in self.silent}, self.network.sizes
        )
        seen = {name: _starts(spk, dt) for name, spk in spikes.items()}
        sent = {**seen, self.input: _starts(np.asarray(raster), dt)}
        found = []
        for name, starts in seen.items():
            there = np.asarray(self.exact[name].times)
            count, errors = _apart(there, starts + dt)
            found.append(
                Steps(
                    engine=engine,
                    dt=dt,
                    population=name,
                    spikes=int(np.isfinite(starts).sum()),
                    differ=count,
                    mean_error=float(errors.mean()) if errors.size else 0.0,
                    max_error=float(errors.max(initial=0)),
                    unexplained=self._unexplained(name, starts + dt, sent, dt),
                )
            )
        return found, self._voltages(engine, ran, sent, dt)

    def _voltages(
        self, engine: str, ran: Mapping[str, NodeTrace], sent: Mapping[str, np.ndarray], dt: float
    ) -> list[Voltages]:
        if not self.read:
            return []
        seen = {name: node.states["mem"] for name, node in ran.items() if name in self.silent}
        times = dt * np.arange(1, 1 + round(self.t_max / dt))
        exact = exact_voltages(self.network, {**self.exact, self.input: self.inputs}, times)
        trains = {name: event.trains(starts) for name, starts in sent.items()}
        return compared(self.network, exact, self._named(seen, self.read), trains, engine=engine, dt=dt)

    def _named(self, spikes: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
        """What each of ``sizes`` did ``[T, B, N]``, by its name here."""
        names = [*sizes]
        spikes = {self.called.get(name, name): spk for name, spk in spikes.items()}
        if not {*names} <= {*spikes}:
            if len(spikes) != len(names):
                raise ShapeError(
                    f"crossvalidate_events(a, inputs, b): a has {names}, and b the neurons "
                    f"{[*spikes]}; expected as many, or the same names."
                )
            spikes = dict(zip(names, spikes.values(), strict=True))
        for name in names:
            if spikes[name].shape[2:] != (sizes[name],):
                raise ShapeError(
                    f"crossvalidate_events(a, inputs, b): {name!r} has {sizes[name]} neurons in a and "
                    f"{spikes[name].shape[2:]} in b."
                )
        return {name: spikes[name] for name in names}

    def _unexplained(self, name: str, seen: np.ndarray, sent: Mapping[str, np.ndarray], dt: float) -> int:
        """Spikes that are not where the step may put them, given all that was sent to their population."""
        projections = self.network.into([name])
        arriving, uncertain = [], []
        for p in projections:
            cyclic = p.source in self.together[name]  # in which it may arrive a step later
            trains = event.delayed(event.trains(sent[p.source] + dt * cyclic), p.delay)
            arriving.append(trains)
            late = cyclic or p.delay is not None  # a delay is a whole number of steps
            uncertain.append(np.full(trains.times.shape[1], dt * late))
        heard = event.concatenated(*arriving)
        weights = np.concatenate([np.asarray(p.masked()) for p in projections])
        (parameters,) = [p.parameters for p in self.network.populations if p.name == name]
        exact = event.lif_spikes(heard, weights, parameters, t_max=self.t_max, max_spikes=self.budget)
        self._check_budget(name, exact)
        times = np.asarray(exact.times)
        each = heard.times.shape[-1]
        bounds = step_bounds(
            np.asarray(heard.times).reshape(len(times), -1),
            np.repeat(np.concatenate(uncertain), each),
            np.repeat(weights, each, 0),
            times,
            parameters,
            dt,
        )
        seen, times = _widened(seen, times)
        bounds = np.pad(bounds, ((0, 0), (0, 0), (0, times.shape[-1] - bounds.shape[-1])))
        with np.errstate(invalid="ignore"):
            near = np.abs(seen - times) <= SECOND_ORDER * bounds + 8 * np.finfo(float).eps * self.t_max
            # A spike so close to the end may be after it in steps.
            cut = np.isinf(seen) & (times + SECOND_ORDER * bounds >= self.t_max)
        return int(np.sum(~near & ~cut & (np.isfinite(seen) | np.isfinite(times))))


def _starts(spikes: np.ndarray, dt: float) -> np.ndarray:
    """When the steps begin in which there is a spike, ``[B, N, K]`` of ``[T, B, N]``; as often as it counts."""
    counts = np.asarray(spikes).round().astype(int)
    most = max(1, int(counts.sum(0).max(initial=0)))
    found = np.full((*counts.shape[1:], most), np.inf)
    for b, n in np.ndindex(*counts.shape[1:]):
        steps = np.repeat(np.arange(len(counts)), counts[:, b, n])
        found[b, n, : len(steps)] = steps * dt
    return found


def _widened(*arrays: np.ndarray) -> list[np.ndarray]:
    """With the largest number of places, ``inf`` in the new ones."""
    most = max(array.shape[-1] for array in arrays)
    return [
        np.pad(array, ((0, 0), (0, 0), (0, most - array.shape[-1])), constant_values=np.inf)
        for array in arrays
    ]


def _apart(exact: np.ndarray, seen: np.ndarray) -> tuple[int, np.ndarray]:
    """How many neurons have another number of spikes, and by how much those of the others are apart."""
    exact, seen = _widened(exact, seen)
    same = np.isfinite(exact).sum(-1) == np.isfinite(seen).sum(-1)
    both = same[..., None] & np.isfinite(exact)
    return int((~same).sum()), np.abs(exact[both] - seen[both])
