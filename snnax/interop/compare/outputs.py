"""What the networks return: a recorded spike or state on both sides, or a readout that is compared itself."""

from __future__ import annotations

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.current_case import CurrentCase
from snnax.interop.compare.current_causes import current_causes
from snnax.interop.compare.entries import Cause, Divergence, LayerReport, Numbers
from snnax.interop.compare.evidence import Evidence
from snnax.interop.compare.rounding import current_bound, unit_roundoff
from snnax.interop.trace import Trace

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
    magnitude, terms, source = np.abs(left), float(READOUT_TERMS), "estimate"
    gap: Array | float = 0.0
    try:
        if found.stages is None:
            raise ConversionError(name, "there is no graph", "Its rounding error is estimated.")
        computed = found.stages.current(name, mode="magnitude")
        if computed.shape == left.shape:
            magnitude, terms, source = np.maximum(computed, magnitude), found.stages.terms(name), "weights"
            gap = found.stages.current(name, mode="gap")
    except (ConversionError, ValueError, IndexError):
        magnitude = np.full_like(left, np.abs(left).max(initial=0.0) * np.sqrt(terms))
    bound = current_bound(magnitude, terms, (us[0], us[1])) + gap
    bad = ~(np.abs(left - right) <= bound)
    first = None
    if bad.any():
        at = tuple(int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))
        pair = (float(left[at]), float(right[at]))
        first = Divergence(at[0], at[1], at[2:], (0, 0), (None, None), pair, None, 0.0, float(bound[at]))
    causes: tuple[Cause, ...] = ()
    if bad.any():
        samples = np.flatnonzero(bad.reshape(*bad.shape[:2], -1).any((0, 2)))[:4]
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
