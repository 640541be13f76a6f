"""The Yin-Yang points: balanced, in the disk, of the classes that the symbol has, and the same for the same seed."""

import numpy as np
import pytest

from snnax import datasets
from snnax.errors import ArgumentError


def test_points_are_in_the_disk_and_classes_are_balanced():
    points, labels = datasets.yin_yang(1000, seed=3)
    assert points.shape == (1000, 2) and labels.dtype == np.int64
    assert np.hypot(*(points - 0.5).T).max() <= 0.5
    assert np.bincount(labels).tolist() == [333, 333, 334]


@pytest.mark.parametrize("samples", [1, 2, 4])
def test_few_points(samples):
    points, labels = datasets.yin_yang(samples)
    assert points.shape == (samples, 2) and labels.shape == (samples,)


def test_the_symbol_turned_by_half_has_yin_and_yang_exchanged():
    points, labels = datasets.yin_yang(3000)
    x, y = points.T
    dots = (np.hypot(x - 0.25, y - 0.5) < 0.1) | (np.hypot(x - 0.75, y - 0.5) < 0.1)
    np.testing.assert_array_equal(labels == 2, dots)
    above, below = y > 0.75, y < 0.25
    assert (labels[above] == 1).all() and (labels[below] == 0).all()
    left, right = (np.hypot(x - c, y - 0.5) < 0.24 for c in (0.25, 0.75))
    assert (labels[left & ~dots] == 1).all() and (labels[right & ~dots] == 0).all()


def test_a_seed_is_a_split():
    first, again, other = (datasets.yin_yang(50, seed=s)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not (first == other).any()
    assert (np.diff(datasets.yin_yang(300)[1]) != 0).sum() > 100  # in no order


@pytest.mark.parametrize(
    ("argument", "value"), [("samples", 0), ("samples", 2.5), ("samples", 10**8), ("seed", -1)]
)
def test_what_is_no_number_of_points_is_refused(argument, value):
    with pytest.raises(ArgumentError, match=rf"yin_yang\({argument}=.*expected a whole number"):
        datasets.yin_yang(**{"samples": 3, argument: value})
