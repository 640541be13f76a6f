"""Why a current differs although both sides were fed the same spikes: hypotheses tried out on the recording.

A hypothesis predicts b's current from a's recorded spikes and a's weights. It is taken for the cause if the
prediction meets what ``b`` recorded to within a few times the rounding bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.evidence import Evidence
from snnax.interop.compare.report import Cause
from snnax.interop.compare.stages import Edit, Stages
from snnax.interop.compare.stages import edited as edited
from snnax.interop.nir.extension import Extension

# --- Other orders of axes and other orientations of kernels, to try out on a recorded current -----

Array = np.ndarray
_LETTERS = {2: ("C", "L"), 3: ("C", "H", "W")}


def turned(node: Any) -> Iterator[tuple[str, Array]]:
    """A node's weights transposed, flipped or turned, where the shape stays the same."""
    weight = getattr(node, "weight", None)
    if weight is None:
        return
    weight = np.asarray(weight)
    if weight.ndim == 3:
        yield "flipped in time, as a convolution instead of a correlation", weight[..., ::-1]
    if weight.ndim == 4:
        if weight.shape[2] == weight.shape[3]:
            yield "with height and width swapped", weight.swapaxes(2, 3)
            yield "turned by 90 degrees", np.rot90(weight, 1, (2, 3))
            yield "turned by 270 degrees", np.rot90(weight, 3, (2, 3))
            yield "transposed along the other diagonal", weight.swapaxes(2, 3)[..., ::-1, ::-1]
        yield "flipped in both directions, as a convolution instead of a correlation", weight[..., ::-1, ::-1]
        yield "flipped top to bottom", weight[..., ::-1, :]
        yield "flipped left to right", weight[..., ::-1]
    if weight.shape[0] == weight.shape[1] > 1:
        yield "with inputs and outputs swapped", weight.swapaxes(0, 1)
        if weight.ndim == 4 and weight.shape[2] == weight.shape[3]:
            yield "with inputs and outputs, height and width swapped", weight.transpose(1, 0, 3, 2)


def flattenings(stages: Stages | None, layer: str) -> Iterator[tuple[str, str, Array]]:
    """Each flattening of an image in a layer's stage, done in another order of axes or undone in one.

    Yields:
        Name of the node that takes the flat features, the order in letters, and for each feature the place in
        C, H, W order from which it then comes.
    """
    for name in _stage(stages, layer):
        if stages is None or (shape := _image_into(stages.flat.nodes[name])) is None:
            continue
        after = next((t for s, t in stages.flat.edges if s == name), name)
        while isinstance(node := stages.flat.nodes.get(after), Extension) and node.op == "Dropout":
            after = next((t for s, t in stages.flat.edges if s == after), layer)
        index = np.arange(int(np.prod(shape))).reshape(shape)
        for order in permutations(range(len(shape))):
            words = ", ".join(_LETTERS[len(shape)][i] for i in order)
            there = index.transpose(order).ravel()
            for places in (there, np.argsort(there)):
                if not np.array_equal(places, index.ravel()):
                    yield after, words, places


def _stage(stages: Stages | None, layer: str) -> list[str]:
    try:
        return [] if stages is None else stages.nodes(layer)
    except ConversionError:
        return []


def _image_into(node: nir.NIRNode) -> tuple[int, ...] | None:
    """Shape of one sample that a node flattens; ``None`` if it does not."""
    given = (node.input_type or {}).get("input")
    flat = isinstance(node, nir.Flatten)
    if isinstance(node, Extension) and node.op == "Reshape":
        flat = len(node.options["shape"]) == 1
    if not flat or given is None:
        return None
    shape = tuple(int(n) for n in np.ravel(given))
    return shape if len(shape) in _LETTERS else None


def with_permuted_columns(node: Any, other: Any) -> Array | None:
    """The weights of ``node`` with their columns in the order in which ``other`` has the same columns."""
    left, right = getattr(node, "weight", None), getattr(other, "weight", None)
    if left is None or right is None or np.shape(left) != np.shape(right) or np.ndim(left) != 2:
        return None
    left, right = np.asarray(left), np.asarray(right)
    order_l, order_r = np.lexsort(left), np.lexsort(right)
    if np.array_equal(left, right) or not np.array_equal(left[:, order_l], right[:, order_r]):
        return None
    columns = np.empty_like(order_l)
    columns[order_r] = order_l
    return left[:, columns]


