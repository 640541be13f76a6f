"""Why a current differs although both sides were fed the same spikes: changes to the layers before, tried out.

A try predicts b's current, from a's recorded spikes and changed weights of a's, or from a's recorded current. It is
taken for the cause if no entry of the prediction misses what ``b`` recorded by more than :data:`SLACK` times the
largest rounding bound in the samples that are looked at, while a's own current misses it by more than twice that.
:data:`TRIES` lists them in their order; where none holds, the weights in which the two graphs differ are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.axes import flattenings, reordered, turned, with_permuted_columns
from snnax.interop.compare.evidence import Evidence
from snnax.interop.compare.report import Cause
from snnax.interop.compare.stages import Edit, Stages, edited

Array = np.ndarray
SLACK = 2.0
"""A prediction may miss by this many times the largest rounding bound of the layer; one of a gain above 1 by that times
the gain."""


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
        return stages if stages is not None and self._meets(self.a, self._computed(stages, Edit())) else None

    def predict(self, edit: Edit) -> Array | None:
        """The current under an edit, or ``None`` where it cannot be computed."""
        return None if self.stages is None else self._computed(self.stages, edit)

    def replaced(self, name: str, node: Any, **attributes: Any) -> Array | None:
        """The current under another version of one node."""
        return self.predict(Edit({name: edited(node, **attributes)}))

    def holds(self, prediction: Array | None, width: float = 1.0) -> bool:
        """Whether a prediction is what ``b`` recorded, and a's own current is clearly not."""
        allowed = width * self.tolerance
        return self._meets(self.b, prediction, width) and float(np.abs(self.a - self.b).max()) > 2 * allowed

    def _computed(self, stages: Stages, edit: Edit) -> Array | None:
        return stages.known(self.layer, self.b.shape, self.samples, edit)

    def _meets(self, recorded: Array, prediction: Array | None, width: float = 1.0) -> bool:
        allowed = width * self.tolerance
        return prediction is not None and bool((np.abs(prediction - recorded) <= allowed).all())

    @cached_property
    def nodes(self) -> dict[str, Any]:
        """Stateless nodes in front of the layer by name, the nearest first."""
        stages = self.found.stages
        try:
            names = [] if stages is None else stages.nodes(self.layer)
        except ConversionError:
            names = []
        return {name: stages.flat.nodes[name] for name in reversed(names)} if stages else {}

    @property
    def biased(self) -> dict[str, Any]:
        """Those of them that add a bias, without it."""
        given = {n: node for n, node in self.nodes.items() if getattr(node, "bias", None) is not None}
        return {n: edited(node, bias=np.zeros_like(np.asarray(node.bias))) for n, node in given.items()}

    def twin(self, name: str) -> Any:
        """The node of that name in b's graph, or ``None``."""
        graph = self.found.graphs[1]
        return None if graph is None else graph.nodes.get(name)


def current_causes(case: CurrentCase) -> tuple[Cause, ...]:
    """The first try that the recording bears out, else what the weights or the recording tell."""
    a, b = case.found.labels
    for label, values in ((b, case.b), (a, case.a)):
        wrong = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if wrong.any():
            text = (
                f"the current of {label} into {case.layer} is not finite from step {int(wrong.argmax())} on."
            )
            return (Cause("unknown", text),)
    for tries in TRIES:
        for kind, text, prediction, *width in tries(case):
            if case.holds(prediction, *width):
                return (Cause(kind, text.replace("{a}", a).replace("{b}", b)),)
    return (_weights_of_graphs(case) or _linear_in_spikes(case) or _unexplained(case),)


# --- The tries: kind of cause, words with {a} and {b} for the sides, the current that b would get, and perhaps by how
# many times the tolerance it may miss -----------------------------------------------------------------------------

Tries = Iterator[tuple[Any, ...]]


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
    for name, silent in case.biased.items():
        largest = np.abs(np.asarray(case.nodes[name].bias)).max(initial=0.0)
        if largest:
            text = f"{{b}} leaves out the bias of {name}, which is up to {largest:.4g} in {{a}}."
            yield "bias", text, case.predict(Edit({name: silent}))


