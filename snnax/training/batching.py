"""Arrays as batches, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax import checks
from snnax.checks import whole
from snnax.errors import ArgumentError, ShapeError

__all__ = ["Batches", "batches"]


@dataclass(frozen=True, eq=False)
class Batches:
    """Calling it with the number of an epoch returns that epoch's batches; see :func:`batches`."""

    x: np.ndarray
    y: np.ndarray
    batch_size: int
    seed: int
    shuffle: bool
    axis: int
    drop_last: bool

    def __len__(self) -> int:
        """Batches in one epoch."""
        whole, rest = divmod(len(self.y), self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def __call__(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of that epoch, always the same for the same number."""
        count = len(self.y)
        order = (
            np.random.default_rng((self.seed, epoch)).permutation(count) if self.shuffle else np.arange(count)
        )
        for number in range(len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield np.take(self.x, chosen, axis=self.axis), self.y[chosen]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of epoch 0."""
        return self(0)


def _read(value: Any, what: str) -> np.ndarray:
    checks.real(value, what)
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


@checks.takes()
def batches(
    x: Any,
    y: Any,
    batch_size: int,
    *,
    seed: int = 0,
    shuffle: bool = True,
    axis: int = 0,
    drop_last: bool = False,
) -> Batches:
    """Cut arrays into batches ``(x, y)``, shuffled anew in each epoch.

    The order is that of NumPy's generator seeded with ``(seed, epoch)``: the same in every run, also in one
    that was interrupted and resumed.

    Args:
        x: samples ``[N, ...]``; of any array type that NumPy reads.
        y: targets ``[N, ...]``.
        batch_size: samples per batch; the last one is smaller if N is no multiple of it (a step is compiled
            once for each size), or left out with ``drop_last``.
        seed: whole number >= 0.
        shuffle: False keeps the order.
        axis: axis of the samples in ``x``; 1 for spikes ``[T, N, ...]``.
        drop_last: leave out a last batch that is not full.

    Returns:
        A function of the epoch, with a length, that :func:`fit` and :func:`evaluate` take; iterating over it
        gives epoch 0.

    Raises:
        ShapeError: if ``x`` and ``y`` differ in the number of samples, or there are none.
        ArgumentError: for a batch size or seed that is none.

    Example:
        >>> import numpy as np, snnax as snn
        >>> data = snn.training.batches(np.zeros((25, 10, 3)), np.arange(10), 4, axis=1)
        >>> len(data), [x.shape for x, y in data(0)]
        (3, [(25, 4, 3), (25, 4, 3), (25, 2, 3)])
        >>> [y.tolist() for x, y in data(1)] == [y.tolist() for x, y in data(1)]
        True

    Compared with snnTorch: takes the place of ``torch.utils.data.DataLoader``, which is taken as well.
    """
    x, y = (_read(value, f"batches({name}=...)") for name, value in (("x", x), ("y", y)))
    axis = checks.count(-x.ndim)(axis, "batches(axis=...)")
    if not -x.ndim <= axis < x.ndim or y.ndim < 1 or x.shape[axis] != len(y) or len(y) == 0:
        raise ShapeError(
            f"batches got x of shape {x.shape} and y of shape {y.shape} with axis={axis}; expected N >= 1 "
            "samples in both, as x[N, ...] and y[N]. Pass axis=1 for x[T, N, ...]."
        )
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
        if whole(value, least, 2**63 - 1) is None:
            raise ArgumentError(f"batches({name}={value!r}); expected a whole number >= {least}.")
    if drop_last and len(y) < batch_size:
        raise ArgumentError(
            f"batches(batch_size={batch_size}, drop_last=True) leaves no batch of {len(y)} samples; expected a "
            f"batch size up to {len(y)}."
        )
    return Batches(x, y, int(batch_size), int(seed), shuffle, axis, drop_last)