def reordered(current: Array) -> Iterator[tuple[str, Array]]:
    """A current ``[T, b, C, ...]`` whose sample axes were taken in another order and read as before."""
    shape = current.shape[2:]
    if len(shape) not in _LETTERS:
        return
    for order in permutations(range(len(shape))):
        if order == tuple(range(len(shape))):
            continue
        words = ", ".join(_LETTERS[len(shape)][i] for i in order)
        yield words, current.transpose(0, 1, *(i + 2 for i in order)).reshape(current.shape)


# --- A current that differs, and predictions of it to compare with the recording ------------------

SLACK = 2.0
"""A prediction may miss by this many times the largest rounding bound of the layer."""


@dataclass(frozen=True)
class CurrentCase:
    """A current that differs.

    Attributes:
        layer: the layer, or output, that it enters.
        found: all recordings.
        samples: which samples of the batch are looked at.
        a: current of the reference ``[T, b, ...]``.
        b: current of the other side.
        bound: their rounding bound.
    """

    layer: str
    found: Evidence
    samples: Array
    a: Array
    b: Array
    bound: Array

    @cached_property
    def tolerance(self) -> float:
        """How far a prediction may miss."""
        return SLACK * float(self.bound.max(initial=0.0))

    @cached_property
    def stages(self) -> Stages | None:
        """a's stages, if they reproduce the current that a recorded."""
        stages = self.found.stages
        return stages if stages is not None and self._meets(self.a, self.predict(stages, Edit())) else None

    def predict(self, stages: Stages | None, edit: Edit) -> Array | None:
        """The current under an edit, or ``None`` where it cannot be computed."""
        if stages is None:
            return None
        try:
            current = stages.current(self.layer, self.samples, edit)
        except (ConversionError, ValueError, IndexError, KeyError):
            return None
        return current if current.shape == self.b.shape else None

    def meets(self, prediction: Array | None, width: float = 1.0) -> bool:
        """Whether a prediction is what ``b`` recorded, and a's own current is clearly not."""
        allowed = width * self.tolerance
        return self._meets(self.b, prediction, width) and float(np.abs(self.a - self.b).max()) > 2 * allowed

    def _meets(self, recorded: Array, prediction: Array | None, width: float = 1.0) -> bool:
        allowed = width * self.tolerance
        return prediction is not None and bool((np.abs(prediction - recorded) <= allowed).all())

    def replaced(self, name: str, node: Any, **attributes: Any) -> Array | None:
        """The current under another version of one node."""
        return self.predict(self.stages, Edit({name: edited(node, **attributes)}))

    def nodes(self) -> list[tuple[str, Any]]:
        """Stateless nodes of the stage, the one nearest to the layer first."""
        stages = self.found.stages
        if stages is None:
            return []
        try:
            return [(name, stages.flat.nodes[name]) for name in reversed(stages.nodes(self.layer))]
        except ConversionError:
            return []

    def twin(self, name: str) -> Any:
        """The node of that name in b's graph, or ``None``."""
        graph = self.found.graph_b
        return None if graph is None else graph.nodes.get(name)


def has_bias(node: Any) -> bool:
    """Whether a node adds a bias."""
    return getattr(node, "bias", None) is not None


# --- What the two graphs, or the recording alone, say about the weights in front of a current -----


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


def current_causes(case: CurrentCase) -> tuple[Cause, ...]:
    """The first hypothesis that the recording bears out, else what the weights or the recording tell."""
    for label, values in zip(case.found.labels[::-1], (case.b, case.a), strict=True):
        wrong = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if wrong.any():
            text = (
                f"the current of {label} into {case.layer} is not finite from step {int(wrong.argmax())} on."
            )
            return (Cause("unknown", text),)
    for tries in (_shifted, _missing_bias, _scaled, _kernel, _axis_order, _rewired, _offset):
        for kind, text, prediction, *width in tries(case):
            if case.meets(prediction, *width):
                a, b = case.found.labels
                return (Cause(kind, text.replace("{a}", a).replace("{b}", b)),)
    return (weight_cause(case),)


Tries = Iterator[tuple[Any, ...]]
"""Kind of cause, words with ``{a}`` and ``{b}`` for the sides, the predicted current, and perhaps by how many times the
tolerance it may miss."""


def _shifted(case: CurrentCase) -> Tries:
    """b's current is a's, one or two steps late or early; at the steps that have no other it is its own."""
    for n, word in ((1, "late"), (1, "early"), (2, "late"), (2, "early")):
        if len(case.a) > n + 1:
            late = np.concatenate([case.b[:n], case.a[:-n]])
            moved = late if word == "late" else np.concatenate([case.a[n:], case.b[-n:]])
            text = f"the current of {case.layer} in {{b}} is that of {{a}}, {n} step{'s' * (n > 1)} {word}."
            yield "delay", text, moved


