"""Why a current differs although both sides were fed the same spikes: hypotheses tried out on the recording.

A hypothesis predicts b's current from a's recorded spikes and a's weights. It is taken for the cause if the
prediction meets what ``b`` recorded to within a few times the rounding bound.
"""

from __future__ import annotations

from collections.abc import Iterator

import nir
import numpy as np

from snnax.interop.compare import axes
from snnax.interop.compare.current_case import CurrentCase, has_bias
from snnax.interop.compare.entries import Cause
from snnax.interop.compare.stages import Edit, Stages
from snnax.interop.compare.weight_causes import weight_cause

Array = np.ndarray


def current_causes(case: CurrentCase) -> tuple[Cause, ...]:
    """The first hypothesis that the recording bears out, else what the weights or the recording tell."""
    a, b = case.found.labels
    if not np.isfinite(case.b).all() or not np.isfinite(case.a).all():
        side = b if not np.isfinite(case.b).all() else a
        values = case.b if side == b else case.a
        step = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1))[0])
        return (
            Cause("unknown", f"the current of {side} into {case.layer} is not finite from step {step} on."),
        )
    for hypothesis in (_shifted, _missing_bias, _scaled, _kernel, _axis_order, _rewired, _offset):
        cause = hypothesis(case)
        if cause is not None:
            return (cause,)
    return (weight_cause(case),)


def _shifted(case: CurrentCase) -> Cause | None:
    """b's current is a's, one or two steps late or early."""
    a, b = case.found.labels
    for shift in (1, -1, 2, -2):
        if len(case.a) <= abs(shift) + 1:
            continue
        late, early = (case.b, case.a) if shift > 0 else (case.a, case.b)
        n = abs(shift)
        gap = np.abs(late[n:] - early[:-n]).max()
        if gap <= case.tolerance and np.abs(case.a - case.b).max() > 2 * case.tolerance:
            word = "late" if shift > 0 else "early"
            return Cause(
                "delay", f"the current of {case.layer} in {b} is that of {a}, {n} step{'s' * (n > 1)} {word}."
            )
    return None


def _missing_bias(case: CurrentCase) -> Cause | None:
    """b's current is a's without one of its biases."""
    for name, node in case.nodes():
        bias = getattr(node, "bias", None)
        if bias is None or not np.any(bias):
            continue
        twin = axes.edited(node, bias=np.zeros_like(np.asarray(bias)))
        if case.meets(case.predict(case.stages, Edit({name: twin}))):
            a, b = case.found.labels
            return Cause(
                "bias", f"{b} leaves out the bias of {name}, which is up to {np.abs(bias).max():.4g} in {a}."
            )
    return None


def _offset(case: CurrentCase) -> Cause | None:
    """b's current is a's plus something that is the same at all steps and in all samples."""
    a, b = case.found.labels
    gap = case.b - case.a
    if gap.shape[0] * gap.shape[1] < 3 or np.abs(case.a - case.a[:1, :1]).max() <= case.tolerance:
        return None
    constant = gap.mean((0, 1), keepdims=True)
    if case.meets(case.a + constant):
        return Cause(
            "bias",
            f"the current of {case.layer} in {b} is that of {a} plus a constant of up to "
            f"{np.abs(constant).max():.4g} for each neuron; a bias differs.",
        )
    return None


def _scaled(case: CurrentCase) -> Cause | None:
    """b's current is a multiple of a's, as a whole or apart from the bias."""
    a, b = case.found.labels
    silent = {
        n: axes.edited(node, bias=np.zeros_like(np.asarray(node.bias)))
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
        wide = max(1.0, abs(factor)) * case.tolerance
        if (
            abs(factor - 1) > 1e-6
            and np.abs(factor * left - right).max() <= wide < np.abs(case.a - case.b).max() / 2
        ):
            return Cause(
                "gain", f"the current of {case.layer} in {b}{words} is {factor:.6g} times that of {a}."
            )
    return None


def _kernel(case: CurrentCase) -> Cause | None:
    """b uses a kernel of a's that was turned or transposed."""
    for name, node in case.nodes():
        for words, weight in axes.turned(node):
            if case.meets(case.predict(case.stages, Edit({name: axes.edited(node, weight=weight)}))):
                return Cause(
                    "transposed kernel", f"{case.found.labels[1]} uses the weights of {name} {words}."
                )
    return None


def _axis_order(case: CurrentCase) -> Cause | None:
    """b flattens in another order, permutes columns, or has its currents in another order of axes."""
    a, b = case.found.labels
    for name, words, places in axes.flattenings(case.stages, case.layer):
        if case.meets(_reread(case, name, places)):
            return Cause(
                "axis order", f"{b} reads the features of {name} in the order {words}, {a} in C, H, W."
            )
    for name, node in case.nodes():
        other = case.twin(name)
        weight = axes.with_permuted_columns(node, other)
        if weight is not None and case.meets(
            case.predict(case.stages, Edit({name: axes.edited(node, weight=weight)}))
        ):
            return Cause("axis order", f"{b} has the input features of {name} in another order than {a}.")
    for words, prediction in axes.reordered(case.a):
        if case.meets(prediction):
            return Cause(
                "axis order",
                f"the current of {case.layer} in {b} is that of {a} with its axes in the order {words}.",
            )
    return None


def _reread(case: CurrentCase, name: str, places: Array) -> Array | None:
    """The current if what enters ``name`` were taken from other places of the flat features."""
    node = None if case.stages is None else case.stages.flat.nodes.get(name)
    if isinstance(node, nir.Linear | nir.Affine) and np.shape(node.weight)[1] == len(places):
        weight = np.asarray(node.weight)[:, places]
        return case.predict(case.stages, Edit({name: axes.edited(node, weight=weight)}))
    return case.a[..., places] if case.a.shape[2:] == (len(places),) else None


def _rewired(case: CurrentCase) -> Cause | None:
    """b's layer is fed by other layers than a's, or not by all of them."""
    a, b = case.found.labels
    stages = case.stages
    for name, node in case.found.a.nodes.items():
        if name == case.layer or node.input.shape[2:] != case.a.shape[2:]:
            continue
        if case.meets(node.input[:, case.samples].astype(np.float64)):
            return Cause("wiring", f"{case.layer} gets in {b} the current that {name} gets in {a}.")
    if stages is None:
        return None
    for words, edit in _rewirings(stages, case.layer):
        if case.meets(case.predict(stages, edit)):
            return Cause("wiring", f"{case.layer} {words.format(a=a, b=b)}.")
    return None


def _rewirings(stages: Stages, layer: str) -> Iterator[tuple[str, Edit]]:
    """Other sources in place of each, and each branch of a sum left out."""
    names = [*stages.order, *stages.flat.inputs]
    for source in stages.sources(layer):
        for other in names:
            if other != source:
                yield (
                    f"is fed in {{b}} by {other} where {{a}} feeds it by {source}",
                    Edit(sources={source: other}),
                )
    for edge in stages.edges(layer):
        yield f"lacks in {{b}} what comes from {edge[0]} in {{a}}", Edit(without=frozenset([edge]))
