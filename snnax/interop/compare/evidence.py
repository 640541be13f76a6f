"""The recordings that a comparison rests on, and each layer's verdict over the whole batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError, SnnaxError
from snnax.interop.compare.bounds import Bounds, coarsest_type, float_type, unit_roundoff
from snnax.interop.compare.cells import Cell
from snnax.interop.compare.equation import LEVEL, Equation, spec_of
from snnax.interop.compare.report import Divergence, Numbers
from snnax.interop.compare.stages import Stages
from snnax.interop.compare.verdict import Layer, judge
from snnax.interop.nir.graph import FlatGraph, flatten
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace, Side, Trace

# --- Which layer of one side is which of the other, before anything is compared -------------------


def pair_names(a: Trace, b: Trace, labels: tuple[str, str]) -> dict[str, str]:
    """Name in ``b`` of each layer of ``a``: the same name, or else the same place in the order of execution.

    Raises:
        ConversionError: if one side has more neuron layers than the other.
        ShapeError: if two layers that belong together have other shapes.
    """
    if set(a.nodes) == set(b.nodes):
        names = {name: name for name in a.nodes}
    elif len(a.nodes) == len(b.nodes):
        names = dict(zip(a.nodes, b.nodes, strict=True))
    else:
        extra = [n for n in (*a.nodes, *b.nodes) if (n in a.nodes) != (n in b.nodes)]
        raise ConversionError(
            extra[0],
            f"{labels[0]} has {len(a.nodes)} neuron layers {list(a.nodes)}, "
            f"{labels[1]} has {len(b.nodes)}: {list(b.nodes)}",
            "Compare two versions of one network: as converted by from_snntorch, to_snntorch or from_nir.",
        )
    for name, other in names.items():
        check_shapes(a.nodes[name], b.nodes[other], labels)
    return names


def check_shapes(a: NodeTrace, b: NodeTrace, labels: tuple[str, str]) -> None:
    """Refuse recordings that cannot be laid over each other.

    Raises:
        ShapeError: names the layer and both shapes.
    """
    arrays = [("spikes", a.spk, b.spk), ("currents", a.input, b.input)]
    arrays += [(s, a.states[s], b.states[s]) for s in a.states if s in b.states]
    for what, left, right in arrays:
        if np.shape(left) != np.shape(right):
            raise ShapeError(
                f"layer {a.name!r}: {what} of {labels[0]} have shape {np.shape(left)}, of {labels[1]} "
                f"{np.shape(right)}; expected the same [T, B, ...], images channels-first. "
                "Both sides must run the same input: crossvalidate(a, b, x) with x of shape [T, B, ...]."
            )


def renamed(trace: Trace, names: dict[str, str]) -> Trace:
    """``trace`` of side b under the names, and in the order, of side a."""
    return Trace(
        {name: replace(trace.nodes[other], name=name) for name, other in names.items()}, trace.outputs
    )


def check_length(trace: Trace, x: np.ndarray, label: str) -> None:
    """Refuse a run without neurons, or one that is shorter than its input.

    Raises:
        ConversionError: if there is no neuron layer.
        ShapeError: if a layer has not one entry for each step.
    """
    if not trace.nodes:
        raise ConversionError(
            label,
            "it has no neuron layer, so there are no spikes to compare",
            "Pass a network with spiking neurons.",
        )
    for name, node in trace.nodes.items():
        if len(node.spk) != len(x):
            raise ShapeError(
                f"layer {name!r} of {label} recorded {len(node.spk)} steps for an input x of shape "
                f"{np.shape(x)}; "
                "expected one per step, time first: x is [T, B, ...]."
            )


Array = np.ndarray
CHUNK = 1 << 19
"""Neuron-steps that are judged at a time."""


@dataclass(frozen=True)
class Evidence:
    """Runs of both sides, under the layer names of side a.

    Attributes:
        labels: names of the sides.
        sides: the sides.
        x: their input ``[T, B, ...]``.
        a: side a on its own.
        b: side b on its own.
        replay: side b with the spikes of ``a`` going into each layer.
        stages: the stages of a's graph on a's spikes; of b's where ``a`` has no graph; if there is one.
        graphs: each side's graph, if it has one.
        names: b's own name of each layer.
        specs: the neuron of each layer on both sides, where known.
        bounds: rounding bounds of the currents.
        notes: what is missing.
    """

    labels: tuple[str, str]
    sides: tuple[Any, Any]
    x: Array
    a: Trace
    b: Trace
    replay: Trace
    stages: Stages | None
    graphs: tuple[FlatGraph | None, FlatGraph | None]
    names: dict[str, str]
    specs: dict[str, tuple[NeuronSpec | None, NeuronSpec | None]]
    bounds: Bounds
    notes: tuple[str, ...] = ()

    @classmethod
    def collect(cls, a: Side, b: Side, x: Array) -> Evidence:
        """Run both sides, and b again on a's spikes."""
        labels = (a.label, b.label)
        run_a, run_b = a.run(x), b.run(x)
        check_length(run_a, x, a.label)
        check_length(run_b, x, b.label)
        names = pair_names(run_a, run_b, labels)
        replay = b.replay(x, {names[name]: node.spk for name, node in run_a.nodes.items()})
        run_b, replay = renamed(run_b, names), renamed(replay, names)
        notes: list[str] = []
        graphs = [_graph(side, notes) for side in (a, b)]
        graph = graphs[1] if graphs[0] is None and all(a == b for a, b in names.items()) else graphs[0]
        stages = None if graph is None else Stages(graph, run_a, x, replay)
        flat_a = None if stages is None or graphs[0] is None else stages.flat
        flat_b = None if graphs[1] is None else flatten(graphs[1])
        specs = {
            name: (
                spec_of(a, flat_a, name),
                spec_of(b, flat_b, other),
            )
            for name, other in names.items()
        }
        magnitudes = _magnitudes(a, x, run_a, {name: name for name in names})
        if not magnitudes and stages is None:
            magnitudes = _magnitudes(b, x, run_a, names)
        bounds = Bounds(run_a, replay, stages, magnitudes)
        return cls(
            labels,
            (a, b),
            x,
            run_a,
            run_b,
            replay,
            stages,
            (flat_a, flat_b),
            names,
            specs,
            bounds,
            tuple(notes),
        )

    @property
    def types(self) -> tuple[np.dtype, np.dtype]:
        """Precision of each side, by its first layer."""
        first = next(iter(self.a.nodes))
        return float_type(self.a.nodes[first]), float_type(self.replay.nodes[first])

    @property
    def coarsest(self) -> tuple[np.dtype, np.dtype]:
        """The least precise type that something of each side went through; float64 if it has no neurons."""
        kinds = [
            [np.dtype(np.float64), *map(coarsest_type, trace.nodes.values())]
            for trace in (self.a, self.replay)
        ]
        return max(kinds[0], key=unit_roundoff), max(kinds[1], key=unit_roundoff)

    def equation(self, name: str) -> Equation:
        """What a layer computes: by a's spec, else by the neuron itself of a side that is made of flax modules."""
        spec, trace = self.specs[name][0], self.a.nodes[name]
        if spec is not None and Cell.of(spec) is None:
            return Equation.of(spec)
        sides = zip(self.sides, (name, self.names[name]), strict=True)
        for side, own in () if spec is not None else sides:
            module, variables = (side.neuron(own) if hasattr(side, "neuron") else None) or (None, {})
            found = None if module is None else Equation.of_module(module, variables, trace.spk.shape[2:])
            if found is not None:
                return found
        return Equation(tuple(sorted(trace.states, key="mem".__eq__)) or ("mem",))


