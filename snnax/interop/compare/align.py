"""Which layer of one side is which of the other, before anything is compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop.trace import NodeTrace, Trace


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
