"""``compare``: run two sides, feed one with the other's spikes, judge each layer, look for causes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnax.errors import ArgumentError, ShapeError
from snnax.interop.compare.bounds import current_bound, unit_roundoff
from snnax.interop.compare.causes import diagnose
from snnax.interop.compare.current_causes import CurrentCase, current_causes
from snnax.interop.compare.differences import Finding, settle
from snnax.interop.compare.evidence import Evidence, Judged
from snnax.interop.compare.provenance import digests, versions
from snnax.interop.compare.report import (
    Cause,
    Divergence,
    GradientReport,
    LayerReport,
    Numbers,
    Picture,
    Report,
)
from snnax.interop.compare.steps import earliest
from snnax.interop.conventions import without_ones
from snnax.interop.trace import NodeTrace, Side, Trace

# --- Weight gradients of both sides, weight by weight ---------------------------------------------

TOLERANCE = 1e-4
"""Largest relative difference in float32."""
SILENT = 16
"""A gradient that is zero in exact numbers may come out as this many unit roundoffs times the largest gradient."""


def tolerance(dtypes: tuple[np.dtype, np.dtype]) -> float:
    """:data:`TOLERANCE`, smaller in float64 and larger in half precision as the unit roundoff is."""
    u = max(unit_roundoff(dtype) for dtype in dtypes)
    return float(np.clip(TOLERANCE * u / 2.0**-24, 1e-10, 0.1))


def compare_gradients(
    a: Side, b: Side, x: np.ndarray, dtypes: tuple[np.dtype, np.dtype]
) -> tuple[GradientReport, ...]:
    """Largest difference of each weight's gradient, relative to the largest entry of a's.

    A gradient that is zero in exact numbers, as that of a bias in front of a softmax, is rounding on both sides. Where
    no entry of either side exceeds :data:`SILENT` unit roundoffs times the largest finite gradient of ``a``, the
    difference is divided by that largest gradient.

    Raises:
        ArgumentError: if a side offers no gradients, or another set of weights.
        ShapeError: if two gradients have other shapes.
    """
    ga, gb = _gradients(a, x), _gradients(b, x)
    if set(ga) != set(gb):
        odd = sorted(set(ga) ^ set(gb))
        raise ArgumentError(
            f"gradients=True: only one side has gradients of {odd}; {a.label} has {sorted(ga)}, "
            f"{b.label} {sorted(gb)}. "
            "Make the same weights trainable on both sides."
        )
    limit, reports = tolerance(dtypes), []
    finite = (np.abs(gradient[np.isfinite(gradient)]) for gradient in ga.values())
    largest = max((float(sizes.max(initial=0.0)) for sizes in finite), default=0.0)
    rounding = SILENT * largest * max(unit_roundoff(dtype) for dtype in dtypes)
    for name, left in ga.items():
        left, right = without_ones(left), without_ones(gb[name])
        if left.shape != right.shape:
            raise ShapeError(
                f"gradient of {name!r}: shape {left.shape} in {a.label}, {right.shape} in {b.label}; "
                "expected the same."
            )
        size = float(np.abs(left).max(initial=0.0))
        gap = float(np.abs(left - right).max(initial=0.0))
        if max(size, float(np.abs(right).max(initial=0.0))) <= rounding:
            size = largest
        relative = gap / size if size > 0 else (0.0 if gap == 0 else np.inf)
        reports.append(GradientReport(name, float(relative), bool(relative <= limit)))
    return tuple(reports)


def _gradients(side: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    ask = getattr(side, "gradients", None)
    if not callable(ask):
        raise ArgumentError(
            f"gradients=True, but {side.label} offers no gradients. Compare spikes alone "
            "(gradients=False), or "
            "pass sides that can be trained: a torch module and (model, variables)."
        )
    return {name: np.asarray(gradient, np.float64) for name, gradient in ask(x).items()}


# --- What the networks return: a recorded spike or state on both sides, or a readout that is compared itself

Array = np.ndarray
Port = tuple[str, str]
READOUT_TERMS = 1024
"""Fan-in assumed of a readout whose weights are not known."""


def compare_outputs(found: Evidence) -> tuple[list[LayerReport], list[str]]:
    """Reports of the outputs that disagree or that no neuron layer accounts for, and notes."""
    ours, theirs = found.a.outputs, found.b.outputs
    if len(ours) != len(theirs):
        a, b = found.labels
        return [], [
            f"{a} returns {len(ours)} arrays and {b} {len(theirs)}; they are not compared beyond "
            "their neurons"
        ]
    reports = []
    for i, (left, right) in enumerate(zip(ours, theirs, strict=True)):
        ports = _ports(found.a, left)
        if left.shape == right.shape and ports & _ports(found.b, right):
            continue
        if left.shape != right.shape or ports:
            reports.append(_miswired(found, i, ports))
        else:
            reports.append(_readout(found, i))
    return reports, []


def _ports(run: Trace, output: Array) -> set[Port]:
    """Recorded spikes and states that an output is equal to."""
    found = set()
    for name, node in run.nodes.items():
        for port, values in {"spk": node.spk, **node.states}.items():
            if values.shape == output.shape and np.array_equal(values, output, equal_nan=True):
                found.add((name, port))
    return found


def _miswired(found: Evidence, i: int, ports: set[Port]) -> LayerReport:
    """An output that is another signal on each side."""
    a, b = found.labels
    left, right = found.a.outputs[i], found.b.outputs[i]
    theirs = _ports(found.b, right) if left.shape == right.shape else set()
    say = [
        " and ".join(f"{n}.{p}" for n, p in sorted(ps)) or "none of its recorded signals"
        for ps in (ports, theirs)
    ]
    text = f"output {i} of {a} is {say[0]}, that of {b} is {say[1]}."
    if left.shape != right.shape:
        text = f"output {i} has shape {left.shape} in {a} and {right.shape} in {b}."
    none = Numbers(0, None, 0.0, None)
    return LayerReport(
        _name(found, i),
        "output",
        left.shape[2:],
        left.size,
        none,
        none,
        0,
        left.size,
        None,
        (Cause("wiring", text),),
    )


def _readout(found: Evidence, i: int) -> LayerReport:
    """An output computed from spikes by further layers: compared as a current, with a's spikes going in."""
    left, right, free = (t.outputs[i].astype(np.float64) for t in (found.a, found.replay, found.b))
    name = _name(found, i)
    types = [t.outputs[i].dtype for t in (found.a, found.replay)]
    us = [unit_roundoff(t if t.kind == "f" or t.kind == "V" else np.dtype(np.float32)) for t in types]
    us = [max(u, unit_roundoff(coarse)) for u, coarse in zip(us, found.coarsest, strict=True)]
    magnitude, terms, source = np.abs(left), float(READOUT_TERMS), "estimate"
    gap: Array | None = None
    if found.stages is not None:
        gap = found.stages.known(name, left.shape, mode="gap")
    if found.stages is None or gap is None:
        magnitude, gap = np.full_like(left, np.abs(left).max(initial=0.0) * np.sqrt(terms)), np.zeros(())
    else:
        computed = found.stages.current(name, mode="magnitude")
        magnitude, terms, source = np.maximum(computed, magnitude), found.stages.terms(name), "weights"
    bound = current_bound(magnitude, terms, (us[0], us[1])) + gap
    bad = ~(np.abs(left - right) <= bound)
    first = None
    if bad.any():
        at = tuple(int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))
        pair = (float(left[at]), float(right[at]))
        first = Divergence(at[0], at[1], at[2:], (0, 0), (None, None), pair, None, 0.0, float(bound[at]))
    causes: tuple[Cause, ...] = ()
    if bad.any():
        samples = earliest(bad, 4)
        case = CurrentCase(name, found, samples, left[:, samples], right[:, samples], bound[:, samples])
        causes = current_causes(case)
    gaps = [float(np.abs(left - other).max(initial=0.0)) for other in (free, right)]
    free_numbers, fed_numbers = Numbers(0, None, gaps[0], None), Numbers(0, None, gaps[1], first)
    return LayerReport(
        name=name,
        kind="output",
        shape=left.shape[2:],
        neuron_steps=left.size,
        end_to_end=free_numbers,
        layerwise=fed_numbers,
        explained=0,
        unexplained=int(bad.sum()),
        first=first,
        causes=causes,
        bound_source=source,
    )


