"""Weight gradients of both sides, weight by weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnax.errors import ArgumentError, ShapeError
from snnax.interop.compare.entries import GradientReport
from snnax.interop.compare.rounding import unit_roundoff
from snnax.interop.conventions import without_ones
from snnax.interop.trace import Side

TOLERANCE = 1e-4
"""Largest relative difference in float32."""


def tolerance(dtypes: tuple[np.dtype, np.dtype]) -> float:
    """:data:`TOLERANCE`, smaller in float64 and larger in half precision as the unit roundoff is."""
    u = max(unit_roundoff(dtype) for dtype in dtypes)
    return float(np.clip(TOLERANCE * u / 2.0**-24, 1e-10, 0.1))


def compare_gradients(
    a: Side, b: Side, x: np.ndarray, dtypes: tuple[np.dtype, np.dtype]
) -> tuple[GradientReport, ...]:
    """Largest difference of each weight's gradient, relative to the largest entry of a's.

    Raises:
        ArgumentError: if a side offers no gradients, or another set of weights.
        ShapeError: if two gradients have other shapes.
    """
    ga, gb = _gradients(a, x), _gradients(b, x)
    if set(ga) != set(gb):
        odd = sorted(set(ga) ^ set(gb))
        raise ArgumentError(
            f"gradients=True: only one side has gradients of {odd}; {a.label} has {sorted(ga)}, "
            f"{b.label} {sorted(gb)}. "
            "Make the same weights trainable on both sides."
        )
    limit, reports = tolerance(dtypes), []
    for name, left in ga.items():
        left, right = without_ones(left), without_ones(gb[name])
        if left.shape != right.shape:
            raise ShapeError(
                f"gradient of {name!r}: shape {left.shape} in {a.label}, {right.shape} in {b.label}; "
                "expected the same."
            )
        size = float(np.abs(left).max(initial=0.0))
        gap = float(np.abs(left - right).max(initial=0.0))
        relative = gap / size if size > 0 else (0.0 if gap == 0 else np.inf)
        reports.append(GradientReport(name, float(relative), bool(relative <= limit)))
    return tuple(reports)


def _gradients(side: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    ask = getattr(side, "gradients", None)
    if not callable(ask):
        raise ArgumentError(
            f"gradients=True, but {side.label} offers no gradients. Compare spikes alone "
            "(gradients=False), or "
            "pass sides that can be trained: a torch module and (model, variables)."
        )
    return {name: np.asarray(gradient, np.float64) for name, gradient in ask(x).items()}
