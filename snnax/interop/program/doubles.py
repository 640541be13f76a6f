"""Differences in single precision that double precision does not have.

A neuron that a network computes by hand is known by its operations only, so that no bound says how far from its
threshold rounding may move its membrane. But a threshold that rounding alone has crossed is not crossed in float64:
where both sides agree there in all that they do, they compute the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from snnax.errors import SnnaxError
from snnax.interop.compare import Report
from snnax.interop.program.nodes import SURROGATE, Program

_JUMPS = frozenset({
    "gt", "ge", "lt", "le", "eq", "ne", "sign", "sgn", "heaviside", "round", "floor", "ceil", "trunc", "floor_divide",
    "argmax", "argmin", "topk", "sort", "argsort", "searchsorted", "bucketize", "logical_not", SURROGATE,
})  # fmt: skip
"""Operations that turn a difference of one rounding into one of any size."""


def jumps(program: Program) -> bool:
    """Whether it compares something with a threshold outside of its neurons."""
    return any(node.base in _JUMPS for node in program.nodes())


def settled(report: Report, program: Program, arguments: Any, again: Callable[[Any], Report]) -> Report:
    """The report, with what differs in single precision only as explained.

    Args:
        report: of a comparison.
        program: that both sides run.
        arguments: of their call.
        again: compares them on other arguments.
    """
    singles = [leaf for leaf in jax.tree.leaves(arguments) if np.asarray(leaf).dtype == np.float32]
    if not report.unexplained or report.dtype != "float32" or not singles or not jumps(program):
        return report
    try:
        double = again(jax.tree.map(_doubled, arguments))
    except (SnnaxError, RuntimeError, TypeError):  # a network may be for single precision only
        return report
    if double.unexplained:
        return report
    layers = tuple(
        replace(
            layer,
            explained=layer.explained + layer.unexplained,
            proved=layer.proved + layer.unexplained,
            unexplained=0,
            first=None,
            causes=(),
        )
        for layer in report.layers
    )
    note = (
        f"{report.unexplained} numbers differ in float32 and none in float64: rounding at thresholds that the network "
        "computes itself"
    )
    more = ["gradients are compared in float64"] if report.gradients else []
    return replace(report, layers=layers, gradients=double.gradients, notes=(*report.notes, note, *more))


def _doubled(leaf: Any) -> Any:
    array = np.asarray(leaf)
    return array.astype(np.float64) if array.dtype == np.float32 else leaf