def _graph(side: Side, notes: list[str]) -> nir.NIRGraph | None:
    """The side's graph if it has one that can be read; what stands in the way goes to the notes."""
    try:
        graph = side.graph()
        flatten(graph)
    except (SnnaxError, NotImplementedError) as error:
        notes.append(f"{side.label} has no NIR graph, so causes are guessed from recordings alone ({error})")
        return None
    return graph


def _magnitudes(side: Any, x: Array, run: Trace, names: dict[str, str]) -> dict[str, tuple[Array, Any]]:
    """``side.magnitude`` by the layer names of side a, or nothing where the side does not offer it."""
    ask = getattr(side, "magnitude", None)
    if not callable(ask):
        return {}
    found = ask(x, {names[name]: node.spk for name, node in run.nodes.items()})
    return {name: found[other] for name, other in names.items() if other in found}


@dataclass(frozen=True)
class Judged:
    """Masks of a layer over the whole batch ``[T, B, ...]``, and what a report says about them."""

    mismatch: Array
    explained: Array
    proved: Array
    unexplained: Array
    bad_current: Array
    bad_start: Array
    at_tie: Array
    mem_bound: Array
    bound: Array
    bound_source: str
    max_mem_gap: float | None
    max_current_gap: float

    @classmethod
    def of(cls, found: Evidence, name: str, other: Trace, horizon: Array | None) -> Judged:
        """Judge ``other``'s recording of a layer against a's, a few samples at a time."""
        a, b, spec = found.a.nodes[name], other.nodes[name], found.specs[name][0]
        parts: list[Any] = []
        source, gaps = "weights", []
        equation, cell = found.equation(name), Cell.of(spec)
        for samples in _chunks(a.spk.shape):
            bound = found.bounds.of(name, samples, spec)
            source = bound.source
            left, right = (equation.levelled(cut(t, samples)) for t in (a, b))
            layer = Layer(
                left,
                right,
                equation,
                bound.current,
                rms=bound.rms,
                feedback=bound.feedback,
                feedback_bound=bound.feedback_bound,
                horizon=None if horizon is None else horizon[samples],
                cell=cell,
            )
            parts.append(judge(layer))
            gaps.append(
                (
                    _largest_gap(left.states.get("mem"), right.states.get("mem")),
                    _largest_gap(left.input, right.input),
                )
            )

        def joined(of: Any) -> Array:
            return np.concatenate([of(part) for part in parts], 1)

        shape = a.spk.shape
        masks = ("mismatch", "explained", "proved", "unexplained", "bad_current", "bad_start", "at_tie")
        mem_gaps = [gap for gap, _ in gaps if gap is not None]
        return cls(
            **{mask: joined(lambda part, mask=mask: getattr(part, mask)) for mask in masks},
            mem_bound=joined(lambda part: _small(part.mem_bound, part.mismatch.shape)),
            bound=joined(lambda part: _small(part.current_bound, part.mismatch.shape)).reshape(shape),
            bound_source=source,
            max_mem_gap=_largest(mem_gaps) if mem_gaps else None,
            max_current_gap=_largest([gap or 0.0 for _, gap in gaps]),
        )

    def numbers(self, found: Evidence, name: str, other: Trace) -> Numbers:
        """The numbers of a report; its place is the first spike that differs, else what is unexplained."""
        mask = self.mismatch if self.mismatch.any() else self.unexplained
        first = self.divergence(found, name, other, mask)
        return Numbers(int(self.mismatch.sum()), self.max_mem_gap, self.max_current_gap, first)

    def divergence(self, found: Evidence, name: str, other: Trace, mask: Array) -> Divergence | None:
        """The first entry of a mask: earliest step, then sample, then neuron."""
        if not mask.any():
            return None
        at = tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
        a, b, spec = found.a.nodes[name], other.nodes[name], found.specs[name][0]
        equation = found.equation(name)
        shown = [t.states.get("mem") for t in (a, b)]
        if equation.membrane == LEVEL:
            shown = [equation.levelled(t).states.get(LEVEL) for t in (a, b)]
        mems = [float(m[at]) if m is not None and m.shape == mask.shape else None for m in shown]
        threshold = None
        key = next((k for k in ("threshold", "v_threshold") if spec is not None and k in spec.values), None)
        limit = equation.threshold if spec is None else spec.values.get(key or "")
        if limit is not None:
            threshold = float(np.broadcast_to(limit, mask.shape[2:])[at[2:]])
        return Divergence(
            step=at[0],
            sample=at[1],
            neuron=at[2:],
            spk=(float(a.spk[at]), float(b.spk[at])),
            mem=(mems[0], mems[1]),
            current=(_at(a.input, at, mask.shape), _at(b.input, at, mask.shape)),
            threshold=threshold,
            bound=float(self.mem_bound[at]),
            current_bound=float(self.bound[at]),
        )