def _missing_bias(case: CurrentCase) -> Tries:
    """b's current is a's without one of its biases."""
    for name, node in case.nodes():
        bias = np.asarray(getattr(node, "bias", 0.0) if has_bias(node) else 0.0)
        if bias.any():
            text = f"{{b}} leaves out the bias of {name}, which is up to {np.abs(bias).max():.4g} in {{a}}."
            yield "bias", text, case.replaced(name, node, bias=np.zeros_like(bias))


def _offset(case: CurrentCase) -> Tries:
    """b's current is a's plus something that is the same at all steps and in all samples."""
    gap = case.b - case.a
    if gap.shape[0] * gap.shape[1] < 3 or np.abs(case.a - case.a[:1, :1]).max() <= case.tolerance:
        return
    constant = gap.mean((0, 1), keepdims=True)
    text = (
        f"the current of {case.layer} in {{b}} is that of {{a}} plus a constant of up to "
        f"{np.abs(constant).max():.4g} for each neuron; a bias differs."
    )
    yield "bias", text, case.a + constant


def _scaled(case: CurrentCase) -> Tries:
    """b's current is a multiple of a's, as a whole or apart from the bias."""
    silent = {
        n: edited(node, bias=np.zeros_like(np.asarray(node.bias)))
        for n, node in case.nodes()
        if has_bias(node)
    }
    parts = [("", np.zeros_like(case.a))]
    linear = case.predict(case.stages, Edit(silent)) if silent else None
    if linear is not None:
        parts.append((", apart from the bias,", case.a - linear))
    for words, rest in parts:
        left, right = case.a - rest, case.b - rest
        power = float((left * left).sum())
        factor = float((left * right).sum()) / power if power else 1.0
        if abs(factor - 1) > 1e-6:
            text = f"the current of {case.layer} in {{b}}{words} is {factor:.6g} times that of {{a}}."
            yield "gain", text, factor * left + rest, max(1.0, abs(factor))


def _kernel(case: CurrentCase) -> Tries:
    """b uses a kernel of a's that was turned or transposed."""
    for name, node in case.nodes():
        for words, weight in turned(node):
            text = f"{{b}} uses the weights of {name} {words}."
            yield "transposed kernel", text, case.replaced(name, node, weight=weight)


def _axis_order(case: CurrentCase) -> Tries:
    """b flattens in another order, permutes columns, or has its currents in another order of axes."""
    for name, words, places in flattenings(case.stages, case.layer):
        text = f"{{b}} reads the features of {name} in the order {words}, {{a}} in C, H, W."
        yield "axis order", text, _reread(case, name, places)
    for name, node in case.nodes():
        weight = with_permuted_columns(node, case.twin(name))
        if weight is not None:
            text = f"{{b}} has the input features of {name} in another order than {{a}}."
            yield "axis order", text, case.replaced(name, node, weight=weight)
    for words, prediction in reordered(case.a):
        text = f"the current of {case.layer} in {{b}} is that of {{a}} with its axes in the order {words}."
        yield "axis order", text, prediction


def _reread(case: CurrentCase, name: str, places: Array) -> Array | None:
    """The current if what enters ``name`` were taken from other places of the flat features."""
    node = None if case.stages is None else case.stages.flat.nodes.get(name)
    if isinstance(node, nir.Linear | nir.Affine) and np.shape(node.weight)[1] == len(places):
        return case.replaced(name, node, weight=np.asarray(node.weight)[:, places])
    return case.a[..., places] if case.a.shape[2:] == (len(places),) else None


def _rewired(case: CurrentCase) -> Tries:
    """b's layer is fed by other layers than a's, or not by all of them."""
    for name, node in case.found.a.nodes.items():
        if name != case.layer and node.input.shape[2:] == case.a.shape[2:]:
            current = node.input[:, case.samples].astype(np.float64)
            yield "wiring", f"{case.layer} gets in {{b}} the current that {name} gets in {{a}}.", current
    stages = case.stages
    if stages is None:
        return
    for source in stages.sources(case.layer):
        for other in (*stages.order, *stages.flat.inputs):
            if other != source:
                text = f"{case.layer} is fed in {{b}} by {other} where {{a}} feeds it by {source}."
                yield "wiring", text, case.predict(stages, Edit(sources={source: other}))
    for edge in stages.edges(case.layer):
        text = f"{case.layer} lacks in {{b}} what comes from {edge[0]} in {{a}}."
        yield "wiring", text, case.predict(stages, Edit(without=frozenset([edge])))
