"""The picture of a classifier: points in the colours of the answers, errors crossed out, a curve for each network."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from snnax.errors import ShapeError
from snnax.spikeplot.learning import learned

POINTS = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
GIVEN = {
    "points": POINTS,
    "labels": [0, 1, 2],
    "classes": [[0, 2, 2], [0, 1, -1]],
    "validation": [[0.5, 0.75], [0.5, 0.9]],
}


def test_points_errors_and_curves():
    figure = learned(**GIVEN, fig=Figure())
    figure.draw_without_rendering()
    plane, curve = figure.axes
    parts = {part.get_label(): part.get_offsets().tolist() for part in plane.collections}
    assert parts == {
        "class 0": [[0.1, 0.2]],
        "class 2": [[0.3, 0.4], [0.5, 0.6]],
        "1 of 3 wrong": [[0.3, 0.4]],
    }
    assert [line.get_ydata().tolist() for line in curve.lines] == [[50, 25], [50, pytest.approx(10)]]


@pytest.mark.parametrize("name", GIVEN)
def test_what_does_not_fit_is_refused(name):
    with pytest.raises(ShapeError, match=r"expected \[S, 2\], \[S\], \[R, S\] and \[R, epochs\]"):
        learned(**{**GIVEN, name: np.ones((4, 3))}, fig=Figure())