def _name(found: Evidence, i: int) -> str:
    """Name of an output node, where the graph has as many as the network returns arrays."""
    names = [] if found.stages is None else found.stages.flat.outputs
    return names[i] if len(names) == len(found.a.outputs) else f"output {i}"


def compare(a: Side, b: Side, x: Array, *, gradients: bool = False) -> Report:
    """Compare two sides, end to end and layer by layer, and tell rounding from everything else.

    Args:
        a: the reference.
        b: the side that is compared with it.
        x: input ``[T, B, ...]`` as both sides take it.
        gradients: compare the gradients of the weights as well (``side.gradients(x)``).

    Sides may offer more than the protocol ``Side``:

    * ``spec(name)``: the neuron of a layer, a ``NeuronSpec`` or ``None``;
    * ``neuron(name)``: the flax neuron of a layer and its variables, or ``None``: by its equation a layer without spec
      is judged;
    * ``magnitude(x, forced)``: for each layer ``(M, K)``, the sum of the absolute values of the terms of each current
      ``[T, B, ...]``, and their number; without it both are computed from the graph, or estimated;
    * ``gradients(x)``: the gradient of each weight by name, needed for ``gradients=True``.

    ``graph()`` may raise ``NotImplementedError`` or an error of snnax's; then causes are looked for in the recordings
    alone, and a note says so.

    Returns:
        The report; ``report.agree`` is its verdict.

    Raises:
        ShapeError: if the recordings, or the gradients of a weight, do not fit each other, or the recordings ``x``.
        ConversionError: if the sides have different numbers of neuron layers, or none.
        ArgumentError: if ``x`` has no time axis and batch, or is empty; with ``gradients=True`` if a side offers no
            gradients, or the two sides offer those of different weights.
    """
    x = np.asarray(x)
    if x.ndim < 2 or 0 in x.shape:
        raise ArgumentError(
            f"x has shape {x.shape}; expected [T, B, ...] with at least one step and one sample."
        )
    with np.errstate(invalid="ignore", over="ignore"):
        return _compare(a, b, x, gradients)