def _scaled(case: CurrentCase) -> Tries:
    """b's current is a multiple of a's, as a whole or apart from the bias."""
    parts = [("", np.zeros_like(case.a))]
    linear = case.predict(Edit(case.biased)) if case.biased else None
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
    for name, node in case.nodes.items():
        for words, weight in turned(node):
            text = f"{{b}} uses the weights of {name} {words}."
            yield "transposed kernel", text, case.replaced(name, node, weight=weight)


def _axis_order(case: CurrentCase) -> Tries:
    """b flattens in another order, permutes columns, or has its currents in another order of axes."""
    stages = case.stages
    orders = () if stages is None else flattenings(stages, list(reversed(case.nodes)), case.layer)
    for name, words, places in orders:
        text = f"{{b}} reads the features of {name} in the order {words}, {{a}} in C, H, W."
        yield "axis order", text, _reread(case, name, places)
    for name, node in case.nodes.items():
        weight = with_permuted_columns(node, case.twin(name))
        if weight is not None:
            text = f"{{b}} has the input features of {name} in another order than {{a}}."
            yield "axis order", text, case.replaced(name, node, weight=weight)
    for words, prediction in reordered(case.a):
        text = f"the current of {case.layer} in {{b}} is that of {{a}} with its axes in the order {words}."
        yield "axis order", text, prediction


def _reread(case: CurrentCase, name: str, places: Array) -> Array | None:
    """The current if what enters ``name`` were taken from other places of the flat features."""
    node = case.nodes.get(name)
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
                yield "wiring", text, case.predict(Edit(sources={source: other}))
    for edge in stages.edges(case.layer):
        text = f"{case.layer} lacks in {{b}} what comes from {edge[0]} in {{a}}."
        yield "wiring", text, case.predict(Edit(without=frozenset([edge])))


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


TRIES: tuple[Callable[[CurrentCase], Tries], ...] = (
    _shifted,
    _missing_bias,
    _scaled,
    _kernel,
    _axis_order,
    _rewired,
    _offset,
)
"""In this order; the first one that holds is the cause."""


# --- Where none holds: what the two graphs, or the recording alone, say about the weights ----------


def _weights_of_graphs(case: CurrentCase) -> Cause | None:
    """The first weight, bias or scale in which the two graphs differ."""
    a, b = case.found.labels
    for name, node in case.nodes.items():
        for what in ("weight", "bias", "scale"):
            left, right = (getattr(each, what, None) for each in (node, case.twin(name)))
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
    return None


def _linear_in_spikes(case: CurrentCase) -> Cause | None:
    """Whether b's current is some linear function of what feeds one dense layer: then its weights differ."""
    if len(case.nodes) != 1:
        return None
    ((name, node),) = case.nodes.items()
    if case.stages is None or not isinstance(node, nir.Linear | nir.Affine):
        return None
    width = np.shape(node.weight)[1]
    identity = edited(case.biased.get(name, node), weight=np.eye(width))
    if name in case.biased:
        identity = edited(identity, bias=np.zeros(width))
    spikes = case.stages.known(case.layer, (*case.a.shape[:2], width), case.samples, Edit({name: identity}))
    if spikes is None:
        return None
    rows = np.concatenate([spikes.reshape(-1, width), np.ones((spikes.shape[0] * spikes.shape[1], 1))], 1)
    if len(rows) < 2 * rows.shape[1]:
        return None
    target = (case.b - case.a).reshape(len(rows), -1)
    weights, *_ = np.linalg.lstsq(rows, target, rcond=None)
    if np.abs(rows @ weights - target).max() > 2 * case.tolerance:
        return None
    a, b = case.found.labels
    return Cause(
        "weights",
        f"{b} multiplies the spikes into {case.layer} by other weights than {name} has in {a}; they differ by up "
        f"to {np.abs(weights[:-1]).max():.3g}.",
    )


def _unexplained(case: CurrentCase) -> Cause:
    a, b = case.found.labels
    return Cause(
        "weights",
        f"the current of {case.layer} in {b} differs from that of {a} by up to {np.abs(case.a - case.b).max():.3g}, "
        "which no bias, gain, order of axes or delay explains; a weight in front of it differs, or an operation that "
        "the graph does not show.",
        certain=False,
    )
