"""Parts of a tensor over time as one tensor, compared with NumPy."""

import numpy as np
import pytest
from helpers.programs import form, node

from snnax.interop.program.nodes import Leaf, PerStep
from snnax.interop.program.over_time import stretch, windows

X = np.arange(2 * 9 * 3, dtype=np.float32).reshape(2, 9, 3)


def made(steps):
    """NumPy's result of the operations."""
    x = X
    for op, args, result in steps:
        if op == "slice.Tensor":
            axis, start, end, *by = args
            x = x[(slice(None),) * axis + (slice(start, end, *by),)]
        elif op == "flip":
            x = np.flip(x, args[0])
        elif op == "permute":
            x = x.transpose(args[0])
        else:
            axis, width, by = args
            x = np.lib.stride_tricks.sliding_window_view(x, width, axis)
            x = x[(slice(None),) * axis + (slice(None, None, by),)]
        assert x.shape == result.shape
    return x


@pytest.mark.parametrize(
    "order", [range(9), range(2, 7), range(0, 9, 2), range(8, -1, -1), range(7, 1, -2), range(-1, -6, -1)]
)
@pytest.mark.parametrize("axis", [1, -2])
def test_a_stretch_of_an_axis(order, axis):
    select = node("select.int", Leaf(0), axis, PerStep(tuple(order)), shape=(2, 3))
    found = made(stretch(select, form(2, 9, 3), len(order)))
    np.testing.assert_array_equal(found, np.stack([X[:, t] for t in order]))


@pytest.mark.parametrize("order", [(0, 1, 3), (2, 2, 2), (1, 0, 2)])
def test_other_orders_are_none(order):
    select = node("select.int", Leaf(0), 1, PerStep(order), shape=(2, 3))
    assert stretch(select, form(2, 9, 3), 3) is None


@pytest.mark.parametrize(
    ("start", "by", "width", "steps"), [(0, 1, 2, 8), (1, 3, 2, 3), (0, 2, 3, 4), (0, 3, 3, 3)]
)
def test_windows_over_an_axis(start, by, width, steps):
    starts = tuple(start + by * t for t in range(steps))
    ends = tuple(s + width for s in starts)
    slices = node("slice.Tensor", Leaf(0), 1, PerStep(starts), PerStep(ends), shape=(2, width, 3))
    found = made(windows(slices, form(2, 9, 3), width, steps))
    np.testing.assert_array_equal(found, np.stack([X[:, s:e] for s, e in zip(starts, ends, strict=True)]))