def _compare(a: Side, b: Side, x: Array, gradients: bool) -> Report:
    found = Evidence.collect(a, b, x)
    forced = {name: Judged.of(found, name, found.replay, None) for name in found.a.nodes}
    findings = {n: diagnose(found, n, judged) for n, judged in forced.items() if judged.unexplained.any()}
    causes = settle(findings, found.labels)
    horizons = _horizons(found)
    layers = [
        _layer(found, name, judged, _free(found, name, judged, horizons[name]), causes.get(name, ()))
        for name, judged in forced.items()
    ]
    outputs, notes = compare_outputs(found)
    if any(layer.unexplained for layer in layers):
        layers = [replace(n, follows=not n.unexplained and n.end_to_end.spike_mismatches > 0) for n in layers]
    layers += outputs
    flips = sum(layer.end_to_end.spike_mismatches for layer in layers)
    pairs = compare_gradients(a, b, x, found.coarsest) if gradients else ()
    if pairs and flips:
        notes.append("spikes flipped end to end, so gradients need not agree; compare them in float64")
    return Report(
        labels=found.labels,
        dtype=" and ".join(dict.fromkeys(str(t) for t in found.types)),
        steps=len(x),
        layers=tuple(layers),
        gradients=pairs,
        gradients_judged=not flips,
        notes=(*found.notes, *notes),
        pictures=_pictures(found, layers),
        digests=digests([found.x], zip(found.labels, found.graphs, (found.a, found.b), strict=True)),
        versions=versions(),
    )


def _free(found: Evidence, name: str, forced: Judged, horizon: Array) -> Judged:
    """The verdict end to end; that of the replay where ``b`` did the very same without being fed."""
    left, right = found.b.nodes[name], found.replay.nodes[name]
    pairs = [(left.input, right.input), (left.spk, right.spk)]
    pairs += [(state, right.states[key]) for key, state in left.states.items() if key in right.states]
    if horizon.min() >= len(found.x) and all(np.array_equal(*pair) for pair in pairs):
        return forced
    return Judged.of(found, name, found.b, horizon)


