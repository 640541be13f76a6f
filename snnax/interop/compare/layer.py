"""Two recordings of one neuron layer, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnax.interop.compare.rounding import unit_roundoff
from snnax.interop.nodes.spec import NeuronSpec
from snnax.interop.trace import NodeTrace

Array = np.ndarray


@dataclass(frozen=True)
class Layer:
    """Two recordings of a neuron layer ``[T, b, ...]`` and what is known about it.

    Attributes:
        a: recording of the reference.
        b: recording that is judged.
        spec: the neuron of the reference, if known.
        bound: largest difference of two correct computations of each current.
        rms: largest root mean square of that difference at each neuron, or ``None``.
        feedback: recurrent current of the reference, if it has one.
        feedback_bound: largest difference of two correct computations of it.
        horizon: for each sample, the first step whose currents need not agree any more.
    """

    a: NodeTrace
    b: NodeTrace
    spec: NeuronSpec | None
    bound: Array
    rms: Array | None = None
    feedback: Array | None = None
    feedback_bound: Array | float = 0.0
    horizon: Array | None = None


def float_type(trace: NodeTrace) -> np.dtype:
    """Precision of a layer's states: that of its membrane, else of its current."""
    array = trace.states.get("mem", trace.input)
    return array.dtype if array.dtype.kind not in "biu" else np.dtype(np.float32)


def coarsest_type(trace: NodeTrace) -> np.dtype:
    """The least precise type that a layer's currents went through."""
    current = trace.input.dtype
    types = [float_type(trace), *([current] if current.kind not in "biu" else [])]
    return max(types, key=unit_roundoff)


@dataclass(frozen=True)
class Wide:
    """A recording in float64, which holds float32 and bfloat16 exactly."""

    input: Array
    spk: Array
    states: Mapping[str, Array]
    finite: Array

    @classmethod
    def of(cls, trace: NodeTrace) -> Wide:
        """Widen a recording."""
        current, spk = trace.input.astype(np.float64), trace.spk.astype(np.float64)
        states = {name: state.astype(np.float64) for name, state in trace.states.items()}
        finite = np.isfinite(current) & np.isfinite(spk)
        for state in states.values():
            finite = finite & np.isfinite(state)
        return cls(current, spk, states, finite)
