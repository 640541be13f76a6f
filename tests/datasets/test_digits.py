"""The digits: their split, their scale, and what happens without scikit-learn."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from snnax import datasets
from snnax.errors import ArgumentError, MissingDependencyError

FIRST_LABELS = [0, 2, 4, 7, 1, 6, 8, 9, 5, 3, 0, 2]


@pytest.fixture(scope="module")
def splits():
    pytest.importorskip("sklearn")
    return {split: datasets.digits(split) for split in ("train", "test")}


@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("test", 360)])
def test_shapes_and_types(splits, split, count):
    images, labels = splits[split]
    assert images.shape == (count, 8, 8, 1) and images.dtype == np.float32
    assert labels.shape == (count,) and labels.dtype == np.int64


def test_pixels_are_sixteenths_from_0_to_1(splits):
    for images, _ in splits.values():
        assert images.min() == 0 and images.max() == 1
        np.testing.assert_array_equal(images * 16, np.round(images * 16))


def test_each_digit_of_scikit_learn_is_in_one_split_with_its_label(splits):
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    theirs, their_labels = load_digits(return_X_y=True)
    expected = sorted(zip(map(bytes, theirs.astype(np.uint8)), their_labels.tolist(), strict=True))
    ours = [
        (bytes((image * 16).astype(np.uint8).ravel()), int(label))
        for images, labels in splits.values()
        for image, label in zip(images, labels, strict=True)
    ]
    assert sorted(ours) == expected


def test_the_held_out_digits_are_of_all_classes_alike(splits):
    counts = np.bincount(splits["test"][1])
    assert counts.size == 10 and set(counts.tolist()) <= {35, 36, 37}


def test_the_split_is_fixed(splits):
    again = datasets.digits("test")
    np.testing.assert_array_equal(again[0], splits["test"][0])
    np.testing.assert_array_equal(again[1], splits["test"][1])
    assert splits["test"][1][:12].tolist() == FIRST_LABELS


def test_train_is_the_default_and_the_dtype_can_be_chosen():
    pytest.importorskip("sklearn")
    images, _ = datasets.digits(dtype=np.float64)
    assert images.dtype == np.float64 and len(images) == 1437


def test_torchs_layout_has_the_same_images(splits):
    images, labels = datasets.digits("test", layout="NCHW")
    assert images.shape == (360, 1, 8, 8)
    np.testing.assert_array_equal(images[:, 0], splits["test"][0][..., 0])
    np.testing.assert_array_equal(labels, splits["test"][1])


def test_an_unknown_split_is_refused():
    with pytest.raises(ArgumentError, match=r"got 'valid'. Call digits\(\"test\"\)"):
        datasets.digits("valid")


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_sklearn(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_sklearn)
    with pytest.raises(MissingDependencyError, match=r"'scikit-learn'.*\[demo\]"):
        datasets.digits()
