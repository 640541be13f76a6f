"""Digits as an event camera sees them: the same for the same seed, and what the equation says."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import importlib

from snnax import datasets
from snnax.datasets import to_frames

room = importlib.import_module("snnax.datasets.moving_digits")  # the function has its name, too


@pytest.fixture(scope="module")
def test_split():
    return datasets.moving_digits("test", 120)


def test_the_same_seed_gives_the_same_events(test_split):
    again, labels = datasets.moving_digits("test", 5)
    other, _ = datasets.moving_digits("test", 5, seed=1)
    assert again == test_split[0][:5]
    assert other[0] != again[0]
    assert labels.tolist() == datasets.digits("test")[1][:5].tolist()


def test_events_are_as_many_as_those_of_n_mnist(test_split):
    counts = np.array([len(events) for events in test_split[0]])
    assert 2000 < counts.mean() < 8000 and counts.min() > 500
    assert all(
        np.bincount(events.t // 5000).max() < 0.08 * len(events) for events in test_split[0]
    )  # no bursts
    assert all(events.size == (34, 34) and events.t[-1] < 315_000 for events in test_split[0])


def test_sums_of_events_follow_the_logarithm_of_brightness():
    """Events up less events down, times the threshold, is the change of the logarithm, to a threshold at each end."""
    images = datasets.digits("test")[0][:3, :, :, 0].astype(np.float64)
    thresholds = np.full((34, 34), 0.4)
    events = room._recorded(images, thresholds, 0.0, [np.random.default_rng(0)] * 3)
    end = 105_000  # the end of the first saccade
    across, down = room._CORNERS[1]
    for image, found in zip(images, events, strict=True):
        signs = np.zeros((34, 34))
        part = found.between(0, end)
        np.add.at(signs, (part.y, part.x), np.where(part.p, 1, -1))
        begin, after = (
            np.log(0.15 + room._weights(d) @ image @ room._weights(a).T) for a, d in ((0, 0), (across, down))
        )
        assert np.abs(begin + 0.4 * signs - after).max() <= 2 * 0.4 + 1e-9
        assert signs.any()


def test_noise_is_as_much_as_was_asked_for():
    quiet, loud = (datasets.moving_digits("test", 20, noise=noise)[0] for noise in (0.0, 5.0))
    more = np.mean([len(b) - len(a) for a, b in zip(quiet, loud, strict=True)])
    assert more == pytest.approx(5 * 0.315 * 34 * 34, rel=0.05)


def test_digits_can_be_told_apart_by_eye(test_split):
    """Nearest class mean of what was lit at all: far above chance."""
    pictures = np.stack([to_frames(events, n_frames=1).sum((0, 3)).ravel() for events in test_split[0]])
    labels = test_split[1]
    means = np.stack([pictures[::2][labels[::2] == n].mean(0) for n in range(10)])
    nearest = ((pictures[1::2, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == labels[1::2]).mean() > 0.7
