"""Handwritten digits in front of a moving event camera, as in N-MNIST: computed on the spot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.datasets.digits import digits
from snnax.datasets.events import Events

__all__ = ["moving_digits"]

SIDE = 34
"""Pixels along an edge of the sensor, as N-MNIST's."""

_SACCADE_US = 105_000
_STEPS = 21
"""Positions of the camera in a saccade; between them brightness changes evenly."""

_CORNERS = np.array([[0, 0], [3.5, 7], [7, 0], [0, 0]])
"""Where the three saccades begin and end, x and y in pixels, as N-MNIST's."""

_ENLARGED = 3
"""Pixels of the sensor for a pixel of the scan."""

_DARK = 0.15
"""Brightness of the paper, 1 being that of ink: the camera sees logarithms, and they need one."""

_THRESHOLD = 0.4
_CHUNK = 128


@checks.takes(
    split=checks.one_of("train", "test"),
    samples=checks.maybe(checks.count()),
    seed=checks.count(0),
    noise=checks.number(0, 1000),
)
def moving_digits(
    split: str = "train", samples: int | None = None, seed: int = 0, noise: float = 0.1
) -> tuple[list[Events], NDArray[np.int64]]:
    r"""scikit-learn's digits, as an event camera sees them that moves in three saccades.

    The scans of :func:`~snnax.datasets.digits`, three times as large on a sensor of 34x34 pixels, which moves along a
    triangle in three saccades of 105 ms each, as N-MNIST's does. A pixel sends an event whenever the logarithm of its
    brightness :math:`b` has changed by :math:`\theta` since its last event:

    .. math:: \left|\log b(t) - \log b(t_{last})\right| \ge \theta, \qquad p = [b(t) > b(t_{last})].

    Each pixel has a threshold :math:`\theta` of its own, 10 % more or less than 0.4, and sends events for no reason,
    too, as real ones do.

    Args:
        split: ``"train"`` or ``"test"``: the same digits in them as those of :func:`~snnax.datasets.digits`.
        samples: how many, from the first on; ``None`` for all.
        seed: of thresholds and noise; the same seed, the same events.
        noise: events per pixel and second that mean nothing.

    Returns:
        ``(recordings, labels)``: a list of :class:`~snnax.datasets.Events`, some thousand each, in
        315 ms; labels ``[N]``.

    Raises:
        ArgumentError: for another split, or a seed or rate that is none.
        MissingDependencyError: scikit-learn is not installed.

    Example:
        >>> from snnax import datasets
        >>> recordings, labels = datasets.moving_digits("test", 20)
        >>> len(recordings), recordings[0].size, recordings[0].duration < 315_000
        (20, (34, 34), True)

    N-MNIST itself is real: recordings of MNIST on a screen. Its files are read by
    :func:`~snnax.datasets.recordings`, and :func:`~snnax.datasets.write_events` writes these as such files.
    """
    images, labels = (part[:samples] for part in digits(split))
    rng = np.random.default_rng((seed, split == "test"))
    thresholds = _THRESHOLD * np.clip(rng.normal(1, 0.1, (SIDE, SIDE)), 0.6, 1.4)
    found: list[Events] = []
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK, :, :, 0].astype(np.float64)
        own = [np.random.default_rng((seed, split == "test", start + n)) for n in range(len(part))]
        found += _recorded(part, thresholds, noise, own)
    return found, labels


def _positions() -> NDArray[np.float64]:
    """Where the camera is at the end of each step, ``[3 * STEPS + 1, 2]``."""
    part = np.arange(1, _STEPS + 1)[:, None] / _STEPS
    legs = [a + part * (b - a) for a, b in pairwise(_CORNERS)]
    return np.concatenate([_CORNERS[:1], *legs])


def _weights(shift: float) -> NDArray[np.float64]:
    """How much of each row of the scan each row of the sensor sees, ``[SIDE, 8]``: linear interpolation."""
    at = (np.arange(SIDE) - (SIDE - 8 * _ENLARGED - _CORNERS.max()) / 2 - shift + 0.5) / _ENLARGED - 0.5
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(8)))


def _recorded(
    images: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    noise: float,
    rngs: list[np.random.Generator],
) -> list[Events]:
    positions = _positions()
    last, parts = None, []
    for step, (across, down) in enumerate(positions):
        bright = np.log(_DARK + _weights(down) @ images @ _weights(across).T)
        if last is None:
            # What a pixel remembers from before is anywhere within a threshold of what it sees.
            before = bright
            last = bright + thresholds * np.stack([rng.uniform(-1, 1, thresholds.shape) for rng in rngs])
            continue
        parts.append(_crossings(last, before, bright, thresholds, step - 1))
        last, before = parts[-1][0], bright
    digit, pixel, p, at = (
        np.concatenate(column) for column in zip(*(part[1:] for part in parts), strict=True)
    )
    step_us = _SACCADE_US // _STEPS
    end = step_us * (len(positions) - 1)
    t = np.minimum((at * step_us).astype(np.int64), end - 1)
    noisy = []
    for number, rng in enumerate(rngs):
        count = rng.poisson(noise * end / 1e6 * SIDE * SIDE)
        noisy.append(
            (np.full(count, number), *(rng.integers(0, most, count) for most in (SIDE * SIDE, 2, end)))
        )
    more = (np.concatenate(column) for column in zip(*noisy, strict=True))
    digit, pixel, p, t = (np.concatenate(pair) for pair in zip((digit, pixel, p, t), more, strict=True))
    order = np.lexsort((p, pixel, t, digit))
    ends = np.cumsum(np.bincount(digit, minlength=len(images)))[:-1]
    return [
        Events(t[chosen], pixel[chosen] % SIDE, pixel[chosen] // SIDE, p[chosen], (SIDE, SIDE))
        for chosen in np.split(order, ends)
    ]


def _crossings(
    last: NDArray[np.float64],
    before: NDArray[np.float64],
    now: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    step: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """Events of one step: brightness at the last event of each pixel, then digit, pixel, polarity and time in steps."""
    count = np.trunc((now - last) / thresholds)
    digit, row, column = np.nonzero(count)
    times = np.abs(count[digit, row, column]).astype(np.int64)
    number = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times) + 1  # 1, 2 ... in each pixel
    digit, row, column = (np.repeat(index, times) for index in (digit, row, column))
    up = count[digit, row, column] > 0
    level = last[digit, row, column] + np.where(up, 1, -1) * number * thresholds[row, column]
    begin, end = before[digit, row, column], now[digit, row, column]
    # Where brightness turned back within a step, a level lies before its beginning.
    share = np.clip((level - begin) / np.where(end == begin, 1, end - begin), 0, 1)
    return last + count * thresholds, digit, row * SIDE + column, up, step + share