def cut(trace: NodeTrace, samples: Any) -> NodeTrace:
    """A recording of some samples."""
    states = {name: state[:, samples] for name, state in trace.states.items()}
    starts = {name: state[:, samples] for name, state in trace.starts.items()}
    told = None if trace.told is None else trace.told.of(samples)
    return replace(
        trace,
        input=trace.input[:, samples],
        spk=trace.spk[:, samples],
        states=states,
        starts=starts,
        told=told,
    )


def _chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the batch that hold about :data:`CHUNK` neuron-steps each."""
    each = max(int(np.prod(shape)) // max(shape[1], 1), 1)
    size = max(CHUNK // each, 1)
    yield from (slice(i, i + size) for i in range(0, shape[1], size))


def _at(values: Array, at: tuple[int, ...], shape: tuple[int, ...]) -> float:
    """An entry; of a layer whose input has another shape the largest one of that sample and step."""
    return float(values[at] if values.shape == shape else np.abs(values[at[:2]]).max(initial=0.0))


def _small(values: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(values, shape).astype(np.float32)


def _largest(gaps: list[float]) -> float:
    """The largest of some gaps, NaN if one of them is: of Python's ``max`` that depends on their order."""
    return float(np.max(gaps))


def _largest_gap(a: Array | None, b: Array | None) -> float | None:
    if a is None or b is None:
        return None
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))
