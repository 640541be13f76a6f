"""Recurrent currents that a defect would make of a layer's recorded spikes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.entries import Cause
from snnax.interop.compare.evidence import Evidence
from snnax.interop.compare.stages import looped_nodes, recurrent_current, recurrent_nodes
from snnax.interop.compare.stateless import edited

Array = np.ndarray


def feedback_of(found: Evidence, name: str, samples: Array) -> tuple[Array | None, Array | float]:
    """a's recurrent current of a layer in some samples ``[T, b, ...]``, and its rounding bound."""
    low, high = int(samples.min()), int(samples.max()) + 1
    bound = found.bounds.of(name, slice(low, high), found.specs[name][0])
    shape = found.a.nodes[name].spk[:, low:high].shape
    feedback = None if bound.feedback is None else bound.feedback[:, samples - low]
    return feedback, np.broadcast_to(bound.feedback_bound, shape)[:, samples - low]


def alternatives(found: Evidence, name: str, spk: Array) -> Iterator[tuple[Cause, Array]]:
    """Causes, each with the recurrent current ``[T, b, ...]`` that it makes of a's spikes."""
    a, b = found.labels
    nodes = recurrent_nodes(found.stages, name, found.specs[name][0])
    if len(nodes) != 1:
        return
    (node,) = nodes
    try:
        given = recurrent_current(nodes, spk)
        bias = getattr(node, "bias", None)
        weight = np.asarray(getattr(node, "weight", np.zeros(0)))
        if bias is not None and np.any(bias):
            silent = recurrent_current([edited(node, bias=np.zeros_like(bias))], spk)
            text = f"{b} leaves out the recurrent bias of {name}, which {a} adds at"
            yield Cause("recurrent bias", f"{text} each step."), silent
            yield (
                Cause("recurrent bias", f"{text} the first step, too."),
                np.concatenate([silent[:1], given[1:]]),
            )
        if weight.ndim == 2:
            twin = recurrent_current([edited(node, weight=weight.T)], spk)
            text = f"{b} uses the recurrent weights of {name} with inputs and outputs swapped."
            yield Cause("weights", text), twin
        yield Cause("weights", f"{b} leaves out the recurrent weights of {name}."), np.zeros_like(given)
        late = np.concatenate([given[:1], given[:-1]])
        yield Cause("delay", f"{b} feeds the spikes of {name} back a step later than {a}."), late
        theirs = looped_nodes(found.graph_b, found.names[name])
        if theirs:
            text = f"the recurrent weights of {name} in {b} are not those in {a}."
            yield Cause("weights", text), recurrent_current(theirs, spk)
    except (ConversionError, ValueError, IndexError):
        return
