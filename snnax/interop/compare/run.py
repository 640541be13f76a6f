"""``compare``: run two sides, feed one with the other's spikes, judge each layer, look for causes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnax.errors import ArgumentError
from snnax.interop.compare.causes import diagnose
from snnax.interop.compare.entries import Cause, LayerReport, Picture
from snnax.interop.compare.evidence import Evidence, Judged
from snnax.interop.compare.gradients import compare_gradients
from snnax.interop.compare.outputs import compare_outputs
from snnax.interop.compare.report import Report
from snnax.interop.compare.wording import Finding, settle
from snnax.interop.trace import NodeTrace, Side

Array = np.ndarray


def compare(a: Side, b: Side, x: Array, *, gradients: bool = False) -> Report:
    """Compare two sides, end to end and layer by layer, and tell rounding from everything else.

    Args:
        a: the reference.
        b: the side that is compared with it.
        x: input ``[T, B, ...]`` as both sides take it.
        gradients: compare the gradients of the weights as well (``side.gradients(x)``).

    Sides may offer more than the protocol: ``spec(name)`` (a ``NeuronSpec``), ``magnitude(x, forced)``
    (for each layer ``(M, K)``: sum of the absolute values of the terms of each current, and their number),
    ``gradients(x)``.

    Returns:
        The report; ``report.agree`` is its verdict.

    Raises:
        ShapeError: if the recordings do not fit each other or ``x``.
        ConversionError: if the sides have other numbers of neuron layers, or none.
        ArgumentError: if ``x`` has no time axis and batch, or a side has no gradients to offer.
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
    pairs = compare_gradients(a, b, x, found.types) if gradients else ()
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
