"""What the two graphs, or the recording alone, say about the weights in front of a current."""

from __future__ import annotations

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.current_case import CurrentCase, has_bias
from snnax.interop.compare.entries import Cause
from snnax.interop.compare.stages import Edit
from snnax.interop.compare.stateless import edited


def weight_cause(case: CurrentCase) -> Cause:
    """What the two graphs say about the stage, where no hypothesis holds."""
    a, b = case.found.labels
    gap = float(np.abs(case.a - case.b).max())
    for name, node in case.nodes():
        other = case.twin(name)
        for what in ("weight", "bias", "scale"):
            left, right = getattr(node, what, None), getattr(other, what, None)
            if left is None or right is None or np.array_equal(left, right):
                continue
            if np.shape(left) != np.shape(right):
                text = f"{what} of {name} has shape {np.shape(left)} in {a} and {np.shape(right)} in {b}."
            else:
                differ = np.abs(np.asarray(left, np.float64) - np.asarray(right, np.float64))
                at = tuple(int(i) for i in np.unravel_index(int(differ.argmax()), differ.shape))
                text = (
                    f"{what} of {name} differs in {int((differ > 0).sum())} of {differ.size} entries, most "
                    f"at {at}: {np.asarray(left)[at]:.6g} ({a}) against {np.asarray(right)[at]:.6g} ({b})."
                )
            return Cause("bias" if what == "bias" else "weights", text)
    where = _linear_in_spikes(case)
    if where is not None:
        return where
    return Cause(
        "weights",
        f"the current of {case.layer} in {b} differs from that of {a} by up to {gap:.3g}, which no bias, "
        "gain, order of axes or delay explains; a weight in front of it differs, or an operation that the "
        "graph does not show.",
        certain=False,
    )


def _linear_in_spikes(case: CurrentCase) -> Cause | None:
    """Whether b's current is some linear function of what feeds one dense layer: then its weights differ."""
    nodes = case.nodes()
    if case.stages is None or len(nodes) != 1 or not isinstance(nodes[0][1], nir.Linear | nir.Affine):
        return None
    name, node = nodes[0]
    identity = edited(node, weight=np.eye(np.shape(node.weight)[1]))
    if has_bias(node):
        identity = edited(identity, bias=np.zeros(np.shape(node.weight)[1]))
    try:
        spikes = case.stages.current(case.layer, case.samples, Edit({name: identity}))
    except (ConversionError, ValueError, IndexError):
        return None
    rows = np.concatenate(
        [spikes.reshape(-1, spikes.shape[-1]), np.ones((spikes.shape[0] * spikes.shape[1], 1))], 1
    )
    if len(rows) < 2 * rows.shape[1]:
        return None
    target = (case.b - case.a).reshape(len(rows), -1)
    weights, *_ = np.linalg.lstsq(rows, target, rcond=None)
    if np.abs(rows @ weights - target).max() > 2 * case.tolerance:
        return None
    differ = np.abs(weights[:-1])
    return Cause(
        "weights",
        f"{case.found.labels[1]} multiplies the spikes into {case.layer} by other weights than {name} has in "
        f"{case.found.labels[0]}; they differ by up to {differ.max():.3g}.",
    )
