"""The utterances are those of the repository."""

import numpy as np
import pytest

from snnax.datasets import pad_batch, speech
from snnax.errors import ArgumentError


def test_numbers_of_the_repository():
    """First and last number of both files, how many there are, and of whom."""
    (train, who), (test, who_test) = speech("train"), speech("test")
    assert len(train) == 270 and np.bincount(who).tolist() == [30] * 9
    assert len(test) == 370 and np.bincount(who_test).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert train[0][0, :3].tolist() == np.float32([1.860936, -0.207383, 0.261557]).tolist()
    assert {len(u) for u in train} <= {*range(7, 27)} and max(len(u) for u in test) == 29
    both = np.concatenate(train + test)
    assert both.shape == (9961, 12) and both.dtype == np.float32
    assert float(both.min()) == np.float32(-1.852765) and float(both.max()) == np.float32(2.203141)


def test_it_makes_a_batch():
    x, lengths = pad_batch(speech("test")[0], 29)
    assert x.shape == (29, 370, 12) and lengths.max() == 29


def test_the_licence_is_beside_the_data():
    from importlib import resources

    text = resources.files("snnax.datasets").joinpath("japanese_vowels.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text and "10.24432/C5NS47" in text


@pytest.mark.parametrize("split", ["all", None, 3])
def test_another_split_is_refused(split):
    with pytest.raises(ArgumentError, match=r"speech\(split="):
        speech(split)
