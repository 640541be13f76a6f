"""Padding adds zeros at the end and says where it begins."""

import numpy as np
import pytest

from snnax.datasets import pad_batch
from snnax.errors import ArgumentError, ShapeError


def test_sequences_are_as_they_were():
    rng = np.random.default_rng(0)
    given = [rng.random((steps, 3), np.float32) for steps in (4, 1, 7)]
    x, lengths = pad_batch(given)
    assert x.shape == (7, 3, 3) and x.dtype == np.float32 and lengths.tolist() == [4, 1, 7]
    for number, (sequence, length) in enumerate(zip(given, lengths, strict=True)):
        np.testing.assert_array_equal(x[:length, number], sequence)
        assert not x[length:, number].any()
    assert pad_batch(given, 10)[0].shape == (10, 3, 3)
    assert pad_batch([[1, 2], [3]])[0].tolist() == [[1, 3], [2, 0]]


def test_tensors():
    torch = pytest.importorskip("torch")
    assert pad_batch([torch.ones(2, 3, requires_grad=True), torch.ones(1, 3)])[0].shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (([np.ones((3, 2)), np.ones((3, 4))],), ShapeError, "frames of one shape"),
        (([np.ones((3, 2))], 2), ArgumentError, "pass length=3"),
        (([],), ArgumentError, "a list of sequences"),
        ((np.float32(3),), ArgumentError, "a list of sequences"),
        (([np.ones(())],), ArgumentError, "each of a step or more"),
        (([np.ones((0, 2))],), ArgumentError, "each of a step or more"),
    ],
)
def test_what_is_refused(given, kind, said):
    with pytest.raises(kind, match=said):
        pad_batch(*given)
