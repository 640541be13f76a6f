"""Layers with sizes of their own: what shape they make of a sample, in torch's axes.

Weights are by snnTorch's names and in torch's layout; :mod:`snnax.interop.nodes.cell_weights` turns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnax.errors import ShapeError
from snnax.interop.spec import NeuronSpec

Shape = tuple[int, ...]

_ENTRY = {
    "SLSTM": "input_size",
    "SConv2dLSTM": "in_channels",
    "StateLeaky": "channels",
    "LinearLeaky": "in_features",
    "LeakyParallel": "input_size",
    "AssociativeLeaky": "in_dim",
}


def shape_out(name: str, spec: NeuronSpec, shape: Shape) -> Shape:
    """Shape of one sample after the layer, channels first.

    Args:
        name: of the layer, for errors.
        spec: the layer.
        shape: shape of one sample that enters, channels first.

    Raises:
        ShapeError: if the layer does not take such samples.
    """
    if spec.kind not in _ENTRY:
        return shape
    wanted = int(spec.sizes[_ENTRY[spec.kind]])
    rank = 3 if spec.kind == "SConv2dLSTM" else 1
    if len(shape) != rank or shape[0] != wanted:
        axes = f"({wanted}, H, W)" if rank == 3 else f"({wanted},)"
        raise ShapeError(
            f"{name!r} ({spec.kind}) takes samples of shape {axes}, since its {_ENTRY[spec.kind]} is {wanted}; "
            f"what feeds it has shape {shape}."
        )
    return _after(spec.kind, spec.sizes, shape)


def _after(kind: str, sizes: Mapping[str, Any], shape: Shape) -> Shape:
    if kind == "SConv2dLSTM":
        window = np.broadcast_to(sizes["max_pool"] or sizes["avg_pool"] or 1, 2)
        return (int(sizes["out_channels"]), *(n // int(w) for n, w in zip(shape[1:], window, strict=True)))
    if kind == "LinearLeaky":
        return (int(sizes["out_features"]),)
    if kind in ("SLSTM", "LeakyParallel"):
        return (int(sizes["hidden_size"]),)
    if kind == "AssociativeLeaky":
        other = "d_value" if sizes["use_q_projection"] else "d_key"
        return (int(sizes["d_value"]) * int(sizes[other]),)
    return shape


def state_shape(spec: NeuronSpec, shape: Shape, after: Shape) -> Shape:
    """Shape of one sample's state: that of the output, unless the spikes are pooled or projected."""
    if spec.kind == "SConv2dLSTM":
        return (after[0], *shape[1:])
    if spec.kind == "AssociativeLeaky":
        return (int(spec.sizes["d_value"]) * int(spec.sizes["d_key"]),)
    return after
