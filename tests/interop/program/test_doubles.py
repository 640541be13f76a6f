"""Thresholds that a network computes itself: what rounding alone has crossed is explained, all else is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.programs import node, program

from snnax.errors import ArgumentError, ShapeError
from snnax.interop import crossvalidate
from snnax.interop.program.doubles import jumps
from snnax.interop.program.module import Held, PortedProgram
from snnax.interop.program.nodes import Leaf, Ref
from snnax.interop.program.side import ProgramSide, compare_calls

CALL = ((Leaf(0),), {})
STEP = program([node("gt.Scalar", Leaf(0), 0.5), node("mul.Tensor", Ref(0), 1.0)], arguments=CALL)
SMOOTH = program([node("sigmoid", Leaf(0))], arguments=CALL)
X = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)


class Off(ProgramSide):
    """It returns something else, in the types that are named."""

    types: tuple[str, ...] = ("float32",)

    def call(self, arguments, forced):
        trace = super().call(arguments, forced)
        first, *rest = trace.outputs
        other = 1 - first if first.dtype.name in self.types else first
        return replace(trace, outputs=(other, *rest))


def sides(known):
    model = PortedProgram(Held(known))
    return ProgramSide(model, {}, "one"), Off(model, {}, "other")


def test_what_double_precision_does_not_have_is_explained():
    a, b = sides(STEP)
    report = compare_calls(a, b, STEP, X)
    assert report.agree and report.layers[0].status == "rounding" and report.layers[0].explained == 6
    assert any("6 numbers differ in float32 and none in float64" in note for note in report.notes)


def test_what_double_precision_has_too_is_not():
    a, b = sides(STEP)
    b.types = ("float32", "float64")
    assert not compare_calls(a, b, STEP, X).agree


def test_without_a_threshold_nothing_is_explained_so():
    assert jumps(STEP) and not jumps(SMOOTH)
    assert not compare_calls(*sides(SMOOTH), SMOOTH, X).agree


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.ones((2, 4), np.float32), ShapeError, r"shape \(2, 4\); the network was traced with \[2, 3\]"),
        ("no", ArgumentError, "finite real input"),
        (np.full((2, 3), np.nan, np.float32), ArgumentError, "holds NaN"),
        ((X, X), ArgumentError, r"traced with \(an array,\).*called with \(an array, an array\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_runs(x, error, words):
    model = PortedProgram(Held(SMOOTH))
    with pytest.raises(error, match=words):
        crossvalidate((model, {}), (model, {}), x)
