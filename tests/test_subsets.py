"""``data_subset`` and ``valid_split`` take the samples that snnTorch takes, and leave what they are given alone."""

import copy
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError

N = 23
X = np.arange(N * 2.0).reshape(N, 2)
Y = np.arange(N) * 10


class Fake:
    """As torchvision's datasets: arrays in ``data`` and ``targets``, and things that are not samples."""

    def __init__(self, kind=np.asarray, transform=None):
        self.data, self.targets, self.classes, self.transform = kind(X), kind(Y), ["a", "b"], transform

    def __len__(self):
        return len(self.data)


class Pair(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def rows(dataset):
    """Which samples a dataset holds; checks that data and targets belong together."""
    targets = [int(t) for t in dataset.targets]
    np.testing.assert_array_equal(np.asarray(dataset.data), X[np.array(targets, int) // 10])
    return [t // 10 for t in targets]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(("subset", "idx"), [(1, 0), (2, 0), (2, 1), (5, 3), (7, 6), (23, 22)])
def test_a_subset_is_snntorchs_block(kind, subset, idx):
    theirs = pytest.importorskip("snntorch.utils")
    make = pytest.importorskip("torch").tensor if kind == "torch" else np.asarray
    given = Fake(make)
    ours = snn.utils.data_subset(given, subset, idx)
    assert rows(ours) == rows(theirs.data_subset(Fake(make), subset, idx))
    assert type(ours.data) is type(given.data)
    assert rows(given) == list(range(N)), "the dataset that was passed keeps its samples"
    assert ours.classes is given.classes and len(ours) == len(ours.data)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(("split", "seed"), [(0.0, 0), (0.1, 0), (0.3, 0), (0.3, 1), (0.99, 5)])
def test_a_split_is_snntorchs_permutation(kind, split, seed):
    theirs = pytest.importorskip("snntorch.utils")
    make = pytest.importorskip("torch").tensor if kind == "torch" else np.asarray
    given, other = Fake(make), Fake(make, "for validation")
    train, val = snn.utils.valid_split(given, other, split, seed)
    expected = theirs.valid_split(Fake(make), Fake(make), split, seed)
    assert (rows(train), rows(val)) == tuple(map(rows, expected))
    assert sorted(rows(train) + rows(val)) == list(range(N))
    assert rows(given) == rows(other) == list(range(N))
    assert train.transform is None and val.transform == "for validation"


def test_a_split_needs_no_second_copy():
    train, val = snn.utils.valid_split(Fake(transform="same"), split=0.3)
    assert len(val) == 6 and val.transform == train.transform == "same"


def cut(value):
    """Samples 4 to 7 of a value."""
    return snn.utils.data_subset(value, 5, idx=1)


@pytest.mark.parametrize("make", [np.asarray, jnp.asarray, list])
def test_arrays_and_pairs_of_any_library(make):
    pair = (make(X), make(Y))
    x, y = cut(pair)
    assert isinstance(cut(pair), tuple) and isinstance(x, type(pair[0]))
    np.testing.assert_array_equal(np.asarray(x), X[4:8])
    np.testing.assert_array_equal(np.asarray(y), Y[4:8])
    train, val = snn.utils.valid_split(pair, split=0.3)
    expected = snn.utils.valid_split(Fake(), split=0.3)
    for part, whole in zip((train, val), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(part[0]), whole.data)
        np.testing.assert_array_equal(np.asarray(part[1]), whole.targets)


def test_a_single_array_a_list_of_arrays_and_a_named_tuple():
    np.testing.assert_array_equal(cut(X), X[4:8])
    assert isinstance(cut([X, Y]), list)
    assert isinstance(cut(Pair(X, Y)), Pair)
    np.testing.assert_array_equal(cut(Pair(X, Y)).y, Y[4:8])


@pytest.mark.parametrize("names", [("data", "labels"), ("samples", "imgs", "targets"), ("data",)])
def test_other_names_of_samples(names):
    """As in torchvision's SVHN, ImageFolder (lists), and data without targets."""
    dataset = Fake()
    del dataset.data, dataset.targets
    for name in names:
        setattr(dataset, name, list(Y))
    part = cut(dataset)
    assert all(getattr(part, name) == list(Y[4:8]) for name in names)
    train, val = snn.utils.valid_split(dataset, copy.copy(dataset), 0.3)
    assert sorted(getattr(train, names[0]) + getattr(val, names[0])) == list(Y)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: snn.utils.data_subset(X, 0), ArgumentError, "subset=0.*subset >= 1"),
        (lambda: snn.utils.data_subset(X, 5, 5), ArgumentError, "idx=5"),
        (lambda: snn.utils.data_subset(X, 5, -1), ArgumentError, "idx=-1"),
        (lambda: snn.utils.data_subset(X, 2.5), ArgumentError, "subset=2.5.*whole number"),
        (lambda: snn.utils.data_subset(X, 24), ArgumentError, "subset=24.*23 samples"),
        (lambda: snn.utils.data_subset((X, Y[:3]), 2), ShapeError, r"'part 0': 23, 'part 1': 3"),
        (lambda: snn.utils.data_subset(object(), 2), ArgumentError, "object without samples.*Subset"),
        (lambda: snn.utils.data_subset("text", 2), ArgumentError, "str without samples"),
        (lambda: snn.utils.data_subset((1, 2), 2), ArgumentError, "tuple without samples"),
        (lambda: snn.utils.valid_split(X, split=1.0), ArgumentError, r"split=1.0.*\[0, 1\)"),
        (lambda: snn.utils.valid_split(X, split=-0.1), ArgumentError, "split=-0.1"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