def _horizons(found: Evidence) -> dict[str, Array]:
    """For each layer and sample, the first step that a flip elsewhere, or its own a step ago, may reach."""
    steps, order = len(found.x), list(found.a.nodes)
    first: dict[str, Array] = {}
    for name in order:
        differ = (
            (found.a.nodes[name].spk != found.b.nodes[name].spk).reshape(steps, found.x.shape[1], -1).any(-1)
        )
        first[name] = np.where(differ.any(0), differ.argmax(0), steps)
    return {
        name: np.minimum.reduce([first[o] + (order.index(o) >= order.index(name)) for o in order])
        for name in order
    }


def _layer(
    found: Evidence, name: str, forced: Judged, free: Judged, findings: tuple[Finding, ...]
) -> LayerReport:
    """One layer's entry; what parts end to end only is wiring, since the layer itself does as it should."""
    a, b = found.a.nodes[name], found.replay.nodes[name]
    judged, other = (forced, found.replay) if forced.unexplained.any() else (free, found.b)
    causes = tuple(finding.cause for finding in findings)
    if not forced.unexplained.any() and free.unexplained.any():
        causes = (_wiring(found, name),)
    return LayerReport(
        name=name,
        kind=a.kind,
        shape=a.spk.shape[2:],
        neuron_steps=a.spk.size,
        end_to_end=free.numbers(found, name, found.b),
        layerwise=forced.numbers(found, name, found.replay),
        explained=int(forced.explained.sum()),
        proved=int(forced.proved.sum()),
        unexplained=int(judged.unexplained.sum()),
        first=judged.divergence(found, name, other, judged.unexplained),
        causes=causes,
        bound_source=forced.bound_source,
        spikes=int(np.count_nonzero(a.spk)),
        notes=tuple(_notes(found, name, a, b, forced)),
    )


def _wiring(found: Evidence, name: str) -> Cause:
    a, b = found.labels
    return Cause(
        "wiring",
        f"given {a}'s spikes, {b}'s {name} does the same, but on its own it parts from {a} before any layer "
        f"that feeds it; {b} sends other signals there than its spikes, or starts from a state of an earlier "
        "run.",
        certain=False,
    )


def _notes(found: Evidence, name: str, a: NodeTrace, b: NodeTrace, judged: Judged) -> list[str]:
    notes = []
    for trace, label in ((a, found.labels[0]), (b, found.labels[1])):
        if not trace.states:
            notes.append(f"{label} recorded no membrane, so only spikes are compared")
    if judged.bound_source == "estimate":
        notes.append(
            "the weights in front of it are not known; its rounding bound is estimated from its currents"
        )
    if found.specs[name][0] is None:
        notes.append(f"the neuron's parameters are not known on the side of {found.labels[0]}")
    if not a.spk.any():
        notes.append("it never spiked on this input, so what it feeds is hardly tested")
    return notes


def _pictures(found: Evidence, layers: list[LayerReport]) -> tuple[Picture, ...]:
    """The sample in which the sides part first, or flip first, or the first one."""
    spots = [layer.first for layer in layers] + [layer.end_to_end.first for layer in layers]
    sample = next((spot.sample for spot in spots if spot is not None), 0)
    pictures = []
    for layer in layers:
        if layer.name not in found.a.nodes:
            continue
        a, b = found.a.nodes[layer.name], found.b.nodes[layer.name]
        spk_a, spk_b = _flat(a.spk, sample), _flat(b.spk, sample)
        differ = spk_a != spk_b
        first = None
        if differ.any():
            step, neuron = np.unravel_index(int(differ.argmax()), differ.shape)
            first = (int(step), int(neuron))
        elif layer.first is not None and layer.first.sample == sample:
            first = (layer.first.step, int(np.ravel_multi_index(layer.first.neuron, layer.shape)))
        shown = [t.states.get("mem") for t in (a, b)]
        mems = [_flat(m, sample) if m is not None and m.shape == a.spk.shape else None for m in shown]
        pictures.append(Picture(layer.name, spk_a, spk_b, mems[0], mems[1], first, layer.summary))
    return tuple(pictures)


def _flat(values: Array, sample: int) -> Array:
    return values[:, sample].reshape(len(values), -1).copy()
